"""A monitor asks one question of a run, and gives advice when the answer crosses its threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rewardsmith.measures.sequential import Reading
from rewardsmith.monitors.measures import Record
from rewardsmith.monitors.rows import Shows

Read = Callable[[Sequence[Record]], Reading | None]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A monitor's alarm: step, figure, advice, and the rows behind it."""

    monitor: str
    step: int
    value: float
    interval: tuple[float, float]
    threshold: float
    message: str
    advice: str
    stops: bool
    rows: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.monitor} at step {self.step}: {self.message} {self.advice}"

    def as_text(self) -> str:
        """Return the alarm and its rows for a tracker, with values in indented lines cut to 500 characters."""
        lines = [str(self)]
        for number, row in enumerate(self.rows, 1):
            lines += ["", f"Row {number}:", ""]
            for name, value in row.items():
                text = value if isinstance(value, str) else repr(value)
                if len(text) > 500:
                    text = f"{text[:500]}… ({len(text)} characters)"
                lines.append(f"    {name}: {text}".replace("\n", "\n        "))
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the alarm as a JSON object; an unbounded side of the interval is None."""
        low, high = (bound if math.isfinite(bound) else None for bound in self.interval)
        return {**asdict(self), "interval": [low, high]}


@dataclass(frozen=True, slots=True)
class Monitor:
    """A question, the threshold of its alarm, and the advice.

    read: the run's records, newest last → a reading, or None if there is nothing new to judge.
    threshold: alarm once the *lower bound* of the reading exceeds this, so that noise alone does not.
    message: formatted with value, low, high, n, threshold and the reading's other figures.
    stops: whether `on_alarm="stop"` ends the run; false if the alarm may also mean that training is done.
    shows: which rows of the newest batch the alarm shows, as `evidence` picks them.
    """

    name: str
    read: Read
    threshold: float
    message: str
    advice: str
    stops: bool = False
    shows: Shows = "rewarded"

    def judge(self, history: Sequence[Record]) -> Alarm | None:
        """Return the alarm that this history calls for, or None."""
        reading = self.read(history)
        if reading is None or not reading.low > self.threshold:
            return None
        value, low, high, n, also = reading
        message = self.message.format(value=value, low=low, high=high, n=n, threshold=self.threshold, **also)
        step = int(history[-1]["step"])
        return Alarm(self.name, step, value, (low, high), self.threshold, message, self.advice, self.stops)
