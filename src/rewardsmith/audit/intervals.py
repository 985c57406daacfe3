"""Intervals for shares and means, wide enough that many questions can be asked at once.

The normal quantile comes from the standard library, so that an audit of a cheap reward does not wait for SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev


def family_alpha(n_questions: int, *, alpha: float = 0.05) -> float:
    """The level per question at which all of them together err with probability at most alpha (Bonferroni).

    >>> family_alpha(100)
    0.0005
    """
    return alpha / max(n_questions, 1)


def wilson_interval(successes: int, n: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson's score interval for a share.

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
