"""Read rated answers, from the public data sets, and answers that are right or wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewardsmith.data.preferences import OutcomeRow, RatedRow
from rewardsmith.data.readers.conversations import aspects, is_filled, marked, messages, numbers, source_of
from rewardsmith.data.readers.pairs import HELPSTEER
from rewardsmith.data.readers.schema import Broken, Drop, Schema
from rewardsmith.data.rows import as_messages


def helpsteer2_ratings(record: Mapping[str, Any]) -> list[RatedRow]:
    """Read nvidia/HelpSteer2: `prompt`, `response` and five attributes rated from 0 to 4."""
    ratings = numbers({name: record.get(name) for name in HELPSTEER})
    return [RatedRow(marked(record["prompt"]), as_messages(record["response"]), ratings, split=record.get("split"))]


def ultrafeedback_ratings(record: Mapping[str, Any]) -> list[RatedRow]:
    """Read openbmb/UltraFeedback: every completion with the `Rating` of each aspect, 1 to 5; "N/A" is missing."""
    prompt, source = as_messages(record["instruction"], "user"), source_of(record)
    return [RatedRow(prompt, as_messages(c["response"]), aspects(c), source=source) for c in record["completions"]]


def rated(record: Mapping[str, Any]) -> list[RatedRow]:
    """Read our own format: `prompt` and `completion`, both strings or both messages, and a mapping `ratings`."""
    prompt, completion = (v if isinstance(v, str) else messages(v) for v in (record["prompt"], record["completion"]))
    ratings = numbers(record["ratings"])
    return [RatedRow(prompt, completion, ratings, source=source_of(record), split=record.get("split"))]


def check(row: RatedRow) -> None:
    """Drop a row with an empty answer."""
    if not is_filled(row.completion):
        raise Broken("an empty answer")
    if not row.ratings:
        raise Drop("no rating")


RATING_SCHEMAS: tuple[Schema[RatedRow], ...] = (
    Schema("rated", frozenset({"prompt", "completion", "ratings"}), rated),
    Schema("helpsteer2", frozenset({"prompt", "response", "helpfulness"}), helpsteer2_ratings),
    Schema("ultrafeedback", frozenset({"instruction", "completions"}), ultrafeedback_ratings),
)


def outcomes(record: Mapping[str, Any]) -> list[OutcomeRow]:
    """Read TRL's unpaired format: `prompt` and `completion`, both strings or both messages, and a `label`."""
    prompt, completion = (v if isinstance(v, str) else messages(v) for v in (record["prompt"], record["completion"]))
    if (label := record["label"]) not in (0, 1):
        raise Drop("no label") if label is None else Broken(f"label {label!r} is not true, false, 0 or 1"[:120])
    return [OutcomeRow(prompt, completion, bool(label), source=source_of(record), split=record.get("split"))]


def check_outcome(row: OutcomeRow) -> None:
    """Drop a row with an empty answer."""
    if not is_filled(row.completion):
        raise Broken("an empty answer")


OUTCOME_SCHEMAS = (Schema("outcomes", frozenset({"prompt", "completion", "label"}), outcomes),)
