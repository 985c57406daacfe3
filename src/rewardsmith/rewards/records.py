"""What a journal's records hold: the results of a batch, by the keys of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rewardsmith.rewards.work import Scored


class Recorded(NamedTuple):
    """The results under one key: one row's, or a whole call's."""

    results: list[Scored]
    microseconds: int


def recorded(record: Mapping[str, Any]) -> dict[str, Recorded]:
    """What a record holds, by key."""
    results = [Scored(*fields) for fields in record["results"]]
    if record["whole"]:
        return {record["keys"][0]: Recorded(results, record["microseconds"])}
    # Integer shares that add up again, so that a resumed job's total is the same to the last digit.
    share, left = divmod(record["microseconds"], len(results))
    pairs = enumerate(zip(record["keys"], results, strict=True))
    return {key: Recorded([result], share + (position < left)) for position, (key, result) in pairs}


def fields_of(result: Scored) -> list[Any]:
    """A result as JSON; the rare fields only where they are set."""
    fields = [result.reward, result.reason, result.detail, result.seconds, result.mutated, result.split]
    return fields if result.mutated or result.split else fields[:4]
