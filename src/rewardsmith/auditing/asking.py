"""Run probes in shared rounds: each yields rows to score, gets the scores, and returns its outcome."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from rewardsmith.auditing.finding import Finding
from rewardsmith.auditing.report import Bin, Curve, Rate
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.scoring import Scorer, Target
from rewardsmith.scoring.work import Scored

T = TypeVar("T")


class Ask(NamedTuple):
    """Rows that a probe wants scored.

    nonce: a row is scored once per nonce; another nonce scores it again.
    whole: exactly one call, with exactly these rows in this order.
    check_mutation: also report whether the reward changed its inputs.
    source: which of several rewards scores them; "" if there is one.
    """

    rows: Sequence[Row]
    nonce: str = ""
    whole: bool = False
    check_mutation: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a probe: findings, what the report draws, or why it did not run.

    applies: False if the question has no meaning for this kind of reward. Then `not_run` says why, and the question
        may be missing in a clean verdict.
    n, bound: as in a `Check`.
    """

    findings: tuple[Finding, ...] = ()
    rates: tuple[Rate, ...] = ()
    not_run: str = ""
    curves: tuple[Curve, ...] = ()
    reliability: tuple[Bin, ...] = ()
    applies: bool = True
    n: int = 0
    bound: float | None = None


Building = Generator[list[Ask], list[list[Scored]], T]
"""A generator that yields rows to score, is sent one list of scores per `Ask`, and returns its result."""
Asking = Building[Outcome]
"""A running probe."""
Answer = Outcome | Finding
"""What a probe returns; a finding alone is an outcome of one finding."""


class Probe(NamedTuple):
    """A named question and the function that asks it.

    ask: maps the baseline to a generator of `Ask`s, or to an outcome if the probe scores nothing.
    essential: whether a reward is not judged if this question applies and could not be asked.
    """

    name: str
    question: str
    ask: Callable[[Any], Building[Answer] | Answer]
    essential: bool = True


class Prepared(NamedTuple):
    """A subject whose baseline was scored.

    kind: the detected kind of reward, in words.
    n_rows: number of rows in the report.
    honest: ordinary completions; failing on one is worse than failing on odd input.
    questions: every probe with its baseline, in the order of the report.
    levels: scores of honest completions by name, for the histogram.
    reads: the answer formats that the reward reads, best first.
    nothing, cause: what could not be scored, so that no probe runs, and the usual cause; else "".
    not_judged: the reason why this kind of reward, or these rows, cannot be judged, or "".
    remote: whether the reward waits for a server, whose silence is no fault of the reward.
    grouped: puts findings with one cause under it, given the rows sent with their rewards.
    """

    kind: str
    n_rows: int
    honest: Sequence[Row]
    questions: Sequence[tuple[Probe, Any]]
    levels: Mapping[str, list[float]]
    nothing: str = ""
    cause: str = ""
    reads: tuple[str, ...] = ()
    not_judged: str = ""
    remote: bool = False
    grouped: Callable[[list[Finding], Mapping[Any, float | None]], list[Finding]] = lambda findings, sent: findings


class Subject(NamedTuple):
    """The audited reward or rewards, as the runner needs them.

    targets: source → reward; a single one is named "". references: likewise, rewards used for comparison only.
    rows: the given rows, or the target's own.
    begin: maps scorers to the rows that are sent first, one by one, to measure the reward's speed.
    expect: maps scorers and the error level to the number of calls that a sound reward would take.
    n_questions: about how many variants all probes try; the error level is divided by it.
    prepare: maps scorers by source and the error level per question to the generator that builds the baseline.
    """

    name: str
    contract: str
    targets: Mapping[str, Target]
    n_questions: int
    prepare: Callable[[Mapping[str, Scorer], float], Building[Prepared]]
    references: Mapping[str, Target] = MappingProxyType({})
    rows: Sequence[Row | PreferenceRow] = ()
    begin: Callable[[Mapping[str, Scorer]], Sequence[Row]] | None = None
    expect: Callable[[Mapping[str, Scorer], float], int] | None = None


def rows_within(budget: float, *, calls_per_row: float, least: int, most: float = math.inf) -> int:
    """Return how many rows a budget of calls allows, from `least` to `most`."""
    return max(least, int(min(most, budget / calls_per_row)))


def in_turn(rows: Sequence[Sequence[T]], most: int | None) -> list[T]:
    """Return all entries of all rows in order, or the first `most` if each row gives one in turn.

    >>> in_turn(["ab", "cd"], None), in_turn(["ab", "cd"], 3)
    (['a', 'b', 'c', 'd'], ['a', 'd', 'b'])
    """
    if most is None:
        return [entry for own in rows for entry in own]
    rounds = range(max(map(len, rows), default=0))
    return [own[(place + k) % len(own)] for k in rounds for place, own in enumerate(rows) if k < len(own)][:most]


