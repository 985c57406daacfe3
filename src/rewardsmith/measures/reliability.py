"""Measure how much of the true score a reward explains, overall and bin by bin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_groups, check_range
from rewardsmith.measures.intervals import read_column
from rewardsmith.types import needed_by

Array = NDArray[np.float64]


class RewardBin(NamedTuple):
    """The kept rows with rewards in [low, high]: number, weighted means, and spread."""

    low: float
    high: float
    n: int
    rewards: float
    gold: float
    gold_std: float


class Reliability(NamedTuple):
    """Share of the true score that a linear fit on the rewards explains.

    r2: share of the gold's variance explained over the kept rows; NaN if rewards or gold are constant.
    interval: 95 % percentile bootstrap over groups.
    binned_r2: the same for the means of `by_bin`, each counted once. It ignores noise in the gold, such as from one
        pass/fail run, and so hides it. NaN with fewer than two bins.
    slope: gold per unit of reward; R² is as high for a negative one.
    n: kept rows.
    by_bin: bins of about equally many kept rows, upward; equal rewards share a bin, so there may be fewer.
    """

    r2: float
    interval: tuple[float, float]
    binned_r2: float
    slope: float
    n: int
    by_bin: tuple[RewardBin, ...]


class FilterChoice(NamedTuple):
    """One filter and its rank.

    behind: R² of the best filter less this one's.
    behind_interval: 95 %, with both filters on the same resamples; no clear difference if it holds 0.
    """

    name: str
    reliability: Reliability
    behind: float
    behind_interval: tuple[float, float]


class _Rows(NamedTuple):
    """Kept rows, centered and scaled so that squares neither cancel nor overflow; group: the prompt's number."""

    rewards: Array
    gold: Array
    weights: Array
    group: NDArray[np.intp]
    n_groups: int

    def sums(self) -> Array:
        """Return (groups, 6) Σw, Σwr, Σwg, Σwr², Σwg², Σwrg, which suffice for a fit and for resampling groups."""
        r, g = _unit(self.rewards, self.weights), _unit(self.gold, self.weights)
        terms = np.stack([np.ones_like(r), r, g, r * r, g * g, r * g], axis=1) * self.weights[:, None]
        totals = np.zeros((self.n_groups, 6))
        np.add.at(totals, self.group, terms)
        return totals


def reward_reliability(
    rewards: ArrayLike,
    gold: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    bins: int = 10,
    group_size: int = 1,
    n_resamples: int = 1000,
    generator: np.random.Generator | None = None,
) -> Reliability:
    """Measure how well a reward predicts the true score, on the rows that a filter keeps.

        R² = 1 − min_{a,b} Σ w (gold − a − b·r)² / Σ w (gold − mean gold)² = corr_w(r, gold)²

    Zhang, Shen et al. 2024, arXiv:2409.06957: of several filters, train with the one whose kept samples have the
    largest R². A reward's errors usually vary over its scale; `by_bin` shows where.
    Differs: the paper fits binned samples; `r2` fits the samples themselves and `binned_r2` the means of the bins.

    Args:
        rewards: (B,) rewards; None, NaN and ±inf are unscored and left out.
        gold: (B,) the true score of the same rows, such as the share of unit tests passed; likewise.
        weights: (B,) a filter's weights, 0 for a dropped row; equal if None.
        group_size: completions per prompt, consecutive; prompts are resampled whole.
        generator: of the bootstrap; seeded with 0 if None, so that the same rows give the same interval.

    >>> reward_reliability([0.0, 1.0, 2.0, 3.0], [0.1, 0.3, 0.5, 0.7]).r2
    1.0
    """
    rows = _kept("reward_reliability", rewards, gold, weights, group_size)
    check_range("reward_reliability", "bins", bins, 1, math.inf)
    return _measured(rows, bins, n_resamples, generator)[0]


def choose_filter(
    rewards: ArrayLike,
    gold: ArrayLike,
    filters: Mapping[str, Callable[..., Any]],
    *,
    group_size: int,
    bins: int = 10,
    n_resamples: int = 1000,
    generator: np.random.Generator | None = None,
) -> tuple[FilterChoice, ...]:
    """Rank filters by the reliability of the rows they keep, best first; undefined ones come last.

    Zhang, Shen et al. 2024, arXiv:2409.06957. Draw completions of the current policy on held-out prompts with known
    true scores. Compare filters that keep similar numbers of rows, as R² ignores the cost of a smaller batch.

    Args:
        rewards, gold: (B,) as in `reward_reliability`, a prompt's completions consecutive.
        filters: as a trainer's `sample_filter`: maps (B,) rewards, a torch tensor, to (B,) weights; it gets
            `group_size` if it has that parameter, as `rank_filter` does.
        generator: of the bootstrap, which resamples the same prompts for every filter; seeded with 0 if None.
    """
    from rewardsmith._torch import torch

    if not filters:
        raise ValueError("choose_filter: no filters given. Name at least one, and one that keeps all rows.")
    check_range("choose_filter", "bins", bins, 1, math.inf)
    column = read_column("choose_filter", "rewards", rewards)
    seed = int((np.random.default_rng(0) if generator is None else generator).integers(2**63))
    found: dict[str, tuple[Reliability, Array]] = {}
    for name, function in filters.items():
        asked = needed_by(f"choose_filter: filter {name!r}", function, {"group_size": group_size})  # as by a trainer
        given = function(torch.from_numpy(column.copy()), **asked.given)
        weights = read_column("choose_filter", f"filter {name!r}", given)
        if len(weights) != len(column):
            raise ValueError(
                f"choose_filter: filter {name!r} returned {len(weights)} weights for {len(column)} rows. "
                "Return one per row."
            )
        rows = _kept(f"choose_filter: filter {name!r}", rewards, gold, weights, group_size)
        found[name] = _measured(rows, bins, n_resamples, np.random.default_rng(seed))
    ranked = sorted(found, key=lambda name: np.nan_to_num(-found[name][0].r2, nan=math.inf))
    best, best_draws = found[ranked[0]]
    return tuple(
        FilterChoice(name, own, best.r2 - own.r2, _interval(best_draws - draws))
        for name, (own, draws) in ((name, found[name]) for name in ranked)
    )


