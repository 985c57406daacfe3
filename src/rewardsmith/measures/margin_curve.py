"""Fit how labels follow a reward's margins: a logistic curve with label noise, by maximum likelihood."""

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
SPAN = math.log(1e3)  # logs of slopes tried, around one over the median margin
SLOPES = 121  # grid points from which maxima are refined


class LabelNoise(NamedTuple):
    """noise: ε, the share of wrong labels; slope: k, 1 if score differences are log-odds.

    Both have a profile-likelihood interval, (0, 0.5) and (0, inf) without information.
    loglik: at the maximum. n: margins other than 0.
    """

    noise: float
    noise_interval: tuple[float, float]
    slope: float
    slope_interval: tuple[float, float]
    loglik: float
    n: int


def fit_label_noise(
    margins: ArrayLike, *, clusters: Sequence[Hashable] | None = None, most_noise: float = 0.5, alpha: float = 0.05
) -> LabelNoise:
    """Fit the share of wrong labels and the slope with which labels follow a reward's margins.

        P(the label agrees with Δ) = ε + (1 − 2ε) σ(kΔ),      ε in [0, ½], k > 0

    ε is the disagreement at the largest margins: flipped labels, or answers on which the reward is wrong. Margins alone
    cannot separate these two. k < 1 means that the reward is overconfident apart from that. ε and k are identified by
    how agreement rises with |Δ|. If all margins are small, or agreement does not rise, the intervals are wide.

    Intervals hold all values whose profile likelihood is below the maximum by at most ½χ²(1) times the design effect of
    the clusters.

    Args:
        margins: (n,) Δ, chosen minus rejected; 0 and NaN are left out.
        clusters: (n,) what pairs share, such as the prompt; pairs are independent if None.
        most_noise: the largest ε; 0 is logistic regression of the label on Δ, without an intercept.

    >>> fit = fit_label_noise(np.log(3) * np.array([1.0, 1.0, 1.0, -1.0]), most_noise=0.0)
    >>> round(fit.slope, 4), fit.noise
    (1.0, 0.0)
    """
    check_range("fit_label_noise", "most_noise", most_noise, 0.0, 0.5)
    given = np.asarray(margins, dtype=np.float64)
    names: Sequence[Hashable] = range(len(given)) if clusters is None else clusters
    if given.ndim != 1 or len(names) != len(given):
        raise ValueError(
            f"fit_label_noise: margins have shape {given.shape} and there are {len(names)} clusters. Pass one per pair."
        )
    kept = np.isfinite(given) & (given != 0)
    delta = given[kept]
    if not len(delta):
        return LabelNoise(math.nan, (0.0, most_noise), math.nan, (0.0, math.inf), math.nan, 0)
    unit = float(np.median(np.abs(delta)))
    curve = _Curve(delta / unit, most_noise)
    loglik, noise, log_slope = curve.best()
    residuals = 1 - np.exp(_log_agreement(_log_follows(delta / unit, math.exp(log_slope)), noise))
    effect = design_effect(residuals.tolist(), [name for name, keep in zip(names, kept, strict=True) if keep])
    least = loglik - NormalDist().inv_cdf(1 - alpha / 2) ** 2 / 2 * effect
    low, high = _interval(curve.at_slope, log_slope, (-SPAN, SPAN), least)
    slopes = (0.0 if low == -SPAN else math.exp(low) / unit, math.inf if high == SPAN else math.exp(high) / unit)
    noises = _interval(curve.at_noise, noise, (0.0, most_noise), least)
    slope = math.inf if log_slope > SPAN - 1e-3 else math.exp(log_slope) / unit  # a step fits
    return LabelNoise(noise, noises, slope, slopes, loglik, len(delta))


def _log_follows(delta: Floats, slope: float | Floats) -> Floats:
    """Return log σ(kΔ)."""
    return -np.logaddexp(0.0, -slope * delta)


def _log_agreement(log_follows: Floats, noise: float) -> Floats:
    """Return log( ε + (1 − 2ε) σ ) from log σ, exact if either term is 0."""
    with np.errstate(divide="ignore"):
        found: Floats = np.logaddexp(np.log(noise), np.log1p(-2 * noise) + log_follows)
    return found


class _Curve:
    """Log-likelihood of margins in units of their median, and its maxima over one of its two parameters."""

    def __init__(self, delta: Floats, most_noise: float) -> None:
        self.delta, self.most_noise = delta, most_noise
        self.slopes = np.linspace(-SPAN, SPAN, SLOPES)
        self.log_follows = _log_follows(delta, np.exp(self.slopes)[:, None])

    def at_noise(self, noise: float) -> float:
        """Return the maximum over slopes."""

        def loglik(log_slope: float) -> float:
            return float(_log_agreement(_log_follows(self.delta, math.exp(log_slope)), noise).sum())

        return _refined(loglik, self.slopes, _log_agreement(self.log_follows, noise).sum(axis=1))[0]

    def at_slope(self, log_slope: float) -> float:
        """Return the maximum over ε."""
        return self._over_noise(_log_follows(self.delta, math.exp(log_slope)))[0]

    def best(self) -> tuple[float, float, float]:
        """Return the maximum over both and its place: (log-likelihood, noise, log slope)."""
        values = np.array([self._over_noise(log_follows)[0] for log_follows in self.log_follows])
        loglik, log_slope = _refined(self.at_slope, self.slopes, values)
        return loglik, self._over_noise(_log_follows(self.delta, math.exp(log_slope)))[1], log_slope

    def _over_noise(self, log_follows: Floats) -> tuple[float, float]:
        """Maximize over ε at a fixed slope; the likelihood is concave, so its derivative is 0 there."""
        from scipy.optimize import brentq

        follows = np.exp(log_follows)

        def rise(noise: float) -> float:
            with np.errstate(divide="ignore", over="ignore"):
                return float(((1 - 2 * follows) / (follows + noise * (1 - 2 * follows))).sum())

        low, high = 0.0 if follows.min() > 0 else np.finfo(np.float64).tiny, self.most_noise
        noise = 0.0 if high == 0 or rise(low) <= 0 else high if rise(high) >= 0 else brentq(rise, low, high, xtol=1e-10)
        return float(_log_agreement(log_follows, noise).sum()), float(noise)


def _refined(function: Callable[[float], float], grid: Floats, values: Floats) -> tuple[float, float]:
    """Return the maximum near the best point of a grid, and its place."""
    from scipy.optimize import minimize_scalar

    place = int(values.argmax())
    best = float(values[place]), float(grid[place])
    low, high = float(grid[max(place - 1, 0)]), float(grid[min(place + 1, len(grid) - 1)])
    found = minimize_scalar(lambda x: -function(x), bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return max(best, (-float(found.fun), float(found.x)))


def _interval(
    profile: Callable[[float], float], center: float, ends: tuple[float, float], least: float
) -> tuple[float, float]:
    """Return the range around the center where the profile is at least `least`."""
    from scipy.optimize import brentq

    found = []
    for end in ends:
        inside = center == end or profile(end) >= least
        found.append(end if inside else float(brentq(lambda x: profile(x) - least, center, end, xtol=1e-5)))
    return found[0], found[1]
