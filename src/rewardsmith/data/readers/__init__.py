"""Readers of the public sets that reward models learn from and are tested on, each in the form it is published in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from rewardsmith.data.card import DataCard, data_card
from rewardsmith.data.preferences import BenchmarkRow, PreferenceRow, RatedRow, StepRow
from rewardsmith.data.readers import benchmarks, pairs, ratings, step_labels
from rewardsmith.data.readers.benchmarks import BENCHMARK_SCHEMAS, RM_BENCH_STYLES
from rewardsmith.data.readers.pairs import PREFERENCE_SCHEMAS, strength_from_annotators
from rewardsmith.data.readers.ratings import RATING_SCHEMAS
from rewardsmith.data.readers.records import Source, records_of
from rewardsmith.data.readers.schema import Schema, read
from rewardsmith.data.readers.step_labels import STEP_SCHEMAS
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
    records = records_of(caller, source, split=asked.split, hub=asked.hub)
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
    name = str(source) if isinstance(source, str | Path) else type(source).__name__
    if not reading.rows:
        reasons = "; ".join(f"{n} × {reason}" for reason, n in reading.dropped.most_common(3))
        raise RowsError(
            f"{caller}: none of {reading.n_records} records of {name} gives a row as {chosen.name} ({reasons}). "
            "Check the schema and the split."
        )
    card = data_card(
        reading.rows,
        name=name,
        schema=chosen.name,
        n_records=reading.n_records,
        dropped=reading.dropped,
        duplicates=asked.duplicates,
    )
    return ReadData(reading.rows, card)


__all__ = [
    "BENCHMARK_SCHEMAS",
    "PREFERENCE_SCHEMAS",
    "RATING_SCHEMAS",
    "RM_BENCH_STYLES",
    "STEP_SCHEMAS",
    "ReadData",
    "read_benchmark",
    "read_preferences",
    "read_ratings",
    "read_steps",
    "strength_from_annotators",
]
