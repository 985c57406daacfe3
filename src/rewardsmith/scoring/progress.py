"""A progress bar on standard error, for jobs of many scoring calls."""

from __future__ import annotations

from typing import Any


class Bar:
    """Rows done of rows known so far, rows per second, and the time left for those."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Any) -> Text:
                speed = task.finished_speed or task.speed
                return Text("" if speed is None else f"{speed:,.0f} rows/s")

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("scoring", total=0)
        self._total = 0
        self._progress.start()

    def expect(self, n_rows: int) -> None:
        """More rows are to come."""
        self._total += n_rows
        self._progress.update(self._task, total=self._total)

    def advance(self, n_rows: int) -> None:
        """Rows are done."""
        self._progress.advance(self._task, n_rows)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()
