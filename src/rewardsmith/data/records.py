"""Sources of records: an iterable, a file, a folder of files, or a name on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict

from rewardsmith.data.files import file_records
from rewardsmith.errors import RowsError, missing_extra

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".arrow", ".jsonl.gz", ".json.gz")
NO_DATA = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json", "config.json")

Source = str | Path | Iterable[Mapping[str, Any]]


class ReadOptions(TypedDict, total=False):
    """The options of `read_rows`: the part of the source, and columns, or dotted paths into them, by name.

    split: of a data set with several; of files, those with it in their name or folder; of records with a column
        `split`, those with this value. config, revision: of a data set on the hub.
    """

    config: str | None
    split: str | None
    revision: str | None
    prompt_column: str | None
    answer_column: str | None
    completion_column: str | None


def name_of(source: Any) -> str:
    """Return the name of a source for errors and cards: its path or name, or its type."""
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def records_of(
    caller: str, source: Source, *, split: str | None = None, hub: Mapping[str, Any] | None = None
) -> Iterator[Mapping[str, Any]]:
    """Yield the records of `source`; with `split`, those of one split of files or splits by name.

    Args:
        hub: further arguments of `datasets.load_dataset`, such as {"data_dir": "preference"}.
    """
    if not isinstance(source, str | Path):
        return iter(_part(caller, source, split))
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(caller, path, split)
    if path.is_file() or path.name.lower().endswith(SUFFIXES):
        return file_records(path, caller=caller)
    name = str(source)
    if not _is_on_hub(source):
        raise RowsError(
            f"{caller}: there is no file or folder {source}. Give a file ({', '.join(SUFFIXES)}), a folder that holds "
            "some, or `owner/name` on the hub."
        )
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise missing_extra(f"{caller}: {name} of the hub", "trl", error) from error
    try:
        loaded = load_dataset(name, split=split, **dict(hub or {}))
    except Exception as error:  # offline, unknown, gated and renamed names raise different errors
        raise RowsError(
            f"{caller}: there is no file or folder {name}, and the hub did not return it ({type(error).__name__}: "
            f"{str(error)[:200]}). Go online, check name, split and access, or pass a local folder."
        ) from error
    return iter(_part(caller, loaded, split))


def _is_on_hub(source: Any) -> bool:
    """Return whether a source can only be a name on the hub, `owner/name`."""
    if not isinstance(source, str) or source.count("/") != 1 or source.startswith(("/", ".", "~")):
        return False
    return not source.lower().endswith(SUFFIXES) and not Path(source).exists()


def selected(caller: str, source: Source, part: ReadOptions) -> Iterator[Any]:
    """Yield the records of one part of `source`.

    Raises:
        RowsError: the source has no such parts.
    """
    hub = {"name": part.get("config"), "revision": part.get("revision")}
    hub = {name: value for name, value in hub.items() if value is not None}
    if hub and not _is_on_hub(source):
        given = ", ".join(name for name in ("config", "revision") if part.get(name) is not None)
        raise RowsError(f"{caller}: {name_of(source)} is not on the hub, so it has no {given}. Leave the option out.")
    split = part.get("split")
    is_folder = isinstance(source, str | Path) and Path(source).expanduser().is_dir()
    divided = isinstance(source, Mapping) or _is_on_hub(source) or is_folder
    records = records_of(caller, source, split=split, hub=hub)
    if split is None or divided:
        yield from records
    for record in records:
        named = record.get("split") if isinstance(record, Mapping) else None
        if named == split:
            yield record
        elif named is None:
            raise RowsError(
                f"{caller}: {name_of(source)} has no splits, so {split!r} cannot be read from it. Leave the split out."
            )


def _part(caller: str, source: Any, split: str | None) -> Any:
    """Return one split of a `DatasetDict`, or the records of a DataFrame; anything else unchanged."""
    if hasattr(source, "iterrows"):
        return source.to_dict("records")
    if not isinstance(source, Mapping):
        return source
    if split is None and len(source) == 1 and not isinstance(next(iter(source.values())), str):
        return next(iter(source.values()))
    if split is None:
        raise RowsError(
            f"{caller}: a {type(source).__name__} of {', '.join(map(str, source))} holds no rows itself. Name a split "
            "(`--split`), or pass one of its values. Put a single row into a list."
        )
    if split not in source:
        raise RowsError(f"{caller}: split {split!r} is none of {', '.join(map(str, source))}. Name one of those.")
    return source[split]


def _folder(caller: str, folder: Path, split: str | None) -> Iterator[Mapping[str, Any]]:
    if any((folder / name).is_file() for name in ("state.json", "dataset_dict.json")):  # written by save_to_disk
        try:
            from datasets import load_from_disk
        except ImportError as error:
            raise missing_extra(f"{caller}: {folder}, which datasets saved", "trl", error) from error
        try:
            saved = load_from_disk(str(folder))
        except Exception as error:  # a missing or damaged file, with Arrow's message
            raise RowsError(
                f"{caller}: {folder} cannot be loaded ({type(error).__name__}: {str(error)[:200]}). Save it again with "
                "`save_to_disk`."
            ) from error
        return iter(_part(caller, saved, split))
    files = [f for f in sorted(folder.rglob("*")) if f.name.lower().endswith(SUFFIXES) and f.name not in NO_DATA]
    fitting = []
    for file in files:  # `data/train_prefs-00000-of-00001.parquet` belongs to `train_prefs`
        stem, parts = file.name.split(".")[0], file.relative_to(folder).parts[:-1]
        if split is None or split in (*parts, stem, stem.split("-")[0], stem.split("-")[-1]):
            fitting.append(file)
    if not fitting:
        found = ", ".join(str(f.relative_to(folder)) for f in files[:8]) or "no such file"
        wanted = "" if split is None else f" of split {split!r}"
        raise RowsError(
            f"{caller}: {folder} holds no data{wanted} ({', '.join(SUFFIXES)}; found: {found}). "
            "Pass the folder with the files, or a split in their names."
        )
    return chain.from_iterable(file_records(file, caller=caller) for file in fitting)
