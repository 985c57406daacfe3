"""Measure how well step scores choose among solutions and find the first wrong step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, get_args

from rewardsmith._check import check_choice
from rewardsmith.measures.labels import first_below, first_error_f1, first_wrong

StepTotal = Literal["min", "prod", "last", "mean", "sum", "max"]
TOTALS: Mapping[StepTotal, Callable[[Sequence[float]], float]] = {
    "min": min,
    "prod": math.prod,
    "last": lambda scores: scores[-1],
    "mean": fmean,
    "sum": math.fsum,
    "max": max,
}


def solution_score(scores: Sequence[float | None] | None, how: StepTotal) -> float | None:
    """Aggregate a solution's step scores; None without steps or with an unscored one.

        min_k s_k,   Π_k s_k,   s_N,   mean_k s_k,   Σ_k s_k,   max_k s_k

    Lightman et al. 2023, arXiv:2305.20050 (prod); Wang et al. 2023, arXiv:2312.08935 (min). `prod` falls with every
    step and `sum` rises, so both also rank by length. As rewards in `best_of_n_curve` they show the quality of the
    solution that a process reward picks among n.

    >>> solution_score([0.9, 0.5], "prod"), solution_score([0.9, None], "min"), solution_score([], "last")
    (0.45, None, None)
    """
    check_choice("solution_score", "how", how, get_args(StepTotal))
    if not scores:
        return None
    known = [float(score) for score in scores if score is not None and not math.isnan(score)]
    if len(known) < len(scores):
        return None
    if how == "prod" and not all(0 <= score <= 1 for score in known):
        raise ValueError(
            f"solution_score: a step score is {min(known)} or {max(known)}, and a product wants probabilities. "
            'Pass scores in [0, 1], or how="min".'
        )
    return TOTALS[how](known)


def step_metrics(
    step_scores: Sequence[Sequence[float | None] | None], labels: Sequence[Sequence[Any]], *, threshold: float = 0.5
) -> dict[str, float]:
    """Return figures of a process reward on labeled steps, as `metrics` of `engines.trl.StepRewardTrainer`.

    Keys are `first_error_f1`, `first_error_on_erroneous` and `first_error_on_correct`, as in `first_error_f1`. A step
    is wrong below `threshold`; a soft label counts as right above ½.

    >>> step_metrics([[0.9, 0.1], [0.8]], [[1, 0], [1]])["first_error_f1"]
    1.0
    """
    predicted = [None if scores is None else first_below(scores, threshold) for scores in step_scores]
    found = first_error_f1(predicted, [first_wrong(row) for row in labels])
    figures = {
        "first_error_f1": found.f1,
        "first_error_on_erroneous": found.on_erroneous,
        "first_error_on_correct": found.on_correct,
    }
    return {name: value for name, value in figures.items() if not math.isnan(value)}
