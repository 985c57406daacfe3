"""Schemas of published data sets: the columns that identify one, and how to read its records."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from rewardsmith._check import check_choice
from rewardsmith.errors import RowsError

R = TypeVar("R")
Record = Mapping[str, Any]


class Drop(Exception):  # noqa: N818 — a verdict on one record, never seen by a caller
    """Raised for a record that gives no row; the reason goes into the data card."""


class Broken(Drop):
    """Raised for a broken record, such as one with a null answer: more than a few of them are an error."""


MOST_BROKEN = 0.1
"""The share of broken records above which a data set is refused."""
TRIED = 200
"""The number of first records among which one must fit a schema."""


@dataclass(frozen=True)
class Schema(Generic[R]):
    """The format of one data set.

    columns: a record with all of them is of this schema.
    parse: a record to its rows, or `Drop`; if `joined` names a column, a list of consecutive records with equal values
        there. Its keyword-only parameters are the schema's options.
    scattered: join the records of equal values wherever they stand.
    test: a further test against other schemas with the same columns.
    """

    name: str
    columns: frozenset[str]
    parse: Callable[..., Iterable[R]]
    joined: str | None = None
    scattered: bool = False
    test: Callable[[Record], bool] | None = None

    def fits(self, record: Record) -> bool:
        """Return whether the record has the schema's columns, with values of its kind."""
        try:
            return self.has_columns(record) and (self.test is None or self.test(record))
        except Exception:  # a test reads values, which may be anything
            return False

    def has_columns(self, record: Record) -> bool:
        """Return whether the record has the schema's columns, with any values."""
        return self.columns <= set(record)

    def check_options(self, caller: str, options: Mapping[str, Any]) -> None:
        """Raise ValueError for an unknown option of the schema, or an unknown value of it."""
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
    """The result of reading: the rows, the number of records, and the reasons for records without a row.

    broken: the part of `dropped` that is due to broken records. first: reason → number of its first record.
        n_elsewhere: records of another split.
    """

    rows: list[R] = field(default_factory=list)
    n_records: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    n_elsewhere: int = 0

    def of_split(self, records: Iterable[Record], split: str | None) -> Iterator[Record]:
        """Yield and count the records of this split, or of no stated split."""
        for record in records:
            self.n_records += 1
            if not isinstance(record, Mapping):
                self.drop(Broken(f"a record is a {type(record).__name__}"))
                continue
            named = record.get("split")
            if split is None or named is None or named == split:
                yield record
            else:
                self.n_elsewhere += 1
                self.drop(Drop(f"of split {named}"))

    def drop(self, reason: Exception) -> None:
        """Count a record or a row that is left out."""
        unforeseen = not isinstance(reason, Drop)
        why = f"unreadable: {type(reason).__name__} {reason}"[:120] if unforeseen else str(reason)
        if isinstance(reason, KeyError):
            why = f"`{reason.args[0]}` is missing"[:120]
        self.dropped[why] += 1
        self.first.setdefault(why, self.n_records)
        if unforeseen or isinstance(reason, Broken):
            self.broken[why] += 1

    def refuse_if_broken(self, caller: str, name: str, schema: str) -> None:
        """Raise RowsError where nothing was read, or too many records are broken."""
        n, counted = self.broken.total(), self.broken if self.broken else self.dropped
        n_read = self.n_records - self.n_elsewhere
        reasons = listed(counted, self.first)
        if not self.rows:
            raise RowsError(
                f"{caller}: none of {self.n_records} records of {name} gives a row as {schema} ({reasons}). "
                "Check the schema and the split."
            )
        if n > MOST_BROKEN * n_read:
            raise RowsError(
                f"{caller}: {n} of {n_read} records of {name} are broken as {schema} ({reasons}). More than "
                f"{MOST_BROKEN:.0%} is too many. Repair or remove them."
            )


def listed(counted: Counter[str], first: Mapping[str, int]) -> str:
    """Return the most common reasons, with the first record of each.

    >>> listed(Counter({"no prompt": 2}), {"no prompt": 7})
    '2 × no prompt, first in record 7'
    """
    return "; ".join(f"{times} × {why}, first in record {first[why]}" for why, times in counted.most_common(3))


def choose(caller: str, schemas: Sequence[Schema[R]], name: str | None, records: Sequence[Record]) -> Schema[R]:
    """Return the schema called `name`, else the first one that a record fits, if need be by columns alone."""
    by_name = {schema.name: schema for schema in schemas}
    if name is not None:
        if name not in by_name:
            raise ValueError(f"{caller}: schema {name!r} is none of {', '.join(by_name)}. Choose one of those.")
        return by_name[name]
    for fits in (Schema.fits, Schema.has_columns):
        for record in records:
            for schema in schemas:
                if fits(schema, record):
                    return schema
    raise RowsError(
        f"{caller}: columns {', '.join(map(str, records[0])) or 'none'} fit none of the schemas {', '.join(by_name)}. "
        "Rename them to one of these, or name the schema."
    )
