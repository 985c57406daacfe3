"""Read columns, and compute means, rank correlations, and intervals for shares and means.

The normal quantile comes from the standard library and Student's from `scipy.special`, as `scipy.stats` is slow to
import.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist, fmean, stdev, variance
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_same_shape


class Share(NamedTuple):
    """A share, its Wilson interval, and the number of rows."""

    value: float
    low: float
    high: float
    n: int


class Estimate(NamedTuple):
    """A statistic, the ends of its interval, and the number of independent units, such as prompts or seeds."""

    value: float
    low: float
    high: float
    n: int


def read_column(caller: str, name: str, values: Any, *, high: float | None = None) -> NDArray[np.float64]:
    """Return (n,) float64, NaN where unknown; with `high`, values must lie in [0, high]."""
    plain = values.detach().double().cpu().numpy() if hasattr(values, "detach") else values  # NumPy lacks bfloat16
    column = np.array(plain, dtype=np.float64)
    if column.ndim != 1:
        raise ValueError(f"{caller}: {name} must have shape (any), got {column.shape}. Flatten it before the call.")
    if high is not None:
        bad = column[~np.isnan(column) & ~((column >= 0) & (column <= high) & np.isfinite(column))]
        if len(bad):
            raise ValueError(
                f"{caller}: {name} holds {bad[0]}, outside [0, {high}]"
                f"{' or not finite' if math.isinf(high) else ''}. "
                "Rescale it, and write NaN where nothing is known."
            )
    return column


def read_columns(caller: str, name: str, *columns: Any) -> NDArray[np.float64]:
    """Return (len(columns), n) float64 columns of one length, NaN where unknown."""
    found = [read_column(caller, name, column) for column in columns]
    check_same_shape(caller, *found)
    return np.stack(found)


def mean_or_nan(values: Sequence[float] | NDArray[Any]) -> float:
    """Return the mean, or NaN for no values."""
    return fmean(values) if len(values) else math.nan


def rank_correlations(columns: ArrayLike) -> NDArray[np.float64]:
    """Return Spearman's correlation of every two columns; ties share their mean rank.

    Args:
        columns: (n, K).

    Returns:
        (K, K); NaN where a column holds NaN or does not vary.

    >>> rank_correlations([[1.0, 9.0], [2.0, 4.0], [3.0, 1.0]]).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    table = np.asarray(columns, dtype=np.float64)
    ranks = np.empty_like(table)
    for k, column in enumerate(table.T):
        _, place, count = np.unique(column, return_inverse=True, return_counts=True)
        ranks[:, k] = (np.cumsum(count) - (count + 1) / 2)[place]
    ranks -= (len(table) - 1) / 2
    ranks[:, np.isnan(table).any(axis=0)] = np.nan
    cross = ranks.T @ ranks
    square = np.diag(cross)
    size = np.sqrt(np.outer(square, square))
    correlations: NDArray[np.float64] = cross / np.where(size > 0, size, np.nan)
    return correlations


def family_alpha(n_questions: int, *, alpha: float = 0.05) -> float:
    """Return the level per question so that all together err with probability at most alpha (Bonferroni).

    >>> family_alpha(100)
    0.0005
    """
    return alpha / max(n_questions, 1)


