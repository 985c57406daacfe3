"""One-sided comparisons that stay valid when repeated during a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, variance
from types import MappingProxyType
from typing import NamedTuple

from rewardsmith.measures.intervals import mean_or_nan, normal_interval, student_half, student_interval


class Reading(NamedTuple):
    """A measured figure, its interval, its number of observations, and further values for the message."""

    value: float
    low: float
    high: float
    n: int
    also: Mapping[str, float] = MappingProxyType({})


def spent(alpha: float, look: int) -> float:
    """Return the level of the `look`-th look, so that all looks together err with probability at most alpha.

        α_t = α / (t (t + 1)),        Σ_{t ≥ 1} α_t = α

    >>> round(sum(spent(0.05, look) for look in range(1, 10_000)), 5)
    0.05
    """
    return alpha / (look * (look + 1))


def change(before: Sequence[float], after: Sequence[float], *, alpha: float, inflation: float = 1.0) -> Reading:
    """Return the rise of the mean, with bounds that each hold with probability 1 − alpha (Welch 1947).

        x̄₂ − x̄₁ ± t_{1−α, ν} √(s₁²/n₁ + s₂²/n₂),    ν by Welch–Satterthwaite

    It is unbounded with fewer than two values on a side.

    Args:
        inflation: how many dependent values count as one; n becomes n / inflation, in the error and in ν.

    >>> change([0.0, 1.0], [5.0, 6.0], alpha=0.05).low > 0
    True
    """
    n_before, n_after = len(before), len(after)
    if min(n_before, n_after) < 2:
        return Reading(math.nan, -math.inf, math.inf, n_before + n_after)
    gain = fmean(after) - fmean(before)
    terms = tuple(inflation * variance(side) / len(side) for side in (before, after))
    freedoms = tuple(max(len(side) / inflation - 1, 1.0) for side in (before, after))
    weights = sum(term**2 / freedom for term, freedom in zip(terms, freedoms, strict=True))
    half = student_half(sum(terms), sum(terms) ** 2 / weights if weights else math.inf, alpha=2 * alpha)
    return Reading(gain, gain - half, gain + half, n_before + n_after)


def level(values: Sequence[float], *, alpha: float, inflation: float = 1.0) -> Reading:
    """Return the mean, with bounds that each hold with probability 1 − alpha: x̄ ± t_{1−α, n−1} s/√n (Student 1908).

    It is unbounded with a single value. `inflation` as in `change`.

    >>> [round(x, 6) for x in level([1.0, 3.0], alpha=0.25)[:3]]  # t = 1 with one degree of freedom, s/√n = 1
    [2.0, 1.0, 3.0]
    """
    return Reading(mean_or_nan(values), *student_interval(values, alpha=2 * alpha, inflation=inflation), n=len(values))


def dependence(columns: Sequence[Sequence[float]]) -> float:
    """Return how many steps count as one independent step: (1 + r) / (1 − r), at least 1.

    r is the correlation of successive residuals from a straight line per block, pooled over blocks. The line removes
    the policy's own progress, which is no noise. It lowers r of white noise, which is corrected. r is cut at 0.9.
    Blocks of fewer than 4 steps are ignored, and without others the result is 1.

    >>> dependence([[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]])
    1.0
    """
    products = squares = expected = 0.0
    for values in columns:
        n = len(values)
        if n < 4:
            continue
        times = [t - (n - 1) / 2 for t in range(n)]
        spread = sum(t * t for t in times)
        mean = fmean(values)
        slope = sum(t * value for t, value in zip(times, values, strict=True)) / spread
        left = [value - mean - slope * t for t, value in zip(times, values, strict=True)]
        power = sum(e * e for e in left)
        products += sum(e * f for e, f in pairwise(left))
        squares += power
        # E[Σ e_t e_{t+1}] / E[Σ e_t²] for white noise: the hat matrix of a line, one off its diagonal, over n − 2.
        hat = (n - 1) / n + sum(s * t for s, t in pairwise(times)) / spread
        expected -= power * hat / (n - 2)
    if squares == 0:
        return 1.0
    r = min((products - expected) / squares, 0.9)
    return (1 + r) / (1 - r) if r > 0 else 1.0


def pooled_correlation(correlations: Sequence[float], freedoms: Sequence[int], *, alpha: float) -> Reading:
    """Pool correlations of several batches on Fisher's scale, with one-sided bounds.

        z̄ = Σ (d_i − 2) artanh ρ_i / Σ (d_i − 2),    ρ = tanh( z̄ ± z_{1−α} / √Σ (d_i − 2) )

    Fisher 1924 for partial correlations: d_i is the number of rows less the number of group means removed, so that one
    group of n gives the usual n − 3. Exact for normal values, else an approximation.
    """
    weights = [max(freedom - 2, 0) for freedom in freedoms]
    total = sum(weights)
    if total == 0:
        return Reading(math.nan, -1.0, 1.0, 0)
    clipped = [math.atanh(max(min(value, 1 - 1e-9), 1e-9 - 1)) for value in correlations]
    mean = sum(z * weight for z, weight in zip(clipped, weights, strict=True)) / total
    low, high = normal_interval(mean, 1 / math.sqrt(total), alpha=2 * alpha)
    return Reading(math.tanh(mean), math.tanh(low), math.tanh(high), total)
