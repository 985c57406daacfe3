"""Findings: the answer to one question, with a figure, its interval and the rows behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from rewardsmith.data import Row
from rewardsmith.measures import wilson_interval
from rewardsmith.measures.intervals import Share

SHOWN_CHARACTERS = 300  # kept of a text as evidence
Severity = Literal["info", "low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")
"""Severities, mildest first. `info` marks an observation, not a fault."""
NOTHING_TO_DO = "Nothing to do."
"""Advice of an observation."""
Ladder = tuple[tuple[float, Severity], ...]
"""Bounds, highest first, each with the severity of a lower bound above it."""


def severity_above(value: float, ladder: Ladder) -> Severity:
    """Return the severity of the first bound that a value exceeds, else "info"."""
    return next((severity for bound, severity in ladder if value > bound), "info")


@dataclass(frozen=True, slots=True)
class Example:
    """One row behind a finding: its text, its reward, and what that is compared with."""

    prompt: str
    completion: str
    reward: float | None
    compared_with: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One question, its answer, and what to do.

    probe: a stable identifier of the question, such as "enumeration".
    message: at most three sentences on what was measured.
    value, interval, n: the figure, its interval at the family-wise level, and the number of rows.
    unit: the unit of `value`, such as "share of rows scored higher" or "seconds per row".
    advice: the remedy, with the component we ship for it if there is one.
    remedies: code of the remedies in the advice, ready to paste.
    why: the reason why the severity is milder than the figure suggests, or "".
    cause: the probe whose finding explains this one, or "".
    symptoms: findings that this one explains, worst first.
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
    cause: str = ""
    symptoms: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the finding in the schema of `report.json`."""
        record: dict[str, Any] = as_record(self)
        return record


def as_record(value: Any) -> Any:
    """Return dataclasses and named tuples as dicts, and tuples as lists, however deep."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    value = value._asdict() if hasattr(value, "_asdict") else value
    if isinstance(value, Mapping):
        return {name: as_record(one) for name, one in value.items()}
    return [as_record(one) for one in value] if isinstance(value, list | tuple) else value


def clip(text: str) -> str:
    """Cut a text to the length that a report shows."""
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + f"… ({len(text)} characters)"


def shown(row: Row, reward: float | None = None, compared_with: float | None = None, note: str = "") -> Example:
    """Return a row as evidence, cut to the length that a report shows."""
    return Example(clip(row.prompt_text), clip(row.text), reward, compared_with, clip(note))


def counted(hits: int, n: int, *, alpha: float) -> Share:
    """Return the share hits / n, n > 0, with Wilson's interval."""
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
    """Make a finding of a figure and the first three rows behind it.

    Args:
        figure: value, interval and number of rows, as in a `Share`.
        only_faults: leave an observation without advice and rows.
        why: the reason for a milder severity.
    """
    if only_faults and severity == "info":
        advice, examples = NOTHING_TO_DO, ()
    value, low, high, n = figure
    return Finding(probe, severity, message, value, (low, high), n, advice, unit, tuple(examples[:3]), why=why)


def worst(findings: Sequence[Finding]) -> Severity | None:
    """Return the worst severity among the findings, or None without any."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default=None)


def at_least(severity: Severity, floor: Severity) -> bool:
    """Return whether `severity` is `floor` or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(floor)