def wilson_interval(successes: float, n: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return Wilson's score interval for a share; `n` may be an effective number of rows (`design_effect`).

        ( p̂ + z²/2n ± z √( p̂(1−p̂)/n + z²/4n² ) ) / ( 1 + z²/n ),   z = Φ⁻¹(1 − α/2)

    Wilson 1927. n = 0 gives (0, 1).

    >>> low, high = wilson_interval(0, 64)
    >>> low == 0.0 and high < 0.06
    True
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(1 - alpha / 2)
    share, square = successes / n, z * z
    center = share + square / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low = 0.0 if successes == 0 else (center - half) / (1 + square / n)
    high = 1.0 if successes == n else (center + half) / (1 + square / n)
    return low, high


def most_share(hits: float, n: float, *, alpha: float = 0.05) -> float:
    """Return the upper end of the one-sided exact interval of a share; without hits it is 1 − α^(1/n).

        the p at which P(X ≤ hits) = α,   X binomial with n and p

    Clopper and Pearson 1934. It answers which share could have escaped. n = 0 gives 1.

    >>> round(most_share(0, 14), 3), most_share(3, 3)
    (0.193, 1.0)
    """
    if hits >= n:
        return 1.0
    if hits == 0:
        return float(1 - alpha ** (1 / n))
    from scipy.special import betaincinv

    return float(betaincinv(hits + 1, n - hits, 1 - alpha))


def share_right(
    right: Sequence[float | None], clusters: Sequence[Hashable] | None = None, *, alpha: float = 0.05
) -> Share:
    """Return the share of known entries that are right, with Wilson's interval.

    Args:
        clusters: what rows share, which reduces their number (`design_effect`); rows are independent if None.

    >>> share_right([True, None, False], "aab")[0]
    0.5
    """
    names: Sequence[Hashable] = range(len(right)) if clusters is None else clusters
    known = [(float(hit), cluster) for hit, cluster in zip(right, names, strict=True) if hit is not None]
    if not known:
        return Share(math.nan, 0.0, 1.0, 0)
    hits = [hit for hit, _ in known]
    share, n = sum(hits) / len(hits), len(hits)
    rows = n / design_effect([hit - share for hit in hits], [cluster for _, cluster in known])
    low, high = wilson_interval(share * rows, rows, alpha=alpha)
    return Share(share, low, high, n)


def normal_interval(center: float, error: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return center ± z error, z = Φ⁻¹(1 − α/2)."""
    half = NormalDist().inv_cdf(1 - alpha / 2) * error
    return center - half, center + half


def mean_interval(values: Sequence[float], *, alpha: float = 0.05) -> tuple[float, float]:
    """Return the normal interval of a mean, x̄ ± z s/√n; one value gives itself, none (−inf, inf)."""
    if not values:
        return -math.inf, math.inf
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return normal_interval(fmean(values), error, alpha=alpha)


def student_interval(values: Sequence[float], *, alpha: float = 0.05, inflation: float = 1.0) -> tuple[float, float]:
    """Return Student's two-sided interval of a mean; unbounded with fewer than two values.

        x̄ ± t s/√n,    t the 1 − α/2 quantile with n − 1 degrees of freedom

    Student 1908.

    Args:
        inflation: how many dependent values weigh as one; n becomes n / inflation, at least 2 for t.

    >>> low, high = student_interval([1.0, 3.0])  # 2 ± 12.706 · √2/√2
    >>> round(low, 3), round(high, 3)
    (-10.706, 14.706)
    """
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    half = student_half(inflation * variance(values) / n, max(n / inflation - 1, 1.0), alpha=alpha)
    return fmean(values) - half, fmean(values) + half


def student_half(squared_error: float, freedom: float, *, alpha: float) -> float:
    """Return half the width of Student's interval, t_{1−α/2, ν} √(s²); 0 if the error is 0."""
    if squared_error == 0:
        return 0.0
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, alpha / 2)) * math.sqrt(squared_error)


