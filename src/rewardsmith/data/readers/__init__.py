"""Readers of the public sets that reward models learn from and are tested on, each in the form it is published in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Generic, NamedTuple, TypeVar

from rewardsmith.data.card import DataCard, data_card
from rewardsmith.data.preferences import BenchmarkRow, PreferenceRow, RatedRow, StepRow
from rewardsmith.data.readers import benchmarks, pairs, ratings, step_labels
from rewardsmith.data.readers.benchmarks import BENCHMARK_SCHEMAS, RM_BENCH_STYLES
from rewardsmith.data.readers.pairs import PREFERENCE_SCHEMAS, strength_from_annotators
from rewardsmith.data.readers.ratings import RATING_SCHEMAS
from rewardsmith.data.readers.schema import TRIED, Schema, listed, read
from rewardsmith.data.readers.step_labels import STEP_SCHEMAS
from rewardsmith.data.records import Source, name_of, records_of
from rewardsmith.data.rows import Row, Rows, as_row
from rewardsmith.errors import RowsError

R = TypeVar("R", PreferenceRow, RatedRow, StepRow, BenchmarkRow)


class ReadData(NamedTuple, Generic[R]):
    """The rows, and a card of what was read, dropped and why."""

    rows: list[R]
    card: DataCard


class Asked(NamedTuple):
    """What a caller wants read; see `read_preferences`."""

    schema: str | None
    split: str | None
    limit: int | None
    hub: Mapping[str, Any] | None
    duplicates: bool
    options: Mapping[str, Any]


def read_preferences(
    source: Source,
    *,
    schema: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    hub: Mapping[str, Any] | None = None,
    duplicates: bool = True,
    **options: Any,
) -> ReadData[PreferenceRow]:
    """Preference pairs from a file, a folder, a name on the hub, a `datasets.Dataset` or any iterable of mappings.

    The schema is told by the columns: `ultrafeedback`, `ultrafeedback_binarized`, `helpsteer3`,
    `helpsteer2_preference`, `helpsteer2_ratings`, `nectar`, `rpr`, `explicit` (prompt, chosen, rejected), `hh_rlhf`,
    `conversations` (Skywork). Most come out as conversations: `PreferenceRow.standard()` makes strings of them.

    Args:
        schema: its name, where the columns do not tell.
        split: one split of a hub name or `DatasetDict`; of a folder, the files whose name or folder says so; of records
            with a column `split`, those that name it. All if None.
        limit: read at most this many records.
        hub: further arguments of `datasets.load_dataset`, such as {"data_dir": "preference"}.
        duplicates: count near-duplicate prompts for the card.
        options: of the schema: `pairs` = "best_worst", "best_rest" or "all" (ultrafeedback, nectar,
            helpsteer2_ratings), `attribute` (helpsteer2_ratings), `form` = "criteria" or "scenario" (rpr),
            `drop_if_range` (helpsteer2_preference, helpsteer3).

    Raises:
        RowsError: the source is missing, holds nothing, fits no schema, or yields no row.
        ValueError: an unknown schema or option.

    >>> read_preferences([{"prompt": "2+2=", "chosen": "4", "rejected": "5"}]).rows[0].chosen
    '4'
    """
    asked = Asked(schema, split, limit, hub, duplicates, options)
    return _read("read_preferences", source, PREFERENCE_SCHEMAS, pairs.checked, asked)


def read_ratings(
    source: Source,
    *,
    schema: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    hub: Mapping[str, Any] | None = None,
    duplicates: bool = True,
    **options: Any,
) -> ReadData[RatedRow]:
    """Rated answers: HelpSteer2 (0 to 4), UltraFeedback (1 to 5), or rows with `ratings`; as `read_preferences`."""
    asked = Asked(schema, split, limit, hub, duplicates, options)
    return _read("read_ratings", source, RATING_SCHEMAS, ratings.checked, asked)


def read_steps(
    source: Source,
    *,
    schema: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    hub: Mapping[str, Any] | None = None,
    duplicates: bool = True,
    **options: Any,
) -> ReadData[StepRow]:
    """Labeled steps: PRM800K, Math-Shepherd, or TRL's `prompt`, `completions`, `labels`; as `read_preferences`.

    Args:
        options: of the schema: `neutral` and `alternatives` (prm800k), `numbered` (math_shepherd).
    """
    asked = Asked(schema, split, limit, hub, duplicates, options)
    return _read("read_steps", source, STEP_SCHEMAS, step_labels.checked, asked)


def read_benchmark(
    source: Source,
    *,
    schema: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    hub: Mapping[str, Any] | None = None,
    duplicates: bool = False,
    **options: Any,
) -> ReadData[BenchmarkRow]:
    """Benchmark items: RewardBench, RewardBench 2, RM-Bench; as `read_preferences`."""
    asked = Asked(schema, split, limit, hub, duplicates, options)
    return _read("read_benchmark", source, BENCHMARK_SCHEMAS, benchmarks.checked, asked)


def _read(
    caller: str,
    source: Source,
    schemas: Sequence[Schema[R]],
    check: Callable[[R], R],
    asked: Asked,
) -> ReadData[R]:
    return _of_records(caller, name_of(source), records_of(caller, source, split=asked.split, hub=asked.hub), schemas,
                       check, asked)  # fmt: skip


def _of_records(
    caller: str,
    name: str,
    records: Iterable[Mapping[str, Any]],
    schemas: Sequence[Schema[R]],
    check: Callable[[R], R],
    asked: Asked,
) -> ReadData[R]:
    chosen, reading = read(
        caller,
        schemas,
        records,
        schema=asked.schema,
        split=asked.split,
        limit=asked.limit,
        options=asked.options,
        check=check,
    )
    reading.check(caller, name, chosen.name)
    card = data_card(
        reading.rows,
        name=name,
        schema=chosen.name,
        n_records=reading.n_records,
        dropped=reading.dropped,
        first_dropped=reading.first,
        duplicates=asked.duplicates,
    )
    return ReadData(reading.rows, card)


class Given(NamedTuple):
    """Rows of one kind, and one sentence on what was left out, empty where nothing was."""

    rows: list[Row] | list[PreferenceRow]
    note: str


PAIR_COLUMNS = ("chosen", "rejected")


def read_rows_or_pairs(source: Rows, *, limit: int | None = None) -> Given:
    """Read preference pairs where the columns say so, else rows, as an audit takes either.

    Pairs are what `read_preferences` reads, from a file, a folder, a hub name or any iterable of mappings. Records with
    a column `chosen` or `rejected` are never read as anything else.

    Args:
        limit: read at most this many records.

    Raises:
        RowsError: as `read_preferences` or `read_rows`, or records of both kinds stand in one source.
    """
    name, records = name_of(source), records_of("read_rows", source)
    tried = list(islice(records, TRIED if limit is None else min(limit, TRIED)))
    everything = islice(chain(tried, records), limit)
    if _are_pairs([record for record in tried if isinstance(record, Mapping)]):
        asked = Asked(None, None, None, None, duplicates=False, options={})
        read = _of_records("read_preferences", name, everything, PREFERENCE_SCHEMAS, pairs.checked, asked)
        lost = listed(Counter(read.card.dropped), read.card.first_dropped)
        note = f"{sum(read.card.dropped.values())} of {read.card.n_records} records of {name} are left out: {lost}."
        return Given(read.rows, note if lost else "")
    rows = [as_row(record, where=f"row {n} of {name}") for n, record in enumerate(everything, start=1)]
    if not rows:
        raise RowsError(f"read_rows: {name} holds no rows. Each row needs at least a `prompt`.")
    mixed = next((n for n, row in enumerate(rows, start=1) if set(PAIR_COLUMNS) & set(row.columns)), None)
    if mixed is not None:
        raise RowsError(
            f"read_rows: row {mixed} of {name} has a column `chosen` or `rejected`, and row 1 has not. "
            "Put pairs and other rows into files of their own."
        )
    return Given(rows, "")


def _are_pairs(records: Sequence[Mapping[str, Any]]) -> bool:
    if any(name in record for record in records for name in PAIR_COLUMNS):
        return True
    return any(schema.fits(record) for record in records[:1] for schema in PREFERENCE_SCHEMAS)


__all__ = [
    "BENCHMARK_SCHEMAS",
    "PREFERENCE_SCHEMAS",
    "RATING_SCHEMAS",
    "RM_BENCH_STYLES",
    "STEP_SCHEMAS",
    "Given",
    "ReadData",
    "read_benchmark",
    "read_preferences",
    "read_ratings",
    "read_rows_or_pairs",
    "read_steps",
    "strength_from_annotators",
]
