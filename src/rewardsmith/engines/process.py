"""Steps for process rewards in every engine: cut the completions, read the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewardsmith.data.steps import StepTable

Segment = Callable[..., StepTable]
"""`data.segment_steps`, or a function with the same signature: (completion_ids, decode, *, complete)."""


def cut(
    segment: Segment,
    completion_ids: Sequence[Sequence[int]],
    decode: Callable[[list[int]], str],
    *,
    complete: Sequence[bool],
) -> StepTable:
    """Cut completions into steps; the last step includes the end-of-sequence token, so that stopping is credited.

    Args:
        complete: per completion, False where it was cut off; the text after its last separator is then no step.
    """
    table = segment(completion_ids, decode, complete=complete)
    widths = {len(row) for rows in (table.step_mask, table.step_ends) for row in rows}
    n_rows = len(completion_ids)
    fits = len(widths) <= 1 and len(table.steps) == len(table.step_mask) == len(table.step_ends) == n_rows
    for texts, mask, last, ids in zip(table.steps, table.step_mask, table.step_ends, completion_ids, strict=False):
        within = all(0 <= end < len(ids) for end, there in zip(last, mask, strict=False) if there)
        fits = fits and sum(mask) == len(texts) and within
    if not fits:
        raise ValueError(
            f"segment: {segment!r} returned steps, ends and a mask that do not fit {n_rows} completions. "
            "Return a data.StepTable: a list of texts per row, and (B, N) ends within the row and mask to match."
        )
    ends = [list(row) for row in table.step_ends]
    for row, (ids, whole, mask) in enumerate(zip(completion_ids, complete, table.step_mask, strict=True)):
        if whole and any(mask):
            ends[row][max(step for step, there in enumerate(mask) if there)] = len(ids) - 1
    return table._replace(step_ends=ends)


def flat_scores(name: str, result: Any, steps: list[list[str]]) -> list[float]:
    """Return the scores of all steps, row after row, NaN where unscored; raise unless their shape is the steps'."""
    rows = _listed(result)
    if rows is None or len(rows) != len(steps):
        got = type(result).__name__ if rows is None else f"{len(rows)} rows"
        raise ValueError(
            f"process_rewards: {name} returned {got} for {len(steps)} completions. "
            "Return one list of scores per completion, or None in its place."
        )
    flat: list[float] = []
    for row, texts in zip(rows, steps, strict=True):
        scores = [None] * len(texts) if row is None else _listed(row)
        if scores is None or len(scores) != len(texts):
            got = type(row).__name__ if scores is None else f"{len(scores)} scores"
            raise ValueError(
                f"process_rewards: {name} returned {got} for a completion of {len(texts)} steps. "
                "Return one number or None per step of `steps`, in order."
            )
        for score in scores:
            number = float("nan") if score is None else score.item() if hasattr(score, "item") else score
            if not isinstance(number, int | float):
                raise TypeError(
                    f"process_rewards: {name} scored a step {number!r}, a {type(number).__name__}. "
                    "Return a number or None."
                )
            flat.append(float(number))
    return flat


def _listed(values: Any) -> list[Any] | None:
    """Return `values` as a list, also from a tensor or array; None where it is no sequence."""
    values = values.tolist() if hasattr(values, "tolist") else values
    return list(values) if isinstance(values, list | tuple) else None
