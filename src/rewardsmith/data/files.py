"""Read files of records. An error in a file names the file, the place in it and the remedy."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from rewardsmith.errors import RowsError

logger = logging.getLogger(__name__)
MOST_CHARS = 64_000_000
"""Longer lines of JSONL or CSV are refused: they are damaged files or traps, not rows."""
MOST_NESTING = 200
"""Deeper JSON is refused, because later code recurses into it."""
MOST_SEPARATORS = 10
"""A CSV row over several lines is refused if each line reads as a row of its own and all have this many commas.

It is then a stray quote that has swallowed rows. With fewer commas it may be a text of several lines, and a warning
names the first such row of a file.
"""
_DOUBTED: set[Path] = set()
"""Files for which that warning was given."""
OTHERS = {b"\x1f\x8b": "gzipped", b"PK\x03\x04": "a zip archive", b"PAR1": "Parquet"}
TO_OPEN = {"gzipped": "Unzip it, or name a .jsonl or .json so that it ends in .gz", "Parquet": "Name it .parquet"}

Records = Iterator[Mapping[str, Any]]


def file_records(path: Path, *, caller: str = "read_rows") -> Records:
    """Yield the objects of a `.jsonl`, `.json`, `.parquet`, `.arrow` or `.csv` file; the first two may be gzipped.

    Text is UTF-8, with or without a byte order mark.

    Raises:
        RowsError: `caller: ...` if the file is missing, of another kind, or cannot be read to its end.
    """
    if not path.is_file():
        raise RowsError(f"{caller}: there is no file {path}. Give a .jsonl, .json, .parquet, .arrow or .csv file.")
    readers = {
        ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".parquet": _columnar, ".arrow": _columnar, ".csv": _csv,
    }  # fmt: skip
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"] and suffixes[-2:-1] and suffixes[-2] in (".jsonl", ".ndjson", ".json")
    reader = readers.get(suffixes[-2] if zipped else path.suffix.lower())
    if reader is None:
        raise RowsError(
            f"{caller}: {path} ends in {path.suffix!r}, which is none of {', '.join(readers)}. Convert it to one."
        )
    return reader(path, caller)


def _lines(path: Path, caller: str, *, newline: str | None = None, most: int = MOST_CHARS) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file, numbered from 1."""
    number, zipped = 0, path.suffix.lower() == ".gz"
    if not zipped:
        with path.open("rb") as file:
            begin = file.read(4)
        kind = next((kind for magic, kind in OTHERS.items() if begin.startswith(magic)), None)
        if kind is not None:
            raise RowsError(f"{caller}: {path} is not text but {kind}. {TO_OPEN.get(kind, 'Unzip it')}.")
    how: dict[str, Any] = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": newline}
    try:
        with cast(IO[str], gzip.open(path, "rt", **how)) if zipped else path.open(**how) as text:
            while line := text.readline(most + 1 if most else -1):
                number += 1
                if most and len(line) > most:
                    raise RowsError(
                        f"{caller}: line {number} of {path} is longer than {most:,} characters. "
                        "Check that the file is complete, or leave the row out."
                    )
                if number == 1 and "\0" in line:
                    raise RowsError(f"{caller}: {path} is not UTF-8 but looks like UTF-16. Save the file as UTF-8.")
                try:
                    line.encode()
                except UnicodeEncodeError as error:  # bytes outside UTF-8 were read as lone surrogates
                    byte = ord(line[error.start]) & 0xFF
                    raise RowsError(
                        f"{caller}: line {number} of {path} is not UTF-8 (byte 0x{byte:02x} at character "
                        f"{error.start + 1}). Save the file as UTF-8."
                    ) from error
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RowsError(
            f"{caller}: {path} is not gzip, or it is damaged after line {number} ({error}). "
            "Download or write it again, or unzip it and remove .gz."
        ) from error


def _jsonl(path: Path, caller: str) -> Records:
    name = str(path)
    for number, line in _lines(path, caller):
        if not line.isspace():
            yield _parsed(line, f"line {number} of {name}", caller, "Each line must be one object.")


def _json(path: Path, caller: str) -> Records:
    text = "".join(line for _, line in _lines(path, caller, most=0))
    records = _parsed(text, str(path), caller, "It must be one list of objects.")
    if not isinstance(records, list):
        raise RowsError(f"{caller}: {path} holds a {type(records).__name__}. It must be one list of objects.")
    yield from records


