"""What an audit says: a finding is one question answered with a number, an interval and the rows behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rewardsmith.data import Row
from rewardsmith.measures import wilson_interval
from rewardsmith.measures.intervals import Share

SHOWN_CHARACTERS = 300  # of a text kept as evidence
Severity = Literal["info", "low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")
"""Mildest first. `info` is an observation, never a fault."""
NOTHING_TO_DO = "Nothing to do."
"""Advice of an observation."""
Ladder = tuple[tuple[float, Severity], ...]
"""Bounds, highest first, and how bad it is to lie surely above each."""


def severity_above(value: float, ladder: Ladder) -> Severity:
    """Return the severity of the first bound that a value exceeds, "info" where it exceeds none."""
    return next((severity for bound, severity in ladder if value > bound), "info")


@dataclass(frozen=True, slots=True)
class Example:
    """One row behind a finding: what was sent, what the reward paid, and what it is compared with."""

    prompt: str
    completion: str
    reward: float | None
    compared_with: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One question, its answer, and what to do.

    probe: which question, a stable identifier such as "enumeration".
    message: one sentence that is true of the reward as measured.
    value, interval, n: the measured figure, its interval at the family-wise level, and how many rows it rests on.
    unit: what `value` measures, such as "share of rows paid" or "reward per appended sentence".
    advice: the remedy, naming the component we ship for it, or that we ship none yet.
    remedies: code of what the advice names, ready to paste.
    why: why the severity is milder than the figure looks, or "".
    """

    probe: str
    severity: Severity
    message: str
    value: float | None
    interval: tuple[float, float] | None
    n: int
    advice: str
    unit: str = "share of rows"
    examples: tuple[Example, ...] = ()
    remedies: tuple[str, ...] = ()
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """The finding in the schema of `report.json`."""
        record = asdict(self)
        record["interval"] = None if self.interval is None else list(self.interval)
        record |= {"examples": [asdict(example) for example in self.examples], "remedies": list(self.remedies)}
        return record


def clip(text: str) -> str:
    """Cut a text at a length that a report can show."""
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + f"… ({len(text)} characters)"


def shown(row: Row, reward: float | None = None, compared_with: float | None = None, note: str = "") -> Example:
    """Return a row as evidence, cut to what a report can show."""
    return Example(clip(row.prompt_text), clip(row.text), reward, compared_with, clip(note))


def counted(hits: int, n: int, *, alpha: float) -> Share:
    """Return the share of n > 0 that hit, with Wilson's interval."""
    return Share(hits / n, *wilson_interval(hits, n, alpha=alpha), n)


def finding_of(
    probe: str,
    severity: Severity,
    message: str,
    figure: tuple[float | None, float, float, int],
    *,
    advice: str,
    unit: str = "share of rows",
    examples: Sequence[Example] = (),
    only_faults: bool = False,
    why: str = "",
) -> Finding:
    """Report a figure, and the first three of the rows behind it.

    Args:
        figure: value, interval and number of rows, as in a `Share`.
        only_faults: whether an observation has neither advice nor rows.
        why: why the severity is milder than the figure looks.
    """
    if only_faults and severity == "info":
        advice, examples = NOTHING_TO_DO, ()
    value, low, high, n = figure
    return Finding(probe, severity, message, value, (low, high), n, advice, unit, tuple(examples[:3]), why=why)


def at_least(severity: Severity, floor: Severity) -> bool:
    """Whether `severity` is `floor` or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(floor)