class Rounds:
    """Score what several probes ask for, round by round, and record every row that got no reward.

    sent: source → its distinct rows, with the last reward of each.
    broken: source → rows that got no reward at least once, with the first failure.
    cut_short: probes with a row that was not sent, and why.
    """

    def __init__(self, scorers: Mapping[str, Scorer], *, references: Collection[str] = ()) -> None:
        """Count calls of every scorer but the references, from the first round on."""
        self.scorers = scorers
        audited = [source for source in scorers if source not in references]
        self.sent: dict[str, dict[tuple[str, str, str], float | None]] = {source: {} for source in audited}
        self.broken: dict[str, dict[tuple[str, str, str], tuple[Row, Scored]]] = {source: {} for source in audited}
        self.cut_short: dict[str, str] = {}
        self._before: dict[str, Any] = {}

    def _since(self, name: str) -> Any:
        first, *rest = (getattr(self.scorers[source], name) for source in self.sent)
        return sum(rest, first) - self._before.get(name, first - first)

    def begin(self) -> None:
        """Count from now on, unless the count has begun."""
        self._before = self._before or {name: self._since(name) for name in ("calls", "seconds", "unscored")}

    @property
    def calls(self) -> int:
        """Rows scored since the rounds began."""
        return int(self._since("calls"))

    @property
    def seconds(self) -> float:
        """Time inside the rewards since the rounds began."""
        return float(self._since("seconds"))

    @property
    def unscored(self) -> Counter[str]:
        """Reason → how many of these calls, or rows without text, returned no reward."""
        return Counter(dict(sorted(self._since("unscored").items())))

    def run(self, asking: Building[T]) -> T:
        """Run one generator and return its result."""
        result: T = self.run_all({"": asking})[""]
        return result

    def run_all(self, running: Mapping[str, Building[Any] | Any]) -> dict[str, Any]:
        """Run all generators to their end; each round scores their ordinary rows in one job.

        Any other value counts as a finished result.
        """
        results = {name: None if isinstance(asking, Generator) else asking for name, asking in running.items()}
        replies: dict[str, Any] = {name: None for name, asking in running.items() if isinstance(asking, Generator)}
        while replies:
            asked: dict[str, list[Ask]] = {}
            for name, reply in replies.items():
                try:
                    asked[name] = running[name].send(reply)
                except StopIteration as stop:
                    results[name] = stop.value
            self.begin()
            found = {
                (name, place): self._score(
                    ask.source, ask.rows, nonce=ask.nonce, whole=ask.whole, check_mutation=ask.check_mutation
                )
                for name, own in asked.items()
                for place, ask in enumerate(own)
                if ask.nonce
            }
            for source in self.scorers:
                found |= self._score_in_turn(source, asked)
            replies = {}
            for name, own in asked.items():
                replies[name] = [found[name, place] for place in range(len(own))]
                for score in (score for reply in replies[name] for score in reply if score.reason == "unasked"):
                    self.cut_short[name] = score.detail
        return {name: Outcome((own,)) if isinstance(own, Finding) else own for name, own in results.items()}

    def _score_in_turn(self, source: str, asked: Mapping[str, Sequence[Ask]]) -> dict[tuple[str, int], list[Scored]]:
        """Score the ordinary rows of all probes as one job: the first row of each, then the second of each, and so on.

        So a cap on calls leaves no probe unasked. It weakens the bounds of those with many rows.
        """
        found: dict[tuple[str, int], list[Scored]] = {}
        turns: list[tuple[int, tuple[str, int], Row]] = []
        for name, own in asked.items():
            turn = count()
            for place, ask in enumerate(own):
                if ask.source == source and not ask.nonce:
                    found[name, place] = []
                    turns += [(next(turn), (name, place), row) for row in ask.rows]
        turns.sort(key=lambda turn: turn[0])
        for (_, own_place, _), score in zip(turns, self._score(source, [row for *_, row in turns]), strict=True):
            found[own_place].append(score)
        return found

    def _score(self, source: str, rows: Sequence[Row], **how: Any) -> list[Scored]:
        scores = self.scorers[source].score(rows, **how)
        if source in self.sent:
            sent, broken = self.sent[source], self.broken[source]
            for row, score in zip(rows, scores, strict=True):
                if score.reason != "unasked":
                    # Identity of a row, however often it is sent.
                    content = (row.prompt_text, row.text, str(row.columns.get("answer")))
                    sent[content] = score.reward
                    if score.reason is not None:
                        broken.setdefault(content, (row, score))
        return scores
