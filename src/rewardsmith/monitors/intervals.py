"""One-sided comparisons that stay honest when they are asked again and again during a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, variance
from typing import NamedTuple


class Reading(NamedTuple):
    """A measured figure, its interval, and how many observations it rests on."""

    value: float
    low: float
    high: float
    n: int


def spent(alpha: float, look: int) -> float:
    """The level of the `look`-th look at a run, so that all looks together err with probability at most alpha.

        α_t = α / (t (t + 1)),        Σ_{t ≥ 1} α_t = α

    >>> round(sum(spent(0.05, look) for look in range(1, 10_000)), 5)
    0.05
    """
    return alpha / (look * (look + 1))


def change(before: Sequence[float], after: Sequence[float], *, alpha: float) -> Reading:
    """How much the mean rose, with bounds that each hold with probability 1 − alpha (Welch 1947).

        x̄₂ − x̄₁ ± t_{1−α, ν} √(s₁²/n₁ + s₂²/n₂),    ν by Welch–Satterthwaite

    With fewer than two values on a side, nothing bounds it.

    >>> change([0.0, 1.0], [5.0, 6.0], alpha=0.05).low > 0
    True
    """
    n_before, n_after = len(before), len(after)
    if min(n_before, n_after) < 2:
        return Reading(math.nan, -math.inf, math.inf, n_before + n_after)
    gain = fmean(after) - fmean(before)
    terms = variance(before) / n_before, variance(after) / n_after
    error = sum(terms)
    if error == 0:
        return Reading(gain, gain, gain, n_before + n_after)
    from scipy.special import stdtrit  # Student's quantile, without the second that scipy.stats takes to load

    freedom = error**2 / (terms[0] ** 2 / (n_before - 1) + terms[1] ** 2 / (n_after - 1))
    half = -float(stdtrit(freedom, alpha)) * math.sqrt(error)
    return Reading(gain, gain - half, gain + half, n_before + n_after)


def pooled_correlation(correlations: Sequence[float], freedoms: Sequence[int], *, alpha: float) -> Reading:
    """Correlations of several batches as one, on Fisher's scale, with one-sided bounds.

        z̄ = Σ (d_i − 2) artanh ρ_i / Σ (d_i − 2),    ρ = tanh( z̄ ± z_{1−α} / √Σ (d_i − 2) )

    Fisher 1924 for partial correlations: d_i is the number of rows less the number of group means removed from them,
    so that one group of n gives the usual n − 3. Exact for normal values, an approximation for others.
    """
    weights = [max(freedom - 2, 0) for freedom in freedoms]
    total = sum(weights)
    if total == 0:
        return Reading(math.nan, -1.0, 1.0, 0)
    clipped = [math.atanh(max(min(value, 1 - 1e-9), 1e-9 - 1)) for value in correlations]
    mean = sum(z * weight for z, weight in zip(clipped, weights, strict=True)) / total
    half = NormalDist().inv_cdf(1 - alpha) / math.sqrt(total)
    return Reading(math.tanh(mean), math.tanh(mean - half), math.tanh(mean + half), total)