def mean_estimate(values: ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """Return the mean of the finite values with Student's interval.

    >>> mean_estimate([1.0, 1.0, None])
    Estimate(value=1.0, low=1.0, high=1.0, n=2)
    """
    column = np.array(values, dtype=np.float64).ravel()
    known = column[np.isfinite(column)].tolist()
    return Estimate(mean_or_nan(known), *student_interval(known, alpha=alpha), len(known))


def jackknife(
    statistic: Callable[[NDArray[np.bool_]], ArrayLike], n: int, *, most: int = 50
) -> tuple[NDArray[np.float64], int]:
    """Return the covariance of a statistic by leaving out blocks of its units, and its degrees of freedom.

        (g − 1)/g Σ_k (θ₋ₖ − θ̄)(θ₋ₖ − θ̄)ᵀ        θ₋ₖ the statistic without block k of g

    Quenouille 1956, Tukey 1958. It takes n ≥ 2 independent units and draws no random numbers.

    Args:
        statistic: of the units where its (n,) argument is True; one number or (p,).
        most: blocks at most; with fewer units each is a block.

    Returns:
        (p, p), and g − 1.

    >>> values = np.array([1.0, 2.0, 6.0])
    >>> covariance, freedom = jackknife(lambda kept: values[kept].mean(), 3)  # of a mean it is s²/n, here 7/3
    >>> round(float(covariance[0, 0]), 6), freedom
    (2.333333, 2)
    """
    n_blocks = min(n, most)
    block = np.arange(n) * n_blocks // n
    left = np.array([np.atleast_1d(statistic(block != k)) for k in range(n_blocks)], dtype=np.float64)  # (g, p)
    apart = left - left.mean(axis=0)
    return (n_blocks - 1) / n_blocks * apart.T @ apart, n_blocks - 1


def jackknife_estimate(
    statistic: Callable[[NDArray[np.bool_]], float], n: int, *, alpha: float = 0.05, least: float = -math.inf
) -> Estimate:
    """Return a statistic of n units with Student's interval from `jackknife`; unbounded with fewer than 3 units.

    least: the least value that the statistic can have, such as −1 of a correlation; the greatest is then 1.
    """
    value = float(statistic(np.ones(n, dtype=np.bool_))) if n else math.nan
    if n < 3 or math.isnan(value):
        return Estimate(value, -math.inf, math.inf, n)
    covariance, freedom = jackknife(statistic, n)
    half = student_half(float(covariance[0, 0]), freedom, alpha=alpha)
    most = math.inf if math.isinf(least) else 1.0
    return Estimate(value, max(value - half, least), min(value + half, most), n)


def design_effect(residuals: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Return the factor deff by which clusters reduce the rows: n / deff independent rows are as good.

        deff = 1 + (Σ m² / n − 1) ρ̂,   ρ̂ = (MSB − MSW) / (MSB + (m₀ − 1) MSW) in [0, 1],   m₀ = (n − Σ m² / n) / (k − 1)

    Kish 1965; ρ̂ is the one-way ANOVA estimate over the k clusters of m rows each. One cluster counts as one row.

    >>> design_effect([1.0, 1.0, -1.0, -1.0], "aabb"), design_effect([1.0, -1.0, 1.0, -1.0], "aabb")
    (2.0, 1.0)
    """
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for value, cluster in zip(residuals, clusters, strict=True):
        groups[cluster].append(value)
    n, k = len(residuals), len(groups)
    if k == n:
        return 1.0
    sizes = [len(group) for group in groups.values()]
    mean_size = sum(size * size for size in sizes) / n
    if k == 1:
        return float(n)
    center = fmean(residuals)
    between = sum(len(group) * (fmean(group) - center) ** 2 for group in groups.values()) / (k - 1)
    within = sum((value - fmean(group)) ** 2 for group in groups.values() for value in group) / (n - k)
    if all(max(group) == min(group) for group in groups.values()):
        return mean_size  # the rows of a cluster may count as one
    if between <= within:
        return 1.0
    usual = (n - mean_size) / (k - 1)
    return 1 + (mean_size - 1) * (between - within) / (between + (usual - 1) * within)


def clustered_interval(
    values: Sequence[float], clusters: Sequence[Hashable], *, alpha: float = 0.05
) -> tuple[float, float]:
    """Return `mean_interval` widened by √deff for rows in clusters; it takes two rows.

    >>> low, high = clustered_interval([1.0, 1.0, -1.0, -1.0], "aabb")
    >>> one_by_one = mean_interval([1.0, 1.0, -1.0, -1.0])
    >>> round((high - low) / (one_by_one[1] - one_by_one[0]), 6)
    1.414214
    """
    if len(values) < 2:
        return -math.inf, math.inf
    error = stdev(values) / math.sqrt(len(values)) * math.sqrt(design_effect(values, clusters))
    return normal_interval(fmean(values), error, alpha=alpha)


def auroc_interval(area: float, n_right: float, n_wrong: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return the normal interval for an area under the ROC curve, cut to [0, 1].

        s² = ( A(1−A) + (n₊−1)(Q₁−A²) + (n₋−1)(Q₂−A²) ) / (n₊ n₋),    Q₁ = A / (2−A),  Q₂ = 2A² / (1+A)

    Hanley and McNeil 1982. At A = 0 or 1, s would be 0, so A is first moved toward ½ by half a pair.
    """
    pairs = n_right * n_wrong
    if pairs <= 0:
        return 0.0, 1.0
    a = (area * pairs + 0.5) / (pairs + 1)
    square = a * (1 - a) + (n_right - 1) * (a / (2 - a) - a * a) + (n_wrong - 1) * (2 * a * a / (1 + a) - a * a)
    low, high = normal_interval(area, math.sqrt(max(square, 0.0) / pairs), alpha=alpha)
    return max(low, 0.0), min(high, 1.0)
