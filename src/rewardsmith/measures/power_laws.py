"""Fit the scaling law by which gold first rises and then falls with optimization."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_choice, check_range
from rewardsmith.measures.best_of_n import resampled_means

Array = NDArray[np.float64]
Optimizer = Literal["best_of_n", "rl"]


class ScalingLaw(NamedTuple):
    """A fit of gold's gain against d = √KL.

    alpha, beta: its coefficients; `alpha_interval` and `beta_interval` at 1 − level.
    overoptimizes: whether beta's interval lies above 0. If not, no peak was found, and it is NaN.
    peak_kl, peak_interval: KL in nats of the law's peak; the interval reaches ∞ if some resamples have no peak.
    residual: root mean square error of the law, in units of gold.
    """

    alpha: float
    beta: float
    alpha_interval: tuple[float, float]
    beta_interval: tuple[float, float]
    overoptimizes: bool
    peak_kl: float
    peak_interval: tuple[float, float]
    residual: float


def scaling_law(
    kl: ArrayLike,
    gold: ArrayLike,
    *,
    kind: Optimizer,
    weights: ArrayLike | None = None,
    level: float = 0.05,
    n_resamples: int = 2000,
    generator: np.random.Generator | None = None,
) -> ScalingLaw:
    """Fit gold against the KL of best-of-n or RL by a scaling law.

        R(d) = d (α − β d)        best-of-n,  highest at d* = α / 2β
        R(d) = d (α − β log d)    RL,         highest at d* = exp(α/β − 1);     d = √KL(π‖π₀)

    Gao et al. 2022, arXiv:2210.10760, Sec. 3. Both are linear in α and β, so least squares through R(0) = 0 fits them.
    The law was found for learned rewards of one family. A large `residual` shows that it does not hold here; then do
    not trust a peak outside the measured range.

    Args:
        kl: (K,) nats, 0 or more, at least three of them above 0.
        gold: (P, K) gains over the start policy by prompt, with prompts resampled for the intervals; or (K,) means of
            independent runs, with Student's t intervals from the scatter about the law.
        kind: "best_of_n" or "rl"; the tilted policy is RL's.
        weights: (K,) of the squared residuals; equal if None.
        level: intervals hold at 1 − level.
        generator: seeded with 0 if None.

    >>> law = scaling_law([1.0, 4.0, 9.0, 16.0], [0.9, 1.6, 2.1, 2.4], kind="best_of_n")
    >>> round(law.alpha, 6), round(law.beta, 6), round(law.peak_kl, 6)
    (1.0, 0.1, 25.0)
    """
    check_choice("scaling_law", "kind", kind, get_args(Optimizer))
    check_range("scaling_law", "level", level, 1e-9, 1)
    nats, gains = np.array(kl, dtype=np.float64), np.array(gold, dtype=np.float64)
    weight = np.ones_like(nats) if weights is None else np.array(weights, dtype=np.float64)
    if nats.ndim != 1 or gains.ndim not in (1, 2) or gains.shape[-1:] != nats.shape or weight.shape != nats.shape:
        raise ValueError(
            f"scaling_law: kl, gold and weights have shapes {nats.shape}, {gains.shape} and {weight.shape}. Pass (K,), "
            "(K,) or (P, K), and (K,)."
        )
    if not (np.isfinite(nats).all() and np.isfinite(gains).all() and (nats >= 0).all() and (weight >= 0).all()):
        raise ValueError("scaling_law: a kl or weight is negative, or a value is not finite. Leave such points out.")
    if len(np.unique(nats[(nats > 0) & (weight > 0)])) < 3:
        raise ValueError(
            f"scaling_law: kl is {nats.tolist()}, and two coefficients need three points above 0. Measure at more."
        )
    d = np.sqrt(nats)
    bend = d if kind == "best_of_n" else np.log(np.where(d > 0, d, 1.0))
    design = np.stack([d, -d * bend], axis=1)
    root = np.sqrt(weight)
    solver: Array = np.linalg.pinv(design * root[:, None]) * root  # (2, K) from gains to (α, β)
    table = np.atleast_2d(gains)
    mean = table.mean(axis=0)
    coefficients = solver @ mean
    misfit = mean - design @ coefficients
    rng = np.random.default_rng(0) if generator is None else generator
    if gains.ndim == 2:
        draws = resampled_means(table, n_resamples, rng) @ solver.T
    else:  # the t distribution that least squares gives the coefficients
        used = weight > 0
        free = int(used.sum()) - 2
        precision = design[used].T @ (design[used] * weight[used][:, None])
        covariance = float((weight * misfit**2).sum()) / free * np.linalg.inv(precision)
        normal = rng.multivariate_normal(np.zeros(2), covariance, size=n_resamples, method="eigh")
        draws = coefficients + normal / np.sqrt(rng.chisquare(free, size=(n_resamples, 1)) / free)
    ends = np.quantile(draws, [level / 2, 1 - level / 2], axis=0)
    turns = bool(ends[0, 1] > 0)
    peaks = np.array([_peak_kl(draw, kind) for draw in draws])
    low, high = np.quantile(peaks, [level / 2, 1 - level / 2], method="nearest")
    return ScalingLaw(
        alpha=float(coefficients[0]),
        beta=float(coefficients[1]),
        alpha_interval=(float(ends[0, 0]), float(ends[1, 0])),
        beta_interval=(float(ends[0, 1]), float(ends[1, 1])),
        overoptimizes=turns,
        peak_kl=_peak_kl(coefficients, kind) if turns else math.nan,
        peak_interval=(float(low), float(high)) if turns else (math.nan, math.nan),
        residual=math.sqrt(float((weight * misfit**2).sum() / weight.sum())),
    )


def _peak_kl(coefficients: Array, kind: Optimizer) -> float:
    """Return the KL of the peak: ∞ if gold never falls, 0 if it falls from the start."""
    alpha, beta = coefficients.tolist()
    if beta <= 0:
        return math.inf
    if kind == "best_of_n":
        peak: float = (max(alpha, 0.0) / (2 * beta)) ** 2
        return peak
    exponent = 2 * (alpha / beta - 1)
    return math.exp(exponent) if exponent < 700 else math.inf