def _parsed(text: str, where: str, caller: str, must: str) -> Any:
    try:
        value = json.loads(text)
        if text.count("[") + text.count("{") > MOST_NESTING and _is_deep(value):
            raise RecursionError
    except json.JSONDecodeError as error:
        raise RowsError(f"{caller}: {where} is not JSON ({error}). {must}") from error
    except RecursionError as error:
        raise RowsError(
            f"{caller}: {where} is nested more than {MOST_NESTING} levels deep. Keep such a value as a string."
        ) from error
    except ValueError as error:  # an integer with more digits than Python reads
        raise RowsError(
            f"{caller}: {where} holds an integer of too many digits ({str(error).partition(';')[0]}). "
            "Write it as a string."
        ) from error
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_NESTING):
        holders = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in holders for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return False
    return True


def _csv(path: Path, caller: str) -> Records:
    csv.field_size_limit(max(csv.field_size_limit(), MOST_CHARS))
    taken: list[str] = []

    def kept() -> Iterator[str]:
        for _, line in _lines(path, caller, newline=""):
            taken.append(line)
            yield line

    reader = csv.reader(kept(), strict=True)
    header: list[str] = []
    while True:
        first = reader.line_num + 1
        taken.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise RowsError(
                f"{caller}: line {reader.line_num} of {path}, in the row that begins in line {first}, is not CSV "
                f'({error}). Double each " in a quoted field, take out a stray one, or use a .jsonl file.'
            ) from error
        if not header:
            header = fields
            if len(taken) > 1:
                raise RowsError(
                    f'{caller}: the header of {path} spans {len(taken)} lines. Take out a stray " in it, or the line '
                    "breaks in its names."
                )
        elif fields:
            where = f"line {first} of {path}"
            if len(fields) != len(header):
                todo = (
                    "Quote the field that holds a comma" if len(fields) > len(header) else "Leave a missing field empty"
                )
                raise RowsError(f"{caller}: {where} has {len(fields)} fields, the header has {len(header)}. {todo}.")
            separators = (len(header) - 1) * (len(taken) - 1)
            blind = [line.split(",") for line in taken]  # read without quotes
            rows_inside = separators >= 2 and all(
                len(parts) == len(header) and all(map(str.strip, parts)) for parts in blind
            )
            if separators >= MOST_SEPARATORS and rows_inside:  # it has probably swallowed the rows below it
                raise RowsError(
                    f"{caller}: {where} begins a row of {len(taken)} lines that are each a complete row. Take out "
                    'the stray " in its first line. If it is one text, use a .jsonl file.'
                )
            if rows_inside and path not in _DOUBTED:
                _DOUBTED.add(path)
                logger.warning(
                    "%s: line %d of %s begins a row of %d lines that are each a complete row. If it is no text of "
                    'several lines, take out the stray " in its first line.', caller, first, path, len(taken),
                )  # fmt: skip
            yield dict(zip(header, fields, strict=True))


def _batches(path: Path) -> Iterator[Any]:
    """Yield the batches of a Parquet or Arrow file, or of a stream of Arrow batches, as `datasets` keeps them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() == ".parquet":
        yield from pq.ParquetFile(path, page_checksum_verification=True).iter_batches()
        return
    with pa.memory_map(str(path)) as file:
        try:
            opened = pa.ipc.open_file(file)
        except pa.ArrowInvalid:  # a stream has no footer
            yield from pa.ipc.open_stream(file)
        else:
            yield from map(opened.get_batch, range(opened.num_record_batches))


def _columnar(path: Path, caller: str) -> Records:
    n_rows, batches = 0, _batches(path)
    while True:
        try:
            records = next(batches).to_pylist()
        except StopIteration:
            return
        except Exception as error:  # Arrow's own errors, and those of damaged bytes: OSError, UnicodeError …
            kind = path.suffix[1:].capitalize()
            raise RowsError(
                f"{caller}: {path} is not {kind}, or damaged after row {n_rows} ({type(error).__name__}: {error}). "
                "Write it again, or use a .jsonl file."
            ) from error
        n_rows += len(records)
        yield from records
