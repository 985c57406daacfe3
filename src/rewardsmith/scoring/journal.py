"""The journal of a scoring job: append-only lines on disk, from which a killed job continues."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from rewardsmith._disk import naming
from rewardsmith.errors import RewardsmithError
from rewardsmith.scoring.work import Scored

logger = logging.getLogger(__name__)
SCHEMA = "rewardsmith.journal/4"
CODE = ("source", "version")
"""Header fields of a scoring job that change with code: if only they differ, the job starts again."""
ROUNDS = "rounds.jsonl"
"""The journal of a self-training run, in its folder."""
_JSON = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False)
_HEAD = b'{"schema":"rewardsmith.journal/'
_MARK = b',"seal":"'


class Journal:
    """One file: a header line that identifies the job, then one line per record.

    Every line ends in a digest of itself and of the header. A cut or changed line is named in a warning, blanked, and
    left out of `records`, so its rows are scored again. A line is appended in one write, so a killed process leaves at
    most one cut line at the end. The file is locked while open: two jobs on one journal would score rows twice.

    key: seals the records of this job. emptied: the journal was of other code and has been emptied.
    records: the records found, in order.
    """

    def __init__(
        self,
        path: Path,
        header: Mapping[str, Any],
        *,
        patience: float = 0.0,
        anew: Collection[str] = (),
        remedy: str = "Delete it to start again, or choose another folder.",
    ) -> None:
        """Open or create `path` for the job described by `header` (JSON values).

        Args:
            patience: seconds to wait for a job that has it open, such as one that is about to end.
            anew: fields of the header; if only these differ, the journal is emptied with a warning.
            remedy: the advice in errors about a journal of another job or version.

        Raises:
            RewardsmithError: the file belongs to another job, is in use, is of another version, or is no journal.
        """
        self.path, self._remedy = path, remedy
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.key = b""
        self.emptied = False
        self.records: list[dict[str, Any]] = []
        try:
            self._lock(time.monotonic() + patience)
            self._open({"schema": SCHEMA, **json.loads(json.dumps(header))}, anew)
        except BaseException:
            self.close()
            raise

    def _lock(self, deadline: float) -> None:
        try:
            import fcntl
        except ImportError:  # not on POSIX: the caller must not run two jobs on one journal
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

    def _open(self, wanted: dict[str, Any], anew: Collection[str]) -> None:
        content = self.path.read_bytes()
        lines = content.split(b"\n")
        headers = [record for line in lines if (record := unsealed(line + b"\n")) is not None]
        found = headers[0] if headers else None
        if found is None and content.strip(b"\0\n "):
            self._refuse_stranger(content)
        if found is not None and found.get("schema") != SCHEMA:
            self._refuse_version(found.get("schema"))
        if found is not None and found != wanted:
            differing = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
            if not set(differing) <= set(anew):
                listed = ", ".join(
                    "the rows have changed"  # a digest would not help a reader
                    if name == "rows"
                    else f"{name} was {found.get(name)!r}, now {wanted.get(name)!r}"
                    for name in differing
                )
                raise RewardsmithError(f"Journal: {self.path} belongs to another job ({listed}). {self._remedy}")
            logger.warning(
                "Journal: the code has changed since %s was written (%s). All rows are scored again.",
                self.path, ", ".join(differing),
            )  # fmt: skip
            os.ftruncate(self._file, 0)
            self.emptied = True
            found, content, lines = None, b"", []
        key = hashlib.blake2b(sealed(wanted)).digest()
        damaged: list[tuple[int, int]] = []
        start = 0
        for number, line in enumerate(lines):
            whole = number < len(lines) - 1  # the last piece follows the last line end
            record = unsealed(line + b"\n", key) if whole else None
            if record is not None:
                self.records.append(record)
            elif line.strip(b" ") and not (whole and unsealed(line + b"\n") == wanted):
                damaged.append((start, len(line)))
            start += len(line) + 1
        if damaged:  # warned of only once, because they are overwritten with blanks
            logger.warning(
                "Journal: %s has damaged records (%d, the first at byte %d). Their rows are scored again.",
                self.path, len(damaged), damaged[0][0],
            )  # fmt: skip
            with naming(self.path), self.path.open("r+b") as file:  # append-mode descriptors cannot overwrite
                for start, length in damaged:
                    file.seek(start)
                    file.write(b" " * length)
                if sum(damaged[-1]) == len(content):  # a cut line: the next record must not continue it
                    file.truncate(damaged[-1][0])
        if found is None:
            self.append(wanted)
        self.key = key

    def _refuse_stranger(self, content: bytes) -> None:
        """Refuse a file that is no journal; a damaged header is accepted if the records or first bytes are ours."""
        try:
            first = json.loads(content.split(b"\n", 1)[0])
        except ValueError:
            first = None
        schema = first.get("schema") if isinstance(first, dict) and "seal" not in first else SCHEMA
        if schema != SCHEMA and str(schema).startswith("rewardsmith.journal/"):
            self._refuse_version(schema)
        if _MARK not in content and not content.startswith(_HEAD) and not _HEAD.startswith(content):
            raise RewardsmithError(f"Journal: {self.path} is not a journal. Move it, or choose another folder.")

    def _refuse_version(self, schema: Any) -> NoReturn:
        raise RewardsmithError(
            f"Journal: {self.path} is of another version of rewardsmith ({schema}, now {SCHEMA}). {self._remedy}"
        )

    def append(self, *records: Mapping[str, Any]) -> None:
        """Append records; on return the operating system has them, so killing this process cannot lose them."""
        lines, written = b"".join(sealed(record, self.key) for record in records), 0
        with naming(self.path):
            try:
                while written < len(lines):
                    written += os.write(self._file, lines[written:])
            except OSError:  # a full disk: remove the partial record, so that the next one does not continue it
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise

    def close(self) -> None:
        """Close the file and release its lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def header_of(path: Path) -> dict[str, Any]:
    """Return the header of a journal; {} if there is no journal or its header is damaged."""
    try:
        with path.open("rb") as file:
            return unsealed(file.readline()) or {}
    except OSError:
        return {}


