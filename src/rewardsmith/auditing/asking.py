"""Questions asked side by side over one scorer, and a record of all that could not be scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from rewardsmith.auditing.baseline import Ask, Outcome
from rewardsmith.auditing.finding import Finding
from rewardsmith.auditing.report import Check
from rewardsmith.data import Row
from rewardsmith.scoring import Scored, Scorer


class Hearing:
    """Runs questions side by side over one scorer and keeps a record of every row that came back without a reward.

    asked: each different row that was sent. broken: those of them that got no reward at least once, with the first
        failure.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.broken: dict[tuple[str, str, str], tuple[Row, Scored]] = {}
        self.asked: set[tuple[str, str, str]] = set()
        self.cut_short: set[str] = set()
        self._calls, self._seconds, self._unscored = scorer.calls, scorer.seconds, scorer.unscored

    @property
    def calls(self) -> int:
        """Rows scored since the hearing began."""
        return self.scorer.calls - self._calls

    @property
    def unscored(self) -> Counter[str]:
        """Reason → how many of these calls, and of rows without text, came back without a reward."""
        return self.scorer.unscored - self._unscored

    @property
    def seconds(self) -> float:
        """Time inside the reward since the hearing began."""
        return self.scorer.seconds - self._seconds

    def hear(self, running: Mapping[str, Generator[list[Ask], list[list[Scored]], Any]]) -> dict[str, Any]:
        """In every round score all that is asked for, ordinary rows in one job, until every question has returned."""
        results: dict[str, Any] = {}
        replies: dict[str, Any] = dict.fromkeys(running)
        while replies:
            asked: dict[str, list[Ask]] = {}
            for name, reply in replies.items():
                try:
                    asked[name] = running[name].send(reply)
                except StopIteration as stop:
                    results[name] = stop.value
            replies = self._score(asked)
        return results

    def ask(self, asks: Sequence[Ask]) -> list[list[Scored]]:
        """The scores of one round of questions."""
        return self._score({"": list(asks)})[""]

    def _score(self, asked: Mapping[str, list[Ask]]) -> dict[str, list[list[Scored]]]:
        plain = [row for asks in asked.values() for ask in asks if not ask.nonce for row in ask.rows]
        scores = iter(self._noted(plain, self.scorer.score(plain)))
        replies = {
            name: [self._special(ask) if ask.nonce else [next(scores) for _ in ask.rows] for ask in asks]
            for name, asks in asked.items()
        }
        self.cut_short |= {
            name
            for name, reply in replies.items()
            if any(score.reason == "unasked" for scores in reply for score in scores)
        }
        return replies

    def _special(self, ask: Ask) -> list[Scored]:
        scores = self.scorer.score(ask.rows, nonce=ask.nonce, whole=ask.whole, check_mutation=ask.check_mutation)
        return self._noted(ask.rows, scores)

    def _noted(self, rows: Sequence[Row], scores: list[Scored]) -> list[Scored]:
        for row, score in zip(rows, scores, strict=True):
            if score.reason != "unasked":
                self.asked.add(sent := content_of(row))
                if score.reason is not None:
                    self.broken.setdefault(sent, (row, score))
        return scores


def content_of(row: Row) -> tuple[str, str, str]:
    """What tells one row from another, however often it is sent."""
    return row.prompt_text, row.answer or "", row.text


def unscorable(hearing: Hearing, what: str, cause: str) -> Finding:
    """That not one of what an audit starts from could be scored; `cause` is the usual one beside a missing column."""
    listed = ", ".join(f"{count} × {reason}" for reason, count in hearing.unscored.most_common()) or "no number given"
    why = next((f" The first: {score.detail}" for _, score in hearing.broken.values() if score.detail), "")
    return Finding(
        probe="failures",
        severity="critical",
        message=f"No {what} ({listed}).{why}",
        value=1.0,
        interval=None,
        n=hearing.calls,
        advice=f"See the reasons; the usual ones are a missing column and {cause}.",
    )


class Asked(Protocol):
    """A question by name."""

    @property
    def name(self) -> str: ...
    @property
    def question(self) -> str: ...


def checked(probe: Asked, outcome: Outcome | None, *, faulty: set[str], cut_short: set[str], otherwise: str) -> Check:
    """How a question went: `faulty` are the probes with a finding, `otherwise` says why there is no outcome."""
    if (outcome is None or outcome.not_run) and probe.name not in faulty:
        return Check(probe.name, probe.question, "not run", outcome.not_run if outcome else otherwise)
    findings = outcome.findings if outcome else ()
    if probe.name in cut_short and not findings and probe.name not in faulty:
        return Check(probe.name, probe.question, "not run", "the audit stopped after too many timeouts")
    own = {finding.probe for finding in findings} | {probe.name}
    return Check(probe.name, probe.question, "finding" if own & faulty else "clean")
