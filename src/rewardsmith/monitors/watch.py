"""Keep a run's records and alarms, and write them to disk as they come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewardsmith.monitors.kinds import default_monitors
from rewardsmith.monitors.measures import Record
from rewardsmith.monitors.monitor import Alarm, Monitor, evidence


class Watch:
    """Keeps a run's records and runs each monitor after each of them; a monitor alarms once.

    Args:
        monitors: the monitors to run; `default_monitors()` if None.
        path: a JSONL file that gets one line per record, with its alarms. An existing file is replaced.
    """

    def __init__(self, monitors: Sequence[Monitor] | None = None, *, path: str | Path | None = None) -> None:
        self.monitors = tuple(default_monitors() if monitors is None else monitors)
        self.history: list[Record] = []
        self.alarms: list[Alarm] = []
        self.path = None if path is None else Path(path)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("", encoding="utf-8")

    def observe(self, record: Record, rows: Sequence[Mapping[str, Any]] = ()) -> list[Alarm]:
        """Add the newest record, which has its `step`, and return the alarms that it sets off.

        Args:
            rows: the record's rows; each alarm keeps those behind it (`evidence`).
        """
        self.history.append(record)
        fired = {alarm.monitor for alarm in self.alarms}
        new: list[Alarm] = []
        for monitor in self.monitors:
            alarm = None if monitor.name in fired else monitor.judge(self.history)
            if alarm is not None:
                new.append(replace(alarm, rows=evidence(rows, monitor.shows)))
        self.alarms += new
        if self.path is not None:
            line = {**record, "alarms": [alarm.as_json() for alarm in new]}
            try:
                text = json.dumps(line, ensure_ascii=False, default=repr).encode()
            except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot hold
                text = json.dumps(line, default=repr).encode()
            with self.path.open("ab") as lines:
                lines.write(text + b"\n")
        return new