def records_of(path: Path) -> list[dict[str, Any]]:
    """Return the whole records of a journal, also of one in use."""
    key = hashlib.blake2b(sealed(header_of(path))).digest()
    found = (unsealed(line, key) for line in path.read_bytes().splitlines(keepends=True))
    return [record for record in found if record is not None]


def sealed(record: Mapping[str, Any], key: bytes = b"") -> bytes:
    r"""Return the record as one line of JSON whose last field is a digest of the rest, under `key`.

    >>> line = sealed({"n": 1})
    >>> line[:15], len(line)
    (b'{"n":1,"seal":"', 34)
    """
    body = _JSON.encode(record).encode()
    return body[:-1] + _MARK + _digest(body, key) + b'"}\n'


def unsealed(line: bytes, key: bytes = b"") -> dict[str, Any] | None:
    r"""Return the record of such a line; None if any byte has changed, or if another key sealed it.

    >>> unsealed(sealed({"n": 1})), unsealed(sealed({"n": 1}).replace(b"1,", b"2,"))
    ({'n': 1}, None)
    """
    body, mark, seal = line.rpartition(_MARK)
    if not mark or seal != _digest(body + b"}", key) + b'"}\n':
        return None
    record: dict[str, Any] = json.loads(body + b"}")
    return record


def _digest(body: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=8, key=key).hexdigest().encode()


class Recorded(NamedTuple):
    """The results under one key: of one row, or of a whole call."""

    results: list[Scored]
    microseconds: int


def under_way(records: Iterable[Mapping[str, Any]]) -> int:
    """Return how many rows a scoring job had sent in its last run without getting a result.

    >>> under_way([{"sent": 2, "first": True}, {"sent": 3, "first": False}, {"results": [0, 0]}])
    3
    """
    count = 0
    for record in records:
        count = (0 if record.get("first") else count) + record.get("sent", 0) - len(record.get("results", ()))
    return max(count, 0)


def recorded(record: Mapping[str, Any]) -> dict[str, Recorded]:
    """Return the results in a record, by key."""
    if "sent" in record:
        return {}
    each = record["seconds"]
    results = [Scored(*got) if isinstance(got, list) else Scored(got, None, "", each) for got in record["results"]]
    if record["whole"]:
        return {record["keys"][0]: Recorded(results, record["microseconds"])}
    # Integer shares with an exact sum, so that a resumed job has the same total to the last digit.
    share, left = divmod(record["microseconds"], len(results))
    pairs = enumerate(zip(record["keys"], results, strict=True))
    return {key: Recorded([result], share + (position < left)) for position, (key, result) in pairs}


def record_of(keys: list[str], results: list[Scored], *, whole: bool, microseconds: int) -> dict[str, Any]:
    """Return the record of results under their keys; a result without other fields is its number alone."""
    plain = (None, "", results[0].seconds, False, False)
    fields = [result.reward if result[1:] == plain else result for result in results]
    return {"keys": keys, "whole": whole, "microseconds": microseconds, "seconds": plain[2], "results": fields}
