"""How a published data set is read: which columns tell it apart, and what one of its records holds."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from rewardsmith._check import check_choice
from rewardsmith.errors import RowsError

R = TypeVar("R")
Record = Mapping[str, Any]


class Drop(Exception):  # noqa: N818 — a verdict on one record, never seen by a caller
    """Raised while a record is read that yields no row; the reason goes into the data card."""


@dataclass(frozen=True)
class Schema(Generic[R]):
    """One data set's form.

    columns: a record that has them all is taken for this schema.
    hub: where such data sets are published.
    parse: a record to its rows, or `Drop`; where `joined` names a column, a list of consecutive records that agree in
        it. Its keyword-only parameters are the schema's options.
    test: what else tells its records from those of another schema with the same columns.
    """

    name: str
    columns: frozenset[str]
    hub: tuple[str, ...]
    parse: Callable[..., Iterable[R]]
    joined: str | None = None
    test: Callable[[Record], bool] | None = None

    def fits(self, record: Record) -> bool:
        """Whether the record has the schema's columns, with values of its kind."""
        return self.columns <= set(record) and (self.test is None or self.test(record))

    def check_options(self, caller: str, options: Mapping[str, Any]) -> None:
        """Raise ValueError where the schema has no such option, or not that choice."""
        parameters = inspect.signature(self.parse).parameters.values()
        known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ValueError(
                f"{caller}: schema {self.name} has no option {', '.join(unknown)}. It has {', '.join(known) or 'none'}."
            )
        kinds = get_type_hints(self.parse)
        for name, value in options.items():
            if get_origin(kinds[name]) is Literal:
                check_choice(caller, name, value, get_args(kinds[name]))


@dataclass
class Reading(Generic[R]):
    """What came of it: the rows, how many records were read, and why some yielded none."""

    rows: list[R]
    n_records: int
    dropped: Counter[str]


def choose(caller: str, schemas: Sequence[Schema[R]], name: str | None, first: Record) -> Schema[R]:
    """The schema called `name`, or the first whose columns the record has."""
    by_name = {schema.name: schema for schema in schemas}
    if name is not None:
        if name not in by_name:
            raise ValueError(f"{caller}: schema {name!r} is none of {', '.join(by_name)}. Choose one of those.")
        return by_name[name]
    for schema in schemas:
        if schema.fits(first):
            return schema
    raise RowsError(
        f"{caller}: columns {', '.join(map(str, first)) or 'none'} fit none of the schemas {', '.join(by_name)}. "
        "Rename them to one of these, or name the schema."
    )


def read(
    caller: str,
    schemas: Sequence[Schema[R]],
    records: Iterable[Record],
    *,
    schema: str | None,
    split: str | None,
    limit: int | None,
    options: Mapping[str, Any],
    check: Callable[[R], R],
) -> tuple[Schema[R], Reading[R]]:
    """Read up to `limit` records by the schema that fits them; `check` may drop a row, too."""
    given = iter(records if limit is None else islice(records, limit))
    first = next(given, None)
    if first is None:
        raise RowsError(f"{caller}: there are no records. Check the file, the split and the limit.")
    if not isinstance(first, Mapping):
        raise RowsError(f"{caller}: a record is a {type(first).__name__}. Each must be an object with named columns.")
    chosen = choose(caller, schemas, schema, first)
    chosen.check_options(caller, options)
    reading: Reading[R] = Reading([], 0, Counter())
    for unit in _units(chosen, _of_split(_chained(first, given), split, reading)):
        try:
            reading.rows.extend(_checked(chosen.parse(unit, **options), check, reading.dropped))
        except Drop as reason:
            reading.dropped[str(reason)] += 1
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            reading.dropped[f"unreadable: {type(error).__name__} {error}"[:120]] += 1
    return chosen, reading


def _chained(first: Record, rest: Iterator[Record]) -> Iterator[Record]:
    yield first
    yield from rest


def _of_split(records: Iterator[Record], split: str | None, reading: Reading[R]) -> Iterator[Record]:
    """Records that name no split or this one."""
    for record in records:
        reading.n_records += 1
        named = record.get("split")
        if split is None or named is None or named == split:
            yield record
        else:
            reading.dropped[f"of split {named}"] += 1


def _units(schema: Schema[R], records: Iterator[Record]) -> Iterator[Any]:
    if schema.joined is None:
        yield from records
    else:
        column = schema.joined
        for _, group in groupby(records, key=lambda record: record.get(column)):
            yield list(group)


def _checked(rows: Iterable[R], check: Callable[[R], R], dropped: Counter[str]) -> Iterator[R]:
    for row in rows:
        try:
            yield check(row)
        except Drop as reason:
            dropped[str(reason)] += 1
