"""The result of an audit, in the versioned schema of `report.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from rewardsmith.auditing.finding import SEVERITIES, Finding, Severity, as_record, at_least

SCHEMA = "rewardsmith.audit/2"
Verdict = Literal["clean", "findings", "not judged"]
Result = Literal["clean", "finding", "observation", "not run", "not applicable"]
RESULTS: tuple[Result, ...] = ("clean", "finding", "observation", "not run", "not applicable")
"""Outcomes of a question. An observation is milder than the floor of the verdict."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the audit, its status, and what could have escaped it.

    n: rows or pairs on which it was asked.
    bound: upper end of the interval of the share of rows on which a flaw could have escaped; None if no share is
        judged.
    applies: whether the question has a meaning for this kind of reward.
    """

    probe: str
    question: str
    status: Literal["clean", "finding", "not run"]
    note: str = ""
    n: int = 0
    bound: float | None = None
    applies: bool = True


class Rate(NamedTuple):
    """How often one kind of completion scored above an honest wrong answer, with its interval.

    n: rows that this kind fits. bound: upper end of the interval over all rows of the audit; None is `high`.
    """

    probe: str
    label: str
    rate: float
    low: float
    high: float
    n: int
    bound: float | None = None


class Estimate(NamedTuple):
    """What an audit was expected to take before it began; money is None without a price of a call."""

    calls: int
    seconds: float
    money: float | None = None


class Bin(NamedTuple):
    """Pairs of similar stated probability: the mean of it, and the share of them that is right.

    stated: mean probability. right: share, equal scores counting half; low, high: its interval over prompts.
    """

    stated: float
    right: float
    low: float
    high: float
    n: int


class CurvePoint(NamedTuple):
    """One point of a curve: its mean KL, and gains over one draw in standard deviations, with intervals.

    strength: n of best-of-n, or 1/β of a policy trained with β. gold and its bounds are None if unknown.
    """

    strength: float
    kl: float
    rewards: float
    rewards_low: float
    rewards_high: float
    gold: float | None = None
    gold_low: float | None = None
    gold_high: float | None = None


class Turn(NamedTuple):
    """The peak of gold along a curve: its place, its interval in KL, and whether gold falls after it."""

    strength: float
    kl: float
    low: float
    high: float
    declines: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """Gains of a reward and its gold as the reward is optimized further.

    knob: the unit of `strength`, "n" or "1/β".
    points: upward in strength.
    turn: None if gold is unknown or still rises at the last point.
    note: a further remark, such as a fitted law.
    """

    name: str
    knob: str
    points: tuple[CurvePoint, ...]
    turn: Turn | None = None
    note: str = ""


class Provenance(NamedTuple):
    """Versions, digests, call and date behind a report.

    command: the command line as it was typed, or the call in Python.
    date: UTC, when the audit ended.
    versions: of Python, of the reward's libraries, and of torch, transformers and TRL if loaded.
    rows_digest: of all rows. reward_digests: source → digest of its code or weights, None if not found.
    """

    rewardsmith: str
    command: str
    date: str
    versions: Mapping[str, str]
    rows_digest: str
    reward_digests: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one audit. A notebook shows it as a table of its findings.

    findings: worst first, one per cause, with its `symptoms`; those of severity `info` are observations and do not
        count for the verdict.
    not_judged: the reason why a reward without findings is not called clean, or "".
    kind: the detected kind of reward, in words, such as "verifier".
    reads: the answer formats that a verifier reads, best first.
    rates: one per content-free or wrong completion tried, for the figure.
    levels: scores of honest right and wrong answers (and of given completions), for the histogram.
    curves: gains by optimizing the reward, if a pool of completions was given.
    reliability: share right by stated probability, upward, if the reward states probabilities.
    unscored: reason → count, over all rows sent.
    calls, seconds: rows scored, and time inside the reward.
    estimate: the calls and seconds expected at the start, if it was asked for; it does not count for equality.
    provenance: the origin of the report, None if unknown; it does not count for equality.
    """

    target: str
    contract: str
    kind: str
    n_rows: int
    seed: int
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...] = ()
    rates: tuple[Rate, ...] = ()
    levels: Mapping[str, list[float]] = field(default_factory=dict)
    unscored: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0
    curves: tuple[Curve, ...] = ()
    reliability: tuple[Bin, ...] = ()
    reads: tuple[str, ...] = ()
    provenance: Provenance | None = field(default=None, compare=False)
    not_judged: str = ""
    estimate: Estimate | None = field(default=None, compare=False)

    @property
    def escapable(self) -> float | None:
        """The largest share of rows on which a flaw could have escaped a clean question; None if none has a bound."""
        return max((c.bound for c in self.checks if c.status == "clean" and c.bound is not None), default=None)

    def verdict(self, floor: Severity = "medium") -> Verdict:
        """Return "findings" if any is at least `floor`, else "not judged" if there is a reason, or "clean"."""
        if self.at_least(floor):
            return "findings"
        return "not judged" if self.not_judged else "clean"

    def outcomes(self, floor: Severity = "medium") -> list[tuple[Check, Result, Severity | None]]:
        """Return each question with its outcome, by the worst severity that it found."""
        named = {check.probe for check in self.checks}
        worst_of: dict[str, Severity] = {}
        for one in reversed(self.every):  # mildest first
            worst_of[question_of(one.probe, named)] = one.severity
        outcomes: list[tuple[Check, Result, Severity | None]] = []
        for check in self.checks:
            severity = worst_of.get(check.probe)
            outcome: Result = "not run" if check.applies else "not applicable"
            if check.status != "not run":
                outcome = "clean" if severity is None else "finding" if at_least(severity, floor) else "observation"
            outcomes.append((check, outcome, severity))
        return outcomes

    def questions(self, floor: Severity = "medium") -> dict[Result, int]:
        """Count the questions by outcome."""
        counts = Counter(outcome for _, outcome, _ in self.outcomes(floor))
        return {outcome: counts[outcome] for outcome in RESULTS}

    @property
    def every(self) -> tuple[Finding, ...]:
        """All findings, with their symptoms, worst first."""
        return ranked([one for finding in self.findings for one in (finding, *finding.symptoms)])

    def at_least(self, floor: Severity) -> tuple[Finding, ...]:
        """Return the findings of severity `floor` or worse, worst first."""
        return tuple(finding for finding in self.findings if at_least(finding.severity, floor))

    def summary(self, floor: Severity = "medium") -> dict[str, Any]:
        """Return the record that `--json` prints: verdict at `floor`, findings, counts of questions and rows, time."""
        return {
            "schema": SCHEMA,
            "target": self.target,
            "verdict": self.verdict(floor),
            "not_judged": self.not_judged,
            "findings": as_record(self.at_least(floor)),
            "questions": self.questions(floor),
            "escapable": self.escapable,
            "unscored": dict(self.unscored),
            "calls": self.calls,
            "seconds": round(self.seconds, 3),
        }

    def as_json(self, floor: Severity = "medium") -> dict[str, Any]:
        """Return the whole record of `report.json`: `summary` plus observations, checks, rates and levels."""
        names = ("curves", "reliability", "estimate", "provenance")
        return {
            **self.summary(floor),
            "fail_on": floor,
            "contract": self.contract,
            "kind": self.kind,
            "reads": list(self.reads),
            "n_rows": self.n_rows,
            "seed": self.seed,
            "observations": as_record([f for f in self.findings if not at_least(f.severity, floor)]),
            "checks": as_record(self.checks),
            "rates": as_record(self.rates),
            "levels": as_record(self.levels),
            **{name: as_record(value) for name in names if (value := getattr(self, name))},
        }

    def assert_clean(self, floor: Severity = "medium") -> None:
        """Raise an AssertionError, which holds the printed report, unless the verdict at `floor` is clean."""
        from rewardsmith.auditing.render.text import text_of

        __tracebackhide__ = True  # pytest shows the line of the test
        if self.verdict(floor) != "clean":
            raise AssertionError(text_of(self, floor=floor))

    def _repr_html_(self) -> str:
        from rewardsmith.auditing.render.html import render_table

        return render_table(self)


def question_of(probe: str, questions: Collection[str]) -> str:
    """Return the question that a finding belongs to: its own name, "failures" for `non_finite`, else "rollouts"."""
    return probe if probe in questions else "failures" if probe == "non_finite" else "rollouts"


def ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return findings worst first; within a severity strictness last, as it cannot be gamed, then by value and name."""

    def place(one: Finding) -> tuple[int, bool, float, str]:
        return -SEVERITIES.index(one.severity), one.probe == "strictness", -abs(one.value or 0.0), one.probe

    return tuple(sorted(findings, key=place))
