"""Rated answers out of the public sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewardsmith.data.preferences import RatedRow
from rewardsmith.data.readers.conversations import asked, marked, messages, number, said, says, source_of
from rewardsmith.data.readers.pairs import HELPSTEER
from rewardsmith.data.readers.schema import Broken, Drop, Schema
from rewardsmith.types import Text


def helpsteer2_ratings(record: Mapping[str, Any]) -> list[RatedRow]:
    """nvidia/HelpSteer2: `prompt`, `response` and five attributes rated from 0 to 4."""
    ratings = {name: value for name in HELPSTEER if (value := number(record.get(name))) is not None}
    return [RatedRow(marked(record["prompt"]), said(record["response"]), ratings, split=record.get("split"))]


def ultrafeedback_ratings(record: Mapping[str, Any]) -> list[RatedRow]:
    """openbmb/UltraFeedback: every completion with the `Rating` of each aspect, 1 to 5; "N/A" is missing."""
    rows = []
    for completion in record["completions"]:
        aspects = (completion.get("annotations") or {}).items()
        named = {name: number(value.get("Rating")) for name, value in aspects if isinstance(value, Mapping)}
        ratings = {name: value for name, value in named.items() if value is not None}
        rows.append(
            RatedRow(asked(record["instruction"]), said(completion["response"]), ratings, source=source_of(record))
        )
    return rows


def rated(record: Mapping[str, Any]) -> list[RatedRow]:
    """Our own form: `prompt`, `completion`, both strings or both messages, and `ratings`, a mapping of numbers."""
    prompt, completion = _text(record["prompt"]), _text(record["completion"])
    named = {name: number(value) for name, value in record["ratings"].items()}
    ratings = {name: value for name, value in named.items() if value is not None}
    return [RatedRow(prompt, completion, ratings, source=source_of(record), split=record.get("split"))]


def _text(value: Any) -> Text:
    return value if isinstance(value, str) else messages(value)


def checked(row: RatedRow) -> RatedRow:
    """The row, unless it says nothing."""
    if not says(row.prompt):
        raise Broken("no prompt")
    if not says(row.completion):
        raise Broken("an empty answer")
    if not row.ratings:
        raise Drop("no rating")
    return row


RATING_SCHEMAS: tuple[Schema[RatedRow], ...] = (
    Schema("rated", frozenset({"prompt", "completion", "ratings"}), (), rated),
    Schema("helpsteer2", frozenset({"prompt", "response", "helpfulness"}), ("nvidia/HelpSteer2",), helpsteer2_ratings),
    Schema("ultrafeedback", frozenset({"instruction", "completions"}), ("openbmb/UltraFeedback",),
           ultrafeedback_ratings),
)  # fmt: skip
