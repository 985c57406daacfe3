"""What a journal's records hold: how many rows are sent, and later their results by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rewardsmith.scoring.work import Scored


class Recorded(NamedTuple):
    """The results under one key: one row's, or a whole call's."""

    results: list[Scored]
    microseconds: int


def sent(n_rows: int, *, first: bool) -> dict[str, Any]:
    """The record of rows that are about to be sent; `first` of a run."""
    return {"sent": n_rows, "first": first}


def under_way(records: Iterable[Mapping[str, Any]]) -> int:
    """How many rows the last run had sent and got no result for.

    >>> under_way([sent(2, first=True), sent(3, first=False), {"results": [0, 0]}])
    3
    """
    count = 0
    for record in records:
        count = (0 if record.get("first") else count) + record.get("sent", 0) - len(record.get("results", ()))
    return max(count, 0)


def recorded(record: Mapping[str, Any]) -> dict[str, Recorded]:
    """The results that a record holds, by key."""
    if "sent" in record:
        return {}
    each = record["seconds"]
    results = [Scored(*got) if isinstance(got, list) else Scored(got, None, "", each) for got in record["results"]]
    if record["whole"]:
        return {record["keys"][0]: Recorded(results, record["microseconds"])}
    # Integer shares that add up again, so that a resumed job's total is the same to the last digit.
    share, left = divmod(record["microseconds"], len(results))
    pairs = enumerate(zip(record["keys"], results, strict=True))
    return {key: Recorded([result], share + (position < left)) for position, (key, result) in pairs}


def record_of(keys: list[str], results: list[Scored], *, whole: bool, microseconds: int) -> dict[str, Any]:
    """The record of the results under some keys: each is its number alone where nothing else tells it from others."""
    plain = (None, "", results[0].seconds, False, False)
    fields = [result.reward if result[1:] == plain else result for result in results]
    return {"keys": keys, "whole": whole, "microseconds": microseconds, "seconds": plain[2], "results": fields}
