"""Read the public data sets of reward models, each in its published format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from typing import Any, Generic, NamedTuple, TypeVar, Unpack

from rewardsmith.data.card import DataCard, data_card
from rewardsmith.data.keys import value_at
from rewardsmith.data.preferences import BenchmarkRow, OutcomeRow, PreferenceRow, RatedRow, StepRow
from rewardsmith.data.readers import benchmarks, pairs, ratings, step_labels
from rewardsmith.data.readers.benchmarks import BENCHMARK_SCHEMAS
from rewardsmith.data.readers.conversations import is_filled
from rewardsmith.data.readers.pairs import PREFERENCE_SCHEMAS
from rewardsmith.data.readers.ratings import OUTCOME_SCHEMAS, RATING_SCHEMAS
from rewardsmith.data.readers.schema import TRIED, Broken, Reading, Schema, choose, listed
from rewardsmith.data.readers.step_labels import STEP_SCHEMAS
from rewardsmith.data.records import ReadOptions, Source, name_of, records_of, selected
from rewardsmith.data.rows import Row, Rows, rows_of
from rewardsmith.errors import RowsError

R = TypeVar("R", PreferenceRow, RatedRow, OutcomeRow, StepRow, BenchmarkRow)


class ReadData(NamedTuple, Generic[R]):
    """The rows, and a card of the records that were read and dropped."""

    rows: list[R]
    card: DataCard


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
    """Read preference pairs from a file, a folder, a hub name, a `datasets.Dataset` or an iterable of mappings.

    The columns decide the schema: `ultrafeedback`, `ultrafeedback_binarized`, `helpsteer3`, `helpsteer2_preference`,
    `helpsteer2_ratings`, `nectar`, `rpr`, `explicit` (prompt, chosen, rejected), `hh_rlhf`, `conversations` (Skywork).
    Most give conversations; `PreferenceRow.standard()` converts them to strings.

    Args:
        schema: its name, if the columns do not decide.
        split: one split of a hub name or `DatasetDict`; of a folder, the files with it in their name or folder; of
            records with a column `split`, those with this value. None reads all.
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
    return _read(
        "read_preferences", source, PREFERENCE_SCHEMAS, pairs.check,
        schema=schema, split=split, limit=limit, hub=hub, duplicates=duplicates, **options,
    )  # fmt: skip


def read_ratings(source: Source, **how: Any) -> ReadData[RatedRow]:
    """Read rated answers: HelpSteer2 (0 to 4), UltraFeedback (1 to 5), rows with `ratings`; as `read_preferences`."""
    return _read("read_ratings", source, RATING_SCHEMAS, ratings.check, **how)


def read_outcomes(source: Source, **how: Any) -> ReadData[OutcomeRow]:
    """Read answers that are right or wrong: `prompt`, `completion`, `label` (true or false); as `read_preferences`."""
    return _read("read_outcomes", source, OUTCOME_SCHEMAS, ratings.check_outcome, **how)


def read_steps(source: Source, **how: Any) -> ReadData[StepRow]:
    """Read labeled steps: PRM800K, Math-Shepherd, or TRL's `prompt`, `completions`, `labels`; as `read_preferences`.

    Args:
        how: as in `read_preferences`; the options of the schema are `neutral` and `alternatives` (prm800k), `numbered`
            (math_shepherd).
    """
    return _read("read_steps", source, STEP_SCHEMAS, step_labels.check, **how)


def read_benchmark(source: Source, *, duplicates: bool = False, **how: Any) -> ReadData[BenchmarkRow]:
    """Read benchmark items; as `read_preferences`.

    The columns decide the schema: `rewardbench`, `rewardbench2`, `rm_bench`, `reward_math`, `judge_bench`,
    `ppe_preference`, `ppe_correctness`, `process_bench`.
    """
    return _read("read_benchmark", source, BENCHMARK_SCHEMAS, benchmarks.check, duplicates=duplicates, **how)


