"""RewardMATH: one right solution must score above nine wrong ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from rewardsmith.benchmarks.result import (
    BenchmarkScore,
    Rows,
    Scores,
    by_subset,
    complete_mean,
    credits_of,
    name_of,
    unscored_names,
)
from rewardsmith.measures import mrr, one_to_many_accuracy
from rewardsmith.measures.intervals import mean_or_nan


def reward_math(rows: Rows, scores: Scores, *, ratings: bool = False, alpha: float = 0.05) -> BenchmarkScore:
    """Score RewardMATH: the share of problems whose right solution scores above all nine wrong ones.

    Kim et al. 2024, arXiv:2410.01729. A tie is wrong; `parts` has the share with ties as right, and the mean reciprocal
    rank, where a tie counts against the right solution. Chance is 1/10 and .293. Subsets are the subjects.

    Differs: a problem with an unscored solution is left out and named, unless `ratings` (theirs: a rating that cannot
        be read is 1, the lowest, and a comparison that cannot be read is lost).

    Args:
        rows: as `data.read_benchmark` gives them, one chosen solution each.
        scores: per row that of the chosen and those of the rejected solutions; None or NaN where unscored.
        ratings: rank an unscored solution below all others, so that the problem is lost where it is the right one.
        alpha: of the subsets' intervals.

    >>> from rewardsmith.data import BenchmarkRow
    >>> row = BenchmarkRow("1+1?", ["2"], ["3"] * 9, "Algebra", "0")
    >>> found = reward_math([row], [[0.5, 0.9, 0.5] + [0.1] * 7])
    >>> found.overall, round(found.parts["mrr"], 3)  # one is better and one is equal: rank 3
    (0.0, 0.333)
    """
    for place, row in enumerate(rows):
        if len(row.chosen) != 1:
            raise ValueError(
                f"reward_math: {name_of(rows, place)} has {len(row.chosen)} chosen solutions, but one is ranked among "
                "the rejected. Score it by the protocol of the benchmark that it is from."
            )
    how: dict[str, Any] = {"missing": "worst" if ratings else "skip", "alpha": alpha}
    rank = partial(credits_of, "reward_math", rows, scores, keep_unscored=ratings)

    def of(measure: Any, **options: Any) -> list[float | None]:
        return rank(lambda chosen, rejected: measure([[*chosen, *rejected]], **how, **options).value)

    strict = of(one_to_many_accuracy)
    others: Mapping[str, list[float | None]] = {
        "accuracy with ties": of(one_to_many_accuracy, strict=False),
        "mrr": of(mrr),
        "mrr, ties shared": of(mrr, ties="mean"),
    }
    overall = {"accuracy": mean_or_nan([credit for credit in strict if credit is not None])}
    return BenchmarkScore(
        protocol="reward_math",
        overall=complete_mean(overall),
        sections=overall,
        subsets=by_subset(rows, strict, alpha=alpha),
        parts={name: mean_or_nan([c for c in own if c is not None]) for name, own in others.items()},
        missing=() if not math.isnan(overall["accuracy"]) else ("accuracy",),
        unscored=unscored_names(rows, strict),
    )
