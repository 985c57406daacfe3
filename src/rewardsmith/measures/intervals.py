"""Intervals for shares and means, wide enough that many questions can be asked at once.

The normal quantile comes from the standard library, so that an audit of a cheap reward does not wait for SciPy.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from statistics import NormalDist, fmean, stdev


def family_alpha(n_questions: int, *, alpha: float = 0.05) -> float:
    """The level per question at which all of them together err with probability at most alpha (Bonferroni).

    >>> family_alpha(100)
    0.0005
    """
    return alpha / max(n_questions, 1)


def wilson_interval(successes: float, n: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson's score interval for a share; `n` may be an effective number of rows, as `design_effect` gives it.

        ( p̂ + z²/2n ± z √( p̂(1−p̂)/n + z²/4n² ) ) / ( 1 + z²/n ),   z = Φ⁻¹(1 − α/2)

    Wilson 1927. With n = 0 nothing is known: (0, 1).

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


def mean_interval(values: Sequence[float], *, alpha: float = 0.05) -> tuple[float, float]:
    """Normal interval for a mean, x̄ ± z s/√n; a single value gives itself, none gives (−inf, inf)."""
    if not values:
        return -math.inf, math.inf
    center = fmean(values)
    if len(values) == 1:
        return center, center
    half = NormalDist().inv_cdf(1 - alpha / 2) * stdev(values) / math.sqrt(len(values))
    return center - half, center + half


def design_effect(residuals: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """How many rows of the same few prompts count as one: n / deff independent rows say as much as these n do.

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
        return mean_size  # nothing speaks against the rows of a cluster being one
    if between <= within:
        return 1.0
    usual = (n - mean_size) / (k - 1)
    return 1 + (mean_size - 1) * (between - within) / (between + (usual - 1) * within)


def clustered_interval(
    values: Sequence[float], clusters: Sequence[Hashable], *, alpha: float = 0.05
) -> tuple[float, float]:
    """Normal interval for a mean of rows that come in clusters, `mean_interval` widened by √deff; two rows at least.

    >>> low, high = clustered_interval([1.0, 1.0, -1.0, -1.0], "aabb")
    >>> one_by_one = mean_interval([1.0, 1.0, -1.0, -1.0])
    >>> round((high - low) / (one_by_one[1] - one_by_one[0]), 6)
    1.414214
    """
    if len(values) < 2:
        return -math.inf, math.inf
    center, wider = fmean(values), math.sqrt(design_effect(values, clusters))
    low, high = mean_interval(values, alpha=alpha)
    return center - (center - low) * wider, center + (high - center) * wider


def auroc_interval(area: float, n_right: float, n_wrong: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Normal interval for an area under the ROC curve, cut to [0, 1].

        s² = ( A(1−A) + (n₊−1)(Q₁−A²) + (n₋−1)(Q₂−A²) ) / (n₊ n₋),    Q₁ = A / (2−A),  Q₂ = 2A² / (1+A)

    Hanley and McNeil 1982. Where nothing was told apart by error (A is 0 or 1) s is 0, so A is first drawn toward ½
    by half a pair.
    """
    pairs = n_right * n_wrong
    if pairs <= 0:
        return 0.0, 1.0
    a = (area * pairs + 0.5) / (pairs + 1)
    variance = a * (1 - a) + (n_right - 1) * (a / (2 - a) - a * a) + (n_wrong - 1) * (2 * a * a / (1 + a) - a * a)
    half = NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(max(variance, 0.0) / pairs)
    return max(area - half, 0.0), min(area + half, 1.0)
