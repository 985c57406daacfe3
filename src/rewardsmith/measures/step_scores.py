"""Measure how well step scores choose among solutions and find the first wrong step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_choice, check_same_shape
from rewardsmith.measures.labels import first_below, first_error_f1, first_wrong

StepTotal = Literal["min", "prod", "last", "mean", "sum", "max", "geometric_mean", "mean_logit", "mean_odds"]
PROBABILITIES = ("prod", "geometric_mean", "mean_logit", "mean_odds")
CLIP = 1e-6


def _odds(score: float) -> float:
    """Return p / (1 − p) of a probability that is kept off 0 and 1, where odds and logits are infinite."""
    kept = min(max(score, CLIP), 1 - CLIP)
    return kept / (1 - kept)


TOTALS: Mapping[StepTotal, Callable[[Sequence[float]], float]] = {
    "min": min,
    "prod": math.prod,
    "last": lambda scores: scores[-1],
    "mean": fmean,
    "sum": math.fsum,
    "max": max,
    "geometric_mean": lambda scores: math.exp(fmean(map(math.log, scores))) if min(scores) > 0 else 0.0,
    "mean_logit": lambda scores: 1 / (1 + math.exp(-fmean(math.log(_odds(score)) for score in scores))),
    "mean_odds": lambda scores: fmean(map(_odds, scores)),
}


def solution_score(scores: Sequence[float | None] | None, how: StepTotal) -> float | None:
    """Aggregate a solution's step scores; None without steps or with an unscored one.

        min_k s_k,   Π_k s_k,   s_N,   mean_k s_k,   Σ_k s_k,   max_k s_k
        "geometric_mean": (Π_k s_k)^(1/N),   "mean_logit": σ( mean_k log o_k ),   "mean_odds": mean_k o_k
            o_k = s_k / (1 − s_k),   s_k clipped to [1e-6, 1 − 1e-6]

    Lightman et al. 2023, arXiv:2305.20050 (prod); Wang et al. 2023, arXiv:2312.08935 (min); Kim et al. 2024,
    arXiv:2410.01729 (all but sum). `prod` falls with every step and `sum` rises, so both also rank by length; the
    geometric mean does not. As rewards in `best_of_n_curve` they show the quality of the
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
    if how in PROBABILITIES and not all(0 <= score <= 1 for score in known):
        raise ValueError(
            f"solution_score: a step score is {min(known)} or {max(known)}, and {how} wants probabilities. "
            'Pass scores in [0, 1], or how="min".'
        )
    return TOTALS[how](known)


def aggregate_steps(
    step_scores: ArrayLike, mask: ArrayLike | None = None, how: StepTotal = "geometric_mean"
) -> NDArray[np.float64]:
    """Aggregate padded step scores, one number per solution (`solution_score` on arrays).

    A solution without steps, or with an unscored one, is NaN: it has no score, which `best_of_n_curve` never picks and
    `mrr(missing="worst")` ranks last. The official code of RewardMATH gives it ½, so that a policy may gain from steps
    that cannot be parsed.

    Args:
        step_scores: (B, N); NaN where a step is unscored.
        mask: (B, N), True where there is a step; all if None.
        how: as in `solution_score`.

    Returns:
        (B,) float64.

    >>> aggregate_steps([[0.9, 0.4], [0.5, 0.0]], [[True, True], [True, False]]).round(3).tolist()
    [0.6, 0.5]
    """
    table = np.array(step_scores, dtype=np.float64)
    present = np.ones(table.shape, dtype=np.bool_) if mask is None else np.asarray(mask, dtype=np.bool_)
    check_same_shape("aggregate_steps", table, present)
    if table.ndim != 2:
        raise ValueError(f"aggregate_steps: step_scores have shape {table.shape}. Pass (solutions, steps), padded.")
    totals = [solution_score(row[there].tolist(), how) for row, there in zip(table, present, strict=True)]
    return np.array(totals, dtype=np.float64)


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