def _kept(caller: str, rewards: ArrayLike, gold: ArrayLike, weights: ArrayLike | None, group_size: int) -> _Rows:
    r, g = read_column(caller, "rewards", rewards), read_column(caller, "gold", gold)
    w = np.ones_like(r) if weights is None else read_column(caller, "weights", weights)
    if not len(r) == len(g) == len(w):
        raise ValueError(f"{caller}: rewards, gold and weights have {len(r)}, {len(g)} and {len(w)} rows. Align them.")
    check_groups(caller, len(r), group_size)
    if not np.isfinite(w).all() or (w < 0).any():
        raise ValueError(f"{caller}: weights are negative or not finite. Give 0 for a row to drop.")
    kept = np.isfinite(r) & np.isfinite(g) & (w > 0)
    group = np.arange(len(r)) // group_size
    return _Rows(r[kept], g[kept], w[kept], group[kept], len(r) // group_size)


def _unit(values: Array, weights: Array) -> Array:
    """Center the values and divide by the largest deviation; 0 if all are equal."""
    if not len(values) or values.min() == values.max():
        return np.zeros_like(values)
    halved = values / 2 - np.average(values / 2, weights=weights)  # a difference of two finite numbers may overflow
    scaled: Array = halved / np.abs(halved).max()
    return scaled


def _r2(sums: Array) -> Array:
    """Return (...) R² from the (..., 6) sums of `_Rows.sums`; NaN if either side is constant."""
    total = np.where(sums[..., 0] > 0, sums[..., 0], np.nan)
    mean_r, mean_g = sums[..., 1] / total, sums[..., 2] / total
    var_r, var_g = sums[..., 3] / total - mean_r**2, sums[..., 4] / total - mean_g**2
    varies = (var_r > 1e-12) & (var_g > 1e-12)  # of a range of about 1; less is rounding
    product = np.where(varies, var_r * var_g, np.nan)
    squared: Array = np.minimum((sums[..., 5] / total - mean_r * mean_g) ** 2 / product, 1.0)
    return squared


def _interval(draws: Array) -> tuple[float, float]:
    """Return the central 95 % of the finite draws; NaN if there are none."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _measured(
    rows: _Rows, bins: int, n_resamples: int, generator: np.random.Generator | None
) -> tuple[Reliability, Array]:
    """Return the reliability of the rows, and (n_resamples,) R² with groups drawn with replacement."""
    check_range("reward_reliability", "n_resamples", n_resamples, 1, math.inf)
    generator = np.random.default_rng(0) if generator is None else generator
    sums, n = rows.sums(), rows.n_groups
    drawn = [np.bincount(generator.integers(n, size=n), minlength=n) @ sums for _ in range(n_resamples if n else 0)]
    draws = _r2(np.array(drawn).reshape(-1, 6))
    r2, slope, by_bin = float(_r2(sums.sum(axis=0))), math.nan, []
    if len(rows.rewards):
        inner = np.unique(np.quantile(rows.rewards, np.arange(1, bins) / bins))
        place = np.searchsorted(inner, rows.rewards, side="right")  # equal rewards share a bin
        for index in np.unique(place):
            r, g, w = (column[place == index] for column in (rows.rewards, rows.gold, rows.weights))
            gold = float(np.average(g, weights=w))
            spread = math.sqrt(np.average((g - gold) ** 2, weights=w))
            mean = float(np.average(r, weights=w))
            by_bin.append(RewardBin(float(r.min()), float(r.max()), len(r), mean, gold, spread))
        if rows.rewards.min() < rows.rewards.max():
            scale = np.abs(rows.rewards).max()  # so that squares stay in range
            r = rows.rewards / scale - np.average(rows.rewards / scale, weights=rows.weights)
            slope = float((rows.weights * r * rows.gold).sum() / (rows.weights * r * r).sum() / scale)
    r, g = (np.array([getattr(own, name) for own in by_bin], dtype=np.float64) for name in ("rewards", "gold"))
    means = _Rows(r, g, np.ones(len(r)), np.arange(len(r)), len(r))
    interval = (math.nan, math.nan) if math.isnan(r2) else _interval(draws)
    binned_r2 = float(_r2(means.sums().sum(axis=0)))
    return Reliability(r2, interval, binned_r2, slope, len(rows.rewards), tuple(by_bin)), draws
