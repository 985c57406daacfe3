"""The journal of a scoring job: append-only lines on disk, so that a killed job resumes where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rewardsmith.errors import RewardsmithError

SCHEMA = "rewardsmith.journal/1"


class Journal:
    """One file: a header line that says which job it belongs to, then one line per batch.

    A line is appended in one write, so a killed process leaves at most a torn last line, which reopening cuts off.
    The file is locked while open: two jobs on one journal would score the same rows twice.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], *, patience: float = 0.0) -> None:
        """Open or create `path` for the job described by `header` (JSON values).

        Args:
            patience: seconds to wait for a job that has it open, such as one that is about to die.

        Raises:
            RewardsmithError: the file belongs to another job, is in use, or is damaged before its last line.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.records: list[dict[str, Any]] = []
        try:
            self._lock(time.monotonic() + patience)
            self._open({"schema": SCHEMA, **json.loads(json.dumps(header))})
        except BaseException:
            self.close()
            raise

    def _lock(self, deadline: float) -> None:
        try:
            import fcntl
        except ImportError:  # not on POSIX: two jobs on one journal stay the caller's care
            return None
        try:
            while True:
                try:
                    return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(0.1)
        except OSError as error:
            raise RewardsmithError(
                f"Journal: {self.path} is in use by another running job. Wait for it, or choose another folder."
            ) from error

    def _open(self, header: dict[str, Any]) -> None:
        with self.path.open("rb") as stream:
            content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._file, whole)
        lines = list(self._parsed(content[:whole].splitlines()))
        if not lines:
            self.append(header)
            return
        if lines[0] != header:
            raise RewardsmithError(
                f"Journal: {self.path} belongs to another job ({_difference(lines[0], header)}). "
                "Delete it to start again, or choose another folder."
            )
        self.records = lines[1:]

    def _parsed(self, lines: list[bytes]) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise RewardsmithError(
                    f"Journal: line {number} of {self.path} is damaged. Delete the file to start again."
                )
            yield record

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line; it has reached the operating system when this returns, so killing us cannot lose it."""
        line = memoryview(json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        while line:
            line = line[os.write(self._file, line) :]

    def close(self) -> None:
        """Close the file and release its lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return ", ".join(f"{key} was {found.get(key)!r}, now {wanted.get(key)!r}" for key in keys)
