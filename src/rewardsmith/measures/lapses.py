"""How a label agrees with a score difference: a logistic curve that may lapse, by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range
from rewardsmith.measures.intervals import design_effect

Floats = NDArray[np.float64]
SPAN = math.log(1e3)  # slopes looked at, as logs, around one over the median margin
SLOPES = 121  # points of the grid from which maxima are refined


class Lapse(NamedTuple):
    """lapse: ε, the share of wrong labels; slope: k, 1 where score differences are log-odds.

    Each with a profile-likelihood interval, (0, 0.5) and (0, inf) where the margins say nothing.
    loglik: at the maximum. n: margins other than 0.
    """

    lapse: float
    lapse_interval: tuple[float, float]
    slope: float
    slope_interval: tuple[float, float]
    loglik: float
    n: int


def fit_lapse(
    margins: ArrayLike, *, clusters: Sequence[Hashable] | None = None, most_lapse: float = 0.5, alpha: float = 0.05
) -> Lapse:
    """The slope and the lapse with which labels follow a reward's margins.

        P(the label agrees with Δ) = ε + (1 − 2ε) σ(kΔ),      ε in [0, ½], k > 0

    ε is what is left where the reward is surest: labels that were turned, or answers on which the reward is surely
    wrong; margins alone cannot tell these two apart. k is what is left after that: below 1 the reward is overconfident
    about labels that are no lapse. Both are told apart by how agreement rises with |Δ|, and where all margins are
    small, or agreement does not rise, they are not: the intervals then say so.

    Intervals hold all values whose profile likelihood falls short of the maximum by at most ½χ²(1) times the design
    effect of the clusters.

    Args:
        margins: (n,) Δ, chosen minus rejected; 0 says nothing and is left out, as is NaN.
        clusters: (n,) what pairs share, such as the prompt; every pair for itself if None.
        most_lapse: the largest ε; 0 is logistic regression of the label on Δ, without an intercept.

    >>> fit = fit_lapse(np.log(3) * np.array([1.0, 1.0, 1.0, -1.0]), most_lapse=0.0)
    >>> round(fit.slope, 4), fit.lapse
    (1.0, 0.0)
    """
    check_range("fit_lapse", "most_lapse", most_lapse, 0.0, 0.5)
    given = np.asarray(margins, dtype=np.float64)
    names: Sequence[Hashable] = range(len(given)) if clusters is None else clusters
    if given.ndim != 1 or len(names) != len(given):
        raise ValueError(
            f"fit_lapse: margins have shape {given.shape} and there are {len(names)} clusters. Pass one of each a pair."
        )
    kept = np.isfinite(given) & (given != 0)
    delta = given[kept]
    if not len(delta):
        return Lapse(math.nan, (0.0, most_lapse), math.nan, (0.0, math.inf), math.nan, 0)
    unit = float(np.median(np.abs(delta)))
    curve = _Curve(delta / unit, most_lapse)
    loglik, lapse, log_slope = curve.best()
    residuals = 1 - np.exp(_log_agreement(_log_follows(delta / unit, math.exp(log_slope)), lapse))
    effect = design_effect(residuals.tolist(), [name for name, keep in zip(names, kept, strict=True) if keep])
    least = loglik - NormalDist().inv_cdf(1 - alpha / 2) ** 2 / 2 * effect
    low, high = _interval(curve.at_slope, log_slope, (-SPAN, SPAN), least)
    slopes = (0.0 if low == -SPAN else math.exp(low) / unit, math.inf if high == SPAN else math.exp(high) / unit)
    lapses = _interval(curve.at_lapse, lapse, (0.0, most_lapse), least)
    slope = math.inf if log_slope > SPAN - 1e-3 else math.exp(log_slope) / unit  # nothing speaks against a step
    return Lapse(lapse, lapses, slope, slopes, loglik, len(delta))


def _log_follows(delta: Floats, slope: float | Floats) -> Floats:
    """log σ(kΔ)"""
    return -np.logaddexp(0.0, -slope * delta)


def _log_agreement(log_follows: Floats, lapse: float) -> Floats:
    """log( ε + (1 − 2ε) σ ) from log σ, exact where either term vanishes."""
    with np.errstate(divide="ignore"):
        found: Floats = np.logaddexp(np.log(lapse), np.log1p(-2 * lapse) + log_follows)
    return found


class _Curve:
    """The log-likelihood of margins in units of their median, and its maxima over one of its two parameters."""

    def __init__(self, delta: Floats, most_lapse: float) -> None:
        self.delta, self.most_lapse = delta, most_lapse
        self.slopes = np.linspace(-SPAN, SPAN, SLOPES)
        self.log_follows = _log_follows(delta, np.exp(self.slopes)[:, None])

    def at_lapse(self, lapse: float) -> float:
        """The most over slopes."""

        def loglik(log_slope: float) -> float:
            return float(_log_agreement(_log_follows(self.delta, math.exp(log_slope)), lapse).sum())

        return _refined(loglik, self.slopes, _log_agreement(self.log_follows, lapse).sum(axis=1))[0]

    def at_slope(self, log_slope: float) -> float:
        """The most over lapses."""
        return self._over_lapses(_log_follows(self.delta, math.exp(log_slope)))[0]

    def best(self) -> tuple[float, float, float]:
        """The most over both, and where: (log-likelihood, lapse, log slope)."""
        values = np.array([self._over_lapses(log_follows)[0] for log_follows in self.log_follows])
        loglik, log_slope = _refined(self.at_slope, self.slopes, values)
        return loglik, self._over_lapses(_log_follows(self.delta, math.exp(log_slope)))[1], log_slope

    def _over_lapses(self, log_follows: Floats) -> tuple[float, float]:
        """For a fixed slope the likelihood is concave in ε: its maximum is where it stops to rise."""
        from scipy.optimize import brentq

        follows = np.exp(log_follows)

        def rise(lapse: float) -> float:
            with np.errstate(divide="ignore", over="ignore"):
                return float(((1 - 2 * follows) / (follows + lapse * (1 - 2 * follows))).sum())

        low, high = 0.0 if follows.min() > 0 else np.finfo(np.float64).tiny, self.most_lapse
        lapse = 0.0 if high == 0 or rise(low) <= 0 else high if rise(high) >= 0 else brentq(rise, low, high, xtol=1e-10)
        return float(_log_agreement(log_follows, lapse).sum()), float(lapse)


def _refined(function: Callable[[float], float], grid: Floats, values: Floats) -> tuple[float, float]:
    """The maximum near the best point of a grid, and where it is."""
    from scipy.optimize import minimize_scalar

    place = int(values.argmax())
    best = float(values[place]), float(grid[place])
    low, high = float(grid[max(place - 1, 0)]), float(grid[min(place + 1, len(grid) - 1)])
    found = minimize_scalar(lambda x: -function(x), bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return max(best, (-float(found.fun), float(found.x)))


def _interval(
    profile: Callable[[float], float], center: float, ends: tuple[float, float], least: float
) -> tuple[float, float]:
    """From the center to where the profile falls below `least`, or to the end."""
    from scipy.optimize import brentq

    found = []
    for end in ends:
        inside = center == end or profile(end) >= least
        found.append(end if inside else float(brentq(lambda x: profile(x) - least, center, end, xtol=1e-5)))
    return found[0], found[1]
