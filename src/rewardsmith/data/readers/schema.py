"""How a published data set is read: which columns tell it apart, and what one of its records holds."""

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
    """Raised while a record is read that yields no row; the reason goes into the data card."""


class Broken(Drop):
    """Raised where the record itself is broken, such as a null answer: more than a few are an error, not a choice."""


MOST_BROKEN = 0.1
"""The share of broken records above which a data set is refused."""
TRIED = 200
"""Records among which one that fits a schema is looked for."""


@dataclass(frozen=True)
class Schema(Generic[R]):
    """One data set's form.

    columns: a record that has them all is taken for this schema.
    parse: a record to its rows, or `Drop`; where `joined` names a column, a list of consecutive records that agree in
        it. Its keyword-only parameters are the schema's options.
    test: what else tells its records from those of another schema with the same columns.
    """

    name: str
    columns: frozenset[str]
    parse: Callable[..., Iterable[R]]
    joined: str | None = None
    test: Callable[[Record], bool] | None = None

    def fits(self, record: Record) -> bool:
        """Whether the record has the schema's columns, with values of its kind."""
        try:
            return self.has_columns(record) and (self.test is None or self.test(record))
        except Exception:  # a test looks into values, which may be anything
            return False

    def has_columns(self, record: Record) -> bool:
        """Whether the record has the schema's columns, whatever they hold."""
        return self.columns <= set(record)

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
    """What came of it: the rows, how many records were read, and why some yielded none.

    broken: of `dropped`, those that are no choice of the schema's. first: the number of the first record with each
    reason. n_elsewhere: records of another split.
    """

    rows: list[R] = field(default_factory=list)
    n_records: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    n_elsewhere: int = 0

    def of_split(self, records: Iterable[Record], split: str | None) -> Iterator[Record]:
        """Yield, and count, the records that name no split or this one."""
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
        """Raise RowsError where nothing was read, or too much of it is broken."""
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
                f"{caller}: {n} of {n_read} records of {name} are broken as {schema} ({reasons}); more than "
                f"{MOST_BROKEN:.0%} is too many. Mend them or take them out."
            )


def listed(counted: Counter[str], first: Mapping[str, int]) -> str:
    """The commonest reasons, with the first record of each.

    >>> listed(Counter({"no prompt": 2}), {"no prompt": 7})
    '2 × no prompt, first in record 7'
    """
    return "; ".join(f"{times} × {why}, first in record {first[why]}" for why, times in counted.most_common(3))


def choose(caller: str, schemas: Sequence[Schema[R]], name: str | None, records: Sequence[Record]) -> Schema[R]:
    """The schema called `name`, or the first that one of the records fits, be it by its columns alone."""
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
