"""How a probe asks: it yields rows to score, is sent the scores, and returns its outcome; many run in shared rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from rewardsmith.auditing.finding import Finding
from rewardsmith.auditing.report import Bin, Curve, Rate
from rewardsmith.data import Row
from rewardsmith.scoring import Scored, Scorer

T = TypeVar("T")


class Ask(NamedTuple):
    """Rows that a probe wants scored.

    nonce: rows sent again under the same nonce are not scored again; another nonce scores them anew.
    whole: exactly one call, with exactly these rows in this order.
    check_mutation: also say whether the reward changed its inputs.
    source: which of several rewards scores them; "" where there is one.
    """

    rows: Sequence[Row]
    nonce: str = ""
    whole: bool = False
    check_mutation: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a probe: findings, what there is to draw, or why it could not ask."""

    findings: tuple[Finding, ...] = ()
    rates: tuple[Rate, ...] = ()
    not_run: str = ""
    curves: tuple[Curve, ...] = ()
    reliability: tuple[Bin, ...] = ()


Building = Generator[list[Ask], list[list[Scored]], T]
"""Work under way that yields what it wants scored, is sent the scores, one list per `Ask`, and returns its result."""
Asking = Building[Outcome]
"""A probe under way."""


class Probe(NamedTuple):
    """A question by name, and how it is asked.

    ask: the baseline to a generator of asks, or, for a probe that scores nothing, straight to its outcome.
    """

    name: str
    question: str
    ask: Callable[[Any], Asking | Outcome]


class Rounds:
    """Score what several probes ask, round by round, and keep a record of every row that got no reward.

    sent: source → its different rows. broken: source → those of them that got no reward at least once, with the first
        failure. cut_short: the probes of which a row was not sent, because too many had timed out.
    """

    def __init__(self, scorers: Mapping[str, Scorer]) -> None:
        """Begin to count; what the scorers did before is not counted."""
        self.scorers = scorers
        self.sent: dict[str, set[tuple[str, str, str]]] = {source: set() for source in scorers}
        self.broken: dict[str, dict[tuple[str, str, str], tuple[Row, Scored]]] = {source: {} for source in scorers}
        self.cut_short: set[str] = set()
        self._before = (self._total("calls"), self._total("seconds"), self._total("unscored"))

    def _total(self, name: str) -> Any:
        first, *rest = (getattr(scorer, name) for scorer in self.scorers.values())
        return sum(rest, first)

    @property
    def calls(self) -> int:
        """Rows scored since the rounds began."""
        return int(self._total("calls") - self._before[0])

    @property
    def seconds(self) -> float:
        """Time inside the rewards since the rounds began."""
        return float(self._total("seconds") - self._before[1])

    @property
    def unscored(self) -> Counter[str]:
        """Reason → how many of these calls, and of rows without text, came back without a reward, by name."""
        return Counter(dict(sorted((self._total("unscored") - self._before[2]).items())))

    def run(self, asking: Building[T]) -> T:
        """The result of one generator."""
        result: T = self.run_all({"": asking})[""]
        return result

    def run_all(self, running: Mapping[str, Building[Any] | Any]) -> dict[str, Any]:
        """Score in every round all that is asked for, ordinary rows in one job, until every generator has returned.

        What is no generator is a result already.
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
            replies = self._score(asked)
        return results

    def _score(self, asked: Mapping[str, list[Ask]]) -> dict[str, list[list[Scored]]]:
        scores = {}
        for source in self.scorers:
            asks = [ask for own in asked.values() for ask in own if ask.source == source and not ask.nonce]
            rows = [row for ask in asks for row in ask.rows]
            scores[source] = iter(self._noted(source, rows, self.scorers[source].score(rows)))
        replies: dict[str, list[list[Scored]]] = {}
        for name, own in asked.items():
            replies[name] = [
                self._noted(
                    ask.source,
                    ask.rows,
                    self.scorers[ask.source].score(
                        ask.rows, nonce=ask.nonce, whole=ask.whole, check_mutation=ask.check_mutation
                    ),
                )
                if ask.nonce
                else [next(scores[ask.source]) for _ in ask.rows]
                for ask in own
            ]
            if any(score.reason == "unasked" for reply in replies[name] for score in reply):
                self.cut_short.add(name)
        return replies

    def _noted(self, source: str, rows: Sequence[Row], scores: list[Scored]) -> list[Scored]:
        for row, score in zip(rows, scores, strict=True):
            if score.reason != "unasked":
                # What tells one row from another, however often it is sent.
                self.sent[source].add(content := (row.prompt_text, row.answer or "", row.text))
                if score.reason is not None:
                    self.broken[source].setdefault(content, (row, score))
        return scores
