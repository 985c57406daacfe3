"""Write records to a `.jsonl` or `.parquet` file that every reader accepts, as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rewardsmith._disk import replacing
from rewardsmith.errors import RewardsmithError

Records = list[dict[str, Any]]


def write_records(out: Path, blocks: Iterable[Records], added: Mapping[str, type]) -> None:
    r"""Write the records of all blocks to a file that replaces `out`.

    NaN and ±inf, which JSON does not have, become null in JSONL. A lone surrogate (half an emoji), which UTF-8 does not
    have, becomes `\ud83d` in JSONL and � in Parquet.

    Args:
        blocks: records; iterated twice for Parquet.
        added: the columns that scoring adds, with their type, float or str.

    Raises:
        RewardsmithError: the records fit no Parquet table.
        OSError: the file cannot be written; the error names it.
    """
    if out.suffix != ".parquet":
        with replacing(out) as file:
            for records in blocks:
                file.writelines(map(_line, records))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    ours = pa.schema([(column, pa.float64() if kind is float else pa.string()) for column, kind in added.items()])
    try:
        schema = pa.schema([])
        for records in blocks:
            given = [{name: value for name, value in record.items() if name not in added} for record in records]
            own = _table(given, None).schema
            schema = pa.unify_schemas([schema, own], promote_options="permissive")
        schema = pa.unify_schemas([schema, ours])
        with replacing(out) as file, pq.ParquetWriter(file, schema) as writer:
            for records in blocks:
                writer.write_table(_table(records, schema))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RewardsmithError(
            f"score_file: the rows fit no Parquet table ({error}). Rename {out.name}.parts to {out.stem}.jsonl.parts "
            f"and write {out.stem}.jsonl. No row is scored again."
        ) from error


def file_digest(path: Path) -> str:
    """Return a digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        text = _JSON.encode(record)
    except ValueError:
        text = json.dumps(finite(record), ensure_ascii=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(json.loads(text)).encode() + b"\n"


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=_plain, allow_nan=False)


def finite(value: Any) -> Any:
    """Return a value as JSON has it: NaN and ±inf are None, an array is a list, and any other object its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value if value is None or isinstance(value, str | int) else finite(_plain(value))


def _table(records: Records, schema: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.Table.from_pylist(records, schema=schema)
    except UnicodeEncodeError:
        return pa.Table.from_pylist([_encodable(record) for record in records], schema=schema)


def _encodable(value: Any) -> Any:
    """Replace lone surrogates in a value, and join surrogate pairs that are one character."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value
