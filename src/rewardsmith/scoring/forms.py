"""The form rows are given in: messages or strings, whichever the reward can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from rewardsmith.data import Row
from rewardsmith.data.rows import has_text

if TYPE_CHECKING:
    from rewardsmith.scoring.scorer import Scorer


class Formed(NamedTuple):
    """Rows in the form that a reward can read, which form that is, and why the other was left."""

    rows: list[Row]
    form: Literal["as given", "conversational", "standard"]
    detail: str


def resolve_form(scorer: Scorer, rows: Sequence[Row], *, n: int = 4) -> Formed:
    """The rows in a form that the reward can read: as given, or, where every trial call raises, the other one.

    Published TRL rewards often index `completion[0]["content"]`, which only conversational rows have. The first `n`
    rows are tried, each with its completion or, where it has none, its answer. Row contracts get plain text anyway.
    """
    given = list(rows)
    if scorer.target.contract != "trl" or not given:
        return Formed(given, "as given", "")
    tried = [row for row in given if row.completion is None or has_text(row.completion)][:n]
    problem = _trouble(scorer, tried)
    if not problem:
        return Formed(given, "as given", "")
    turned = [_turned(row) for row in given]
    if _trouble(scorer, [_turned(row) for row in tried]):
        return Formed(given, "as given", f"every form fails: {problem}")
    form: Literal["conversational", "standard"] = "conversational" if isinstance(given[0].prompt, str) else "standard"
    return Formed(turned, form, f"the rows' own form fails: {problem}")


def _trouble(scorer: Scorer, rows: Sequence[Row]) -> str:
    tried = [row if row.completion is not None else row.with_completion(row.answer or "") for row in rows]
    results = scorer.score(tried, nonce="form", batch_size=1)
    return results[0].detail if results and all(result.reason == "exception" for result in results) else ""


def _turned(row: Row) -> Row:
    if isinstance(row.prompt, str):
        return row.conversational()
    return replace(row, prompt=row.prompt_text, completion=row.text if has_text(row.completion) else None)
