"""From a score per completion to a credit per item, and from credits to subsets, sections and a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard, TypeVar

from rewardsmith.auditing.benchmarks.result import SubsetScore
from rewardsmith.data import BenchmarkRow
from rewardsmith.measures.intervals import share_right

T = TypeVar("T")
Rows = Sequence[BenchmarkRow]
Scores = Sequence[Sequence[float | None]]
"""Per item one score per completion, the chosen ones first, in the order of the item; None or NaN: unscored."""


def credits_of(
    caller: str, rows: Rows, scores: Scores, credit: Callable[[list[float], list[float]], T]
) -> list[T | None]:
    """Per item what `credit` makes of the scores of its chosen and of its rejected completions; None if one lacks.

    Raises:
        ValueError: in `caller`'s name, where there is not one score for every completion.
    """
    if len(rows) != len(scores):
        raise ValueError(f"{caller}: got {len(rows)} items, {len(scores)} lists of scores. Pass one list per item.")
    found: list[T | None] = []
    for place, (row, given) in enumerate(zip(rows, scores, strict=True)):
        n_chosen, n_all = len(row.chosen), len(row.chosen) + len(row.rejected)
        if len(given) != n_all:
            raise ValueError(
                f"{caller}: {name_of(rows, place)} has {n_all} completions and {len(given)} scores. "
                "Pass one score per completion, the chosen ones first; None where there is none."
            )
        known = [float(score) for score in given if is_scored(score)]
        found.append(credit(known[:n_chosen], known[n_chosen:]) if len(known) == n_all else None)
    return found


def is_scored(score: float | None) -> TypeGuard[float]:
    """Whether there is a score, and one that can be compared."""
    return score is not None and math.isfinite(score)


def name_of(rows: Rows, place: int) -> str:
    """An item as results name it: its subset, and its id or else its place."""
    row = rows[place]
    return f"{row.subset}/{place if row.item_id is None else row.item_id}"


def unscored_names(rows: Rows, credits: Sequence[object | None]) -> tuple[str, ...]:
    """The items without a credit."""
    return tuple(name_of(rows, place) for place, credit in enumerate(credits) if credit is None)


def by_subset(rows: Rows, credits: Sequence[float | None], *, alpha: float) -> dict[str, SubsetScore]:
    """Per subset the mean credit; credits lie in [0, 1], where Wilson's interval of a share is at least wide enough."""
    scores = {}
    for subset in dict.fromkeys(row.subset for row in rows):
        own = [(credit, row.key) for row, credit in zip(rows, credits, strict=True) if row.subset == subset]
        share = share_right([credit for credit, _ in own], [key for _, key in own], alpha=alpha)
        scores[subset] = SubsetScore(*share, n_unscored=sum(credit is None for credit, _ in own))
    return scores


def weighted_mean(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Σ w x / Σ w over the names that have a value that is not NaN; NaN without any."""
    known = {name: weight for name, weight in weights.items() if not math.isnan(values.get(name, math.nan))}
    total = sum(known.values())
    return sum(values[name] * weight for name, weight in known.items()) / total if total else math.nan


def complete_mean(values: Mapping[str, float]) -> float:
    """The mean of all values; NaN where one is."""
    return sum(values.values()) / len(values)
