"""The run's memory: every record, every alarm, on disk as they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rewardsmith.monitors.measures import Record
from rewardsmith.monitors.monitor import Alarm, Monitor, default_monitors


class Watch:
    """Keeps a run's records and asks each monitor after each of them; a monitor alarms once.

    Args:
        monitors: what to ask; `default_monitors()` if None.
        path: a JSONL file that gets one line per record, with its alarms, as it comes. An existing one is replaced.
    """

    def __init__(self, monitors: Sequence[Monitor] | None = None, *, path: str | Path | None = None) -> None:
        self.monitors = tuple(default_monitors() if monitors is None else monitors)
        self.history: list[Record] = []
        self.alarms: list[Alarm] = []
        self.path = None if path is None else Path(path)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("", encoding="utf-8")

    def observe(self, record: Record) -> list[Alarm]:
        """Take in the newest record, which names its `step`; returns the alarms that it sets off."""
        self.history.append(record)
        fired = {alarm.monitor for alarm in self.alarms}
        judged = [monitor.judge(self.history) for monitor in self.monitors if monitor.name not in fired]
        new = [alarm for alarm in judged if alarm is not None]
        self.alarms += new
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({**record, "alarms": [alarm.as_json() for alarm in new]}) + "\n")
        return new
