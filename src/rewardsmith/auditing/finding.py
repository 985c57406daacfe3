"""What an audit says: a finding is one question answered with a number, an interval and the rows behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["info", "low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")
"""Mildest first. `info` is an observation, never a fault."""
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

    def as_json(self) -> dict[str, Any]:
        """The finding in the schema of `report.json`."""
        record = asdict(self)
        record["interval"] = None if self.interval is None else list(self.interval)
        record["examples"] = [asdict(example) for example in self.examples]
        return record


def at_least(severity: Severity, floor: Severity) -> bool:
    """Whether `severity` is `floor` or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(floor)
