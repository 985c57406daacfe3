"""A progress bar on standard error, for jobs of many scoring calls."""

from __future__ import annotations

from typing import Any


class Bar:
    """Finished rows out of the known ones, rows per second, and the remaining time."""

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
        """Add to the number of known rows."""
        self._total += n_rows
        self._progress.update(self._task, total=self._total)

    def advance(self, n_rows: int) -> None:
        """Add to the number of finished rows."""
        self._progress.advance(self._task, n_rows)

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()
