"""Fit how gold rises and falls with the divergence from the reference during training, over several seeds."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_choice, check_range, check_same_shape, check_shape
from rewardsmith.measures.intervals import Estimate, jackknife, mean_estimate, student_half

Array = NDArray[np.float64]
Form = Literal["gao", "quadratic", "linear"]


class Law(NamedTuple):
    """A fit of gold's gain against d = √KL.

    coefficients: (a, b), for "linear" (a,); errors: their standard errors; intervals: Student's.
    overoptimizes: whether b's interval lies above 0. If not, no peak was found, and it is NaN.
    peak, peak_interval: d of the law's highest gain; its interval is Fieller's.
    rmse: root mean square error over all points, in units of gold.
    """

    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    overoptimizes: bool
    peak: float
    peak_interval: tuple[float, float]
    rmse: float


def overoptimization_law(d: ArrayLike, gain: ArrayLike, form: Form = "gao", *, alpha: float = 0.05) -> Law:
    """Fit gold's gain against √KL at the checkpoints of several seeds, with seeds as the independent units.

        "gao"        R(d) = d (a − b log d)    highest at d* = exp(a/b − 1)
        "quadratic"  R(d) = d (a − b d)        highest at d* = a / 2b
        "linear"     R(d) = a d

    Gao et al. 2022, arXiv:2210.10760; Rafailov et al. 2024, arXiv:2406.02900, for direct alignment (one fit per loss
    and size, over β and checkpoints). Least squares over all points; checkpoints of one run depend on one another, so
    errors come from leaving out seeds. Compare `rmse` between forms, and with a run on random labels: gold falls there,
    too. `scaling_law` fits best-of-n and RL over prompts.

    Args:
        d: (S, K) √KL of each seed's checkpoints, or (K,) for all; the sum over tokens, not a mean.
        gain: (S, K) gold less the reference's, S ≥ 3; points that are NaN, or with d < 10⁻³, are left out.

    >>> distances = np.linspace(0.2, 4, 12)
    >>> law = overoptimization_law(distances, [distances * (1 - b * distances) for b in (0.2, 0.25, 0.3)], "quadratic")
    >>> [round(c, 6) for c in law.coefficients], round(law.peak, 6), law.overoptimizes
    ([1.0, 0.25], 2.0, True)
    """
    check_choice("overoptimization_law", "form", form, get_args(Form))
    gains = np.array(gain, dtype=np.float64)
    check_shape("overoptimization_law", "gain", gains, None, None)
    check_range("overoptimization_law", "seeds", len(gains), 3, math.inf)
    distance = np.array(d, dtype=np.float64) + np.zeros_like(gains)
    check_same_shape("overoptimization_law", distance, gains)
    used = np.isfinite(gains) & np.isfinite(distance) & (distance >= 1e-3)
    x = np.where(used, distance, 1.0)
    columns = {"gao": [x, -x * np.log(x)], "quadratic": [x, -x * x], "linear": [x]}[form]
    design = np.stack(columns, axis=-1)  # (S, K, p)
    design = np.where(used[..., None], design, 0.0)
    y = np.where(used, gains, 0.0)
    squares, products = np.einsum("skp,skq->spq", design, design), np.einsum("skp,sk->sp", design, y)
    if np.linalg.matrix_rank(squares.sum(axis=0)) < design.shape[-1]:
        raise ValueError("overoptimization_law: the points have too few different d. Measure at more checkpoints.")

    def fitted(kept: NDArray[np.bool_]) -> Array:
        found: Array = np.linalg.pinv(squares[kept].sum(axis=0)) @ products[kept].sum(axis=0)
        return found

    found = fitted(np.ones(len(gains), dtype=np.bool_))
    covariance, freedom = jackknife(fitted, len(gains), most=len(gains))
    errors = np.sqrt(np.diag(covariance))
    t = student_half(1.0, freedom, alpha=alpha)
    ends = [(float(c - t * e), float(c + t * e)) for c, e in zip(found, errors, strict=True)]
    turns = form != "linear" and ends[-1][0] > 0
    ratios = np.array(_fieller(found, covariance, t) if turns else (math.nan,) * 3)
    peak, low, high = (np.exp(np.minimum(ratios - 1, 700)) if form == "gao" else np.maximum(ratios, 0) / 2).tolist()
    rmse = math.sqrt(float(((y - design @ found) ** 2).sum() / used.sum()))
    return Law(tuple(found.tolist()), tuple(errors.tolist()), tuple(ends), turns, peak, (low, high), rmse)


class EarlyPeak(NamedTuple):
    """step: of the highest mean gold; share: of the training done by then; fall: gold lost after it, by seeds."""

    step: float
    share: float
    fall: Estimate


def early_peak(gold: ArrayLike, steps: ArrayLike, *, alpha: float = 0.05) -> EarlyPeak:
    """Measure how much gold is lost by training on after the best checkpoint, which other seeds choose.

        fall_s = gold_s(k₋ₛ) − gold_s(last),    k₋ₛ the checkpoint of the highest mean gold of all seeds but s

    Rafailov et al. 2024, arXiv:2406.02900: at small β the best checkpoint comes early. Differs: a seed's own maximum
    is never below its end, so noise alone gives a fall; this one is 0 on average where gold does not fall. Subtract the
    fall of a run on random labels to see the part that preferences cause.

    Args:
        gold: (S, K) of S ≥ 2 seeds at K checkpoints. steps: (K,) upward.

    >>> early_peak([[0.0, 1.0, 0.5], [0.1, 0.9, 0.4]], [0, 10, 40])[:2]
    (10.0, 0.25)
    """
    table, done = np.array(gold, dtype=np.float64), np.array(steps, dtype=np.float64)
    check_shape("early_peak", "gold", table, None, *done.shape)
    check_range("early_peak", "seeds", len(table), 2, math.inf)
    others = (table.sum(axis=0) - table).argmax(axis=1)
    falls = table[np.arange(len(table)), others] - table[:, -1]
    best = float(done[table.mean(axis=0).argmax()])
    return EarlyPeak(best, best / float(done[-1]), mean_estimate(falls, alpha=alpha))


def _fieller(coefficients: Array, covariance: Array, t: float) -> tuple[float, float, float]:
    """Return a/b and the ends of Fieller's interval: all q with (a − q b)² ≤ t² Var(a − q b); b's lies above 0."""
    (a, b), ((aa, ab), (_, bb)) = coefficients.tolist(), (t * t * covariance).tolist()
    curve, slope, level = b * b - bb, a * b - ab, a * a - aa
    root = math.sqrt(max(slope * slope - curve * level, 0.0))
    return a / b, (slope - root) / curve, (slope + root) / curve
