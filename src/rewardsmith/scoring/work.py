"""Data of both ways of scoring: units of work, their tasks, and how a failed call is split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rewardsmith.types import Completion, Text

RowParts = tuple[Text, Completion | None, Mapping[str, Any]]
"""A row for a worker: prompt, completion, columns."""


class Scored(NamedTuple):
    """The result of one row.

    reward: finite, or None where the row is unscored.
    reason: None where scored; else "none" (the reward returned None), "nan", "inf", "type", "length", "exception",
        "timeout", "crash" (its process died), "endpoint" (the server that the reward asks gave no usable answer), or
        "unasked" (the job stopped after too many timeouts, or at its largest number of calls).
    detail: one line, such as the exception or the value of a wrong type.
    seconds: time inside the reward; a batch call's time is shared evenly by its rows.
    mutated: the reward changed its inputs (only where `check_mutation` asked).
    split: the row was called outside its batch, because the batch's own call failed.
    """

    reward: float | None
    reason: str | None
    detail: str = ""
    seconds: float = 0.0
    mutated: bool = False
    split: bool = False


class Reply(NamedTuple):
    """The result of one call: one result per row, or None with the reason why the whole call failed."""

    results: list[Scored] | None
    reason: str
    detail: str
    seconds: float


NO_TEXT = Scored(None, "none", "the completion holds no text")
UNASKED = Scored(None, "unasked", "not sent: the job stopped after too many timeouts")
SPENT = Scored(None, "unasked", "not sent: the largest number of calls is reached")


@dataclass(slots=True)
class Unit:
    """Rows whose results are recorded together: one batch, or one `whole` call that is never split."""

    index: int
    rows: Sequence[RowParts]
    limit: float | None
    whole: bool = False
    check_mutation: bool = False
    settled: Callable[[Sequence[Scored]], None] = field(default=lambda results: None, repr=False)
    """Called with rows' results at once, before the unit is done."""
    begun: bool = False
    results: list[Scored | None] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.results = [None] * len(self.rows)

    @property
    def done(self) -> bool:
        """Whether every row has its result."""
        return None not in self.results

    def task(self) -> Task:
        """Return the call that tries all rows at once."""
        return Task(self, list(range(len(self.rows))))


@dataclass(slots=True)
class Task:
    """One call: some rows of a unit.

    split: it holds rows of a failed call.
    alone: it must be its worker's only call, so that a crash of the worker is known to be its fault.
    """

    unit: Unit
    indices: list[int]
    split: bool = False
    alone: bool = False

    @property
    def rows(self) -> list[RowParts]:
        return [self.unit.rows[index] for index in self.indices]

    def settle(self, indices: Sequence[int], results: Sequence[Scored]) -> None:
        """Record results of some rows of the unit."""
        if self.split:
            results = [result._replace(split=True) for result in results]
        for index, result in zip(indices, results, strict=True):
            self.unit.results[index] = result
        self.unit.settled(results)

    def apply(self, reply: Reply) -> list[Task]:
        """Record a whole reply; if the call failed, return the smaller calls to try instead."""
        self.unit.seconds += reply.seconds
        if reply.results is None:
            return self.fail(reply.reason, reply.detail, reply.seconds)
        self.settle(self.indices, reply.results)
        return []

    def fail(self, reason: str, detail: str, seconds: float) -> list[Task]:
        """Split a failed call into smaller ones; if it cannot be split, record the reason.

        Halves find one bad row among B in 2·log₂B calls. After a timeout or a crash each call may cost the full limit
        or a new process, so the rows are then tried one by one: two limits per bad row, not log₂B. A result that is no
        list or has the wrong length counts against every row: a trainer would stop at it, smaller calls would hide it.
        """
        if self.unit.whole or len(self.indices) == 1 or reason in ("type", "length"):
            result = Scored(None, reason, detail, round(seconds / len(self.indices), 7))
            self.settle(self.indices, [result] * len(self.indices))
            return []
        size = 1 if reason in ("timeout", "crash") else (len(self.indices) + 1) // 2
        parts = [self.indices[start : start + size] for start in range(0, len(self.indices), size)]
        return [Task(self.unit, part, split=True, alone=self.alone) for part in parts]

    def remaining(self) -> list[int]:
        """Return the indices of this task without a result."""
        return [index for index in self.indices if self.unit.results[index] is None]
