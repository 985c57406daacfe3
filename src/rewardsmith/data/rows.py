"""Rows: a prompt, perhaps a completion, and any further columns, in TRL's standard or conversational form."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rewardsmith.data.keys import is_missing, only_text
from rewardsmith.errors import RowsError
from rewardsmith.types import Text

if TYPE_CHECKING:
    from datasets import Dataset

ANSWER_NAMES = ("answer", "solution", "ground_truth", "label", "target", "reference", "reference_answer")
"""Column names under which published data sets and rewards keep the reference answer, best first."""


def text_of(value: Text | None) -> str:
    """The plain text of a prompt or completion: the string itself, or its messages' contents joined by newlines.

    >>> text_of([{"role": "assistant", "content": "4"}])
    '4'
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return "\n".join(_content(message.get("content")) for message in value)


def _content(content: Any) -> str:
    if isinstance(content, list):  # multimodal parts: {"type": "text", "text": ...}
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with an optional completion and further columns (`answer`, `gold`, `group`, `source`, ...)."""

    prompt: Text
    completion: Text | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt_text(self) -> str:
        """The prompt as plain text."""
        return text_of(self.prompt)

    @property
    def text(self) -> str:
        """The completion as plain text; empty where there is none."""
        return text_of(self.completion)

    @property
    def answer(self) -> str | None:
        """The reference answer as text; of a dict or list the only text or number in it, else None."""
        return only_text(self.columns.get("answer"))

    def with_completion(self, text: str) -> Row:
        """This row with `text` as its completion, in the form (string or messages) that its prompt has."""
        completion: Text = text if isinstance(self.prompt, str) else [{"role": "assistant", "content": text}]
        return replace(self, completion=completion)

    def conversational(self) -> Row:
        """This row in conversational form; one that already is comes back as it is."""
        prompt, completion = self.prompt, self.completion
        return replace(
            self,
            prompt=[{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt,
            completion=[{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion,
        )


def read_rows(source: str | Path | Dataset | Iterable[Mapping[str, Any]], *, limit: int | None = None) -> list[Row]:
    """Rows from a `.jsonl`, `.json`, `.parquet` or `.csv` file, a `datasets.Dataset`, or any iterable of mappings.

    Every row needs `prompt`; `completion` is optional; all else becomes a column. Where a row has no `answer` but one
    of `solution`, `ground_truth` and the like (`ANSWER_NAMES`), or verl's `reward_model["ground_truth"]`, that value
    is also its `answer`.

    Raises:
        RowsError: the file is missing or of another kind, cannot be parsed, holds no rows, or a row has no prompt.
    """
    name = str(source) if isinstance(source, str | Path) else type(source).__name__
    records = file_records(Path(source)) if isinstance(source, str | Path) else iter(source)
    rows = []
    for number, record in enumerate(records, start=1):
        if limit is not None and number > limit:
            break
        rows.append(_row(record, where=f"row {number} of {name}"))
    if not rows:
        raise RowsError(f"read_rows: {name} holds no rows. Each row needs at least a `prompt`.")
    return rows


def file_records(path: Path, *, caller: str = "read_rows") -> Iterator[Mapping[str, Any]]:
    """The objects of a `.jsonl`, `.json`, `.parquet` or `.csv` file; the first two may be gzipped.

    Raises:
        RowsError: in `caller`'s name, as the file is missing or of another kind, or when a line cannot be parsed.
    """
    if not path.is_file():
        raise RowsError(f"{caller}: there is no file {path}. Give a .jsonl, .json, .parquet or .csv file.")
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".parquet": _parquet, ".csv": _csv}
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"] and suffixes[-2:-1] and suffixes[-2] in (".jsonl", ".ndjson", ".json")
    reader = readers.get(suffixes[-2] if zipped else path.suffix.lower())
    if reader is None:
        raise RowsError(
            f"{caller}: {path} ends in {path.suffix!r}, which is none of {', '.join(readers)}. Convert it to one."
        )
    return reader(path, caller)


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _jsonl(path: Path, caller: str) -> Iterator[Mapping[str, Any]]:
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise RowsError(
                        f"{caller}: line {number} of {path} is not JSON ({error}). Each line must be one object."
                    ) from error


def _json(path: Path, caller: str) -> Iterator[Mapping[str, Any]]:
    with _opened(path) as file:
        try:
            records = json.load(file)
        except json.JSONDecodeError as error:
            raise RowsError(f"{caller}: {path} is not JSON ({error}). It must be one list of objects.") from error
    if not isinstance(records, list):
        raise RowsError(f"{caller}: {path} holds a {type(records).__name__}. It must be one list of objects.")
    return iter(records)


def _parquet(path: Path, caller: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batches = pq.ParquetFile(path).iter_batches()
        for batch in batches:
            yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise RowsError(f"{caller}: {path} is not Parquet ({error}). Write it again, or give a .jsonl.") from error


def _csv(path: Path, caller: str) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def _row(record: Any, *, where: str) -> Row:
    if not isinstance(record, Mapping):
        raise RowsError(f"read_rows: {where} is a {type(record).__name__}. It must be an object with a `prompt`.")
    prompt, completion = _text(record.get("prompt")), _text(record.get("completion"))
    if prompt is None:
        raise RowsError(
            f"read_rows: {where} has no usable `prompt` (columns: {', '.join(map(str, record)) or 'none'}). "
            "It must be a string or a list of messages; rename the column that holds it."
        )
    columns = {str(key): value for key, value in record.items() if key not in ("prompt", "completion")}
    for name in ANSWER_NAMES:
        if name in columns and is_missing(columns[name]):
            columns[name] = None
    if columns.get("answer") is None:
        answer = next((columns[name] for name in ANSWER_NAMES if columns.get(name) is not None), None)
        if answer is None and isinstance(columns.get("reward_model"), Mapping):  # verl's Parquet schema
            answer = columns["reward_model"].get("ground_truth")
        if not is_missing(answer):
            columns["answer"] = answer
    return Row(prompt=prompt, completion=completion, columns=columns)


def _text(value: Any) -> Text | None:
    if isinstance(value, str):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list) and value and all(isinstance(m, Mapping) and "content" in m for m in value):
        return [dict(message) for message in value]
    return None