def _read(
    caller: str,
    source: Source,
    schemas: Sequence[Schema[R]],
    check: Callable[[R], None],
    *,
    name: str | None = None,
    schema: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    hub: Mapping[str, Any] | None = None,
    duplicates: bool = True,
    **options: Any,
) -> ReadData[R]:
    """Read up to `limit` records by the schema that fits them, and drop rows that `check` refuses."""
    name = name or name_of(source)
    given = islice(records_of(caller, source, split=split, hub=hub), limit)
    tried = list(islice(given, TRIED))
    if not tried:
        raise RowsError(f"{caller}: there are no records. Check the file, the split and the limit.")
    for record in tried:
        if not isinstance(record, Mapping):
            raise RowsError(
                f"{caller}: a record is a {type(record).__name__}. Each must be an object with named columns."
            )
    chosen = choose(caller, schemas, schema, tried)
    chosen.check_options(caller, options)
    reading: Reading[R] = Reading()
    units: Iterator[Any] = reading.of_split(chain(tried, given), split)
    if chosen.scattered:
        groups = dict[str, list[Any]]()
        for record in units:
            groups.setdefault(str(record.get(chosen.joined)), []).append(record)
        units = iter(groups.values())
    elif chosen.joined is not None:
        units = (list(group) for _, group in groupby(units, key=lambda record: record.get(chosen.joined)))
    for unit in units:
        try:
            rows = list(chosen.parse(unit, **options))
        except Exception as reason:  # a value may be anything, and fail in any way
            reading.drop(reason)
            continue
        for row in rows:
            try:
                if not is_filled(row.prompt):
                    raise Broken("no prompt")
                check(row)
            except Exception as reason:
                reading.drop(reason)
            else:
                reading.rows.append(row)
    reading.refuse_if_broken(caller, name, chosen.name)
    card = data_card(
        reading.rows, name=name, schema=chosen.name, n_records=reading.n_records, dropped=reading.dropped,
        first_dropped=reading.first, duplicates=duplicates,
    )  # fmt: skip
    return ReadData(reading.rows, card)


class Given(NamedTuple):
    """Rows of one kind, and one sentence on the records left out, empty if there are none."""

    rows: list[Row] | list[PreferenceRow]
    note: str


PAIR_COLUMNS = ("chosen", "rejected")


def read_rows_or_pairs(source: Rows, *, limit: int | None = None, **reading: Unpack[ReadOptions]) -> Given:
    """Read preference pairs if the columns are those of pairs, else rows, as an audit needs them.

    Pairs are read as by `read_preferences`, from a file, a folder, a hub name or an iterable of mappings. Records with
    a column `chosen` or `rejected` are always read as pairs, unless an answer's or completion's column is named.

    Args:
        limit: read at most this many records.
        reading: as in `read_rows`; of pairs, `prompt_column` names the prompt's column too.

    Raises:
        RowsError: as `read_preferences` or `read_rows`, or one source has records of both kinds.
    """
    name, records = name_of(source), selected("read_rows", source, reading)
    tried = list(islice(records, TRIED if limit is None else min(limit, TRIED)))
    everything: Iterator[Any] = islice(chain(tried, records), limit)
    objects = [record for record in tried if isinstance(record, Mapping)]
    are_rows = reading.get("answer_column") is not None or reading.get("completion_column") is not None
    has_pairs = any(column in record for record in objects for column in PAIR_COLUMNS)
    if not are_rows and (
        has_pairs or any(schema.fits(record) for record in objects[:1] for schema in PREFERENCE_SCHEMAS)
    ):
        if (column := reading.get("prompt_column")) is not None:
            everything = ({**record, "prompt": value_at(record, column)} for record in everything)
        read = _read("read_preferences", everything, PREFERENCE_SCHEMAS, pairs.check, name=name, duplicates=False)
        lost = listed(Counter(read.card.dropped), read.card.first_dropped)
        note = f"{sum(read.card.dropped.values())} of {read.card.n_records} records of {name} are left out: {lost}."
        return Given(read.rows, note if lost else "")
    rows = rows_of(everything, name, reading)
    mixed = next((n for n, row in enumerate(rows, start=1) if set(PAIR_COLUMNS) & set(row.columns)), None)
    if mixed is not None and not are_rows:
        raise RowsError(
            f"read_rows: row {mixed} of {name} has a column `chosen` or `rejected`, but row 1 has not. "
            "Put pairs and other rows into separate files."
        )
    return Given(rows, "")
