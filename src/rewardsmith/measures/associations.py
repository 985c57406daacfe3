"""Measure how two quantities move together over a set of rewards or of trained systems."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range, check_same_shape
from rewardsmith.measures.intervals import Estimate, read_column

Array = NDArray[np.float64]
LEAST = 8
"""Fewest units over which a correlation is worth printing."""


class Association(NamedTuple):
    """Correlations over n units, with percentile bootstrap intervals, and the range of both quantities.

    pearson, spearman: of the quantities. partial: Pearson's with `given` held fixed; None without it.
    """

    pearson: Estimate
    spearman: Estimate
    partial: Estimate | None
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    n: int

    def as_text(self) -> str:
        """Return one line with both correlations, n and the ranges."""
        shown = [("r", self.pearson), ("ρ", self.spearman), ("partial r", self.partial)]
        parts = [f"{name} = {e.value:.2f} ({e.low:.2f} to {e.high:.2f})" for name, e in shown if e is not None]
        ranges = [f"{low:.3g} to {high:.3g}" for low, high in (self.x_range, self.y_range)]
        return f"{', '.join(parts)}, n = {self.n}, of {ranges[0]} and {ranges[1]}"


def association(
    x: ArrayLike,
    y: ArrayLike,
    *,
    given: ArrayLike | None = None,
    alpha: float = 0.05,
    n_resamples: int = 2000,
    generator: np.random.Generator | None = None,
) -> Association:
    """Correlate two quantities over units such as reward models, with intervals from resampled units.

        partial r = (r_xy − r_xz r_yz) / √((1 − r_xz²)(1 − r_yz²))

    A correlation belongs to the set of units: the wider they spread in quality, the higher it is. So read it with the
    ranges, and compare two correlations only over the same units.

    Args:
        x, y: (n,) one number per unit; units with NaN in either, or in `given`, are left out.
        given: (n,) what to hold fixed, such as the KL; NaN comes out where x or y is a line in it.
        generator: of the bootstrap; seeded with 0 if None.

    Raises:
        ValueError: fewer than 8 units are left, too few for a correlation.

    >>> found = association(range(10), [0, 2, 1, 3, 4, 5, 6, 7, 9, 8])
    >>> round(found.pearson.value, 3), found.n
    (0.976, 10)
    """
    names = ("x", "y") if given is None else ("x", "y", "given")
    columns = [read_column("association", n, v) for n, v in zip(names, (x, y, given), strict=False)]
    check_same_shape("association", *columns)
    check_range("association", "alpha", alpha, 0, 1)
    table = np.stack(columns)
    table = table[:, np.isfinite(table).all(axis=0)]
    n = table.shape[1]
    if n < LEAST:
        raise ValueError(
            f"association: {n} units are known in all of {', '.join(names)}, and a correlation over fewer than {LEAST} "
            "says nothing. Score more rewards or systems."
        )
    draw = np.random.default_rng(0) if generator is None else generator
    units = draw.integers(n, size=(n_resamples, n))
    both = table[:, np.concatenate([np.arange(n)[None], units])]  # (2 or 3, 1 + R, n), the units as they are first

    def estimate(values: Array) -> Estimate:
        known = values[1:][np.isfinite(values[1:])]
        low, high = np.quantile(known, [alpha / 2, 1 - alpha / 2]).tolist() if len(known) else (-1.0, 1.0)
        return Estimate(float(values[0]), low, high, n)

    r = correlation(both[0], both[1])
    partial = None
    if given is not None:
        xz, yz = correlation(both[0], both[2]), correlation(both[1], both[2])
        apart = np.minimum(1 - xz**2, 1 - yz**2)  # what `given` leaves of both; rounding leaves 1e-16 of nothing
        partial = estimate((r - xz * yz) / np.sqrt(np.where(apart > 1e-12, (1 - xz**2) * (1 - yz**2), np.nan)))
    ranges = [(float(column.min()), float(column.max())) for column in table[:2]]
    return Association(
        estimate(r), estimate(correlation(_ranks(both[0]), _ranks(both[1]))), partial, ranges[0], ranges[1], n
    )


def correlation(x: Array, y: Array) -> Array:
    """Return Pearson's correlation over the last dimension; NaN where either does not vary.

    >>> correlation(np.array([[1.0, 2.0, 3.0]]), np.array([[3.0, 2.0, 1.0]])).tolist()
    [-1.0]
    """
    varies = (np.ptp(x, axis=-1) > 0) & (
        np.ptp(y, axis=-1) > 0
    )  # a mean is rounded, so differences from it may not be 0
    x, y = (v - v.mean(axis=-1, keepdims=True) for v in (x, y))
    size = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    found: Array = (x * y).sum(axis=-1) / np.where(varies & (size > 0), size, np.nan)
    return found


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    ranks: Array = rankdata(values, axis=-1)
    return ranks
