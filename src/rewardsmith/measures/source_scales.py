"""Measure the scales of summed sources on groups of completions, and which source dominates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 400


@dataclass(frozen=True)
class SourceTable:
    """Scores of the same rows by every source, and each source's part of the rows' reward.

    names: K; rewards: (n, K), NaN where missing; groups: (n,) a number per group.
    parts: (n, K) each source's part of a row's reward; total: (n,) that reward, NaN where unscored.
    used: (K,) False for a source with weight 0, which is only logged.
    """

    names: tuple[str, ...]
    rewards: Floats
    groups: NDArray[np.int64]
    parts: Floats
    total: Floats
    used: NDArray[np.bool_]


def weighted_table(names: tuple[str, ...], weights: Floats, rewards: Floats, groups: NDArray[np.int64]) -> SourceTable:
    """Make the table of a weighted sum; a missing source's weight goes to the others (`transforms.weighted_sum`)."""
    present = ~np.isnan(rewards) & (weights != 0)
    size = np.abs(weights)
    found = np.where(present, size, 0.0).sum(axis=1, keepdims=True)
    factor = np.divide(size.sum(), found, out=np.zeros_like(found), where=found > 0)
    parts = np.where(present, rewards, 0.0) * weights * factor
    total = np.where(found[:, 0] > 0, parts.sum(axis=1), np.nan)
    return SourceTable(names, rewards, groups, parts, total, weights != 0)


def combined_table(
    names: tuple[str, ...], rewards: Floats, groups: NDArray[np.int64], combine: Callable[[Floats], Floats]
) -> SourceTable:
    """Make the table of any combination; a source's part is its effect when held at its group's mean.

        part_k = combine(r) − combine(r with r_k held at its group's mean)

    For a weighted sum this is w_k (r_k − r̄_k), so that both tables agree.

    Args:
        combine: (n, K) rewards of all sources to (n,) rewards.
    """
    total = combine(rewards)
    known = ~np.isnan(rewards)
    means = group_means(rewards, known, groups, int(groups.max()) + 1)
    parts = np.zeros_like(rewards)
    for k in range(rewards.shape[1]):
        held = rewards.copy()
        held[:, k] = np.where(known[:, k], means[:, k], np.nan)
        parts[:, k] = np.nan_to_num(total - combine(held))
    return SourceTable(names, rewards, groups, parts, total, np.ones(len(names), dtype=bool))


class Scales(NamedTuple):
    """Spread within groups. std: (K,) over the groups in which a source varies, NaN if it never does;
    alive: (K,) share of groups in which it varies; stds: (R, K) std over resampled groups."""

    std: Floats
    alive: Floats
    stds: Floats


class Dominance(NamedTuple):
    """share: (K,) of the variance of the weighted sum within groups, summing to 1; shares: (R, K) resampled."""

    share: Floats
    shares: Floats


def source_scales(
    rewards: Floats, groups: NDArray[np.int64], *, generator: np.random.Generator, resamples: int = RESAMPLES
) -> Scales:
    """Measure each source's spread (or its parts') within groups in which it varies.

        s_k² = Σ_g Σ_i (r_gik − r̄_gk)² / Σ_g (n_gk − 1)    over the groups g in which source k varies

    Constant groups are left out, so that a format that nearly all completions keep does not count as a small scale.
    """
    n_groups = int(groups.max()) + 1
    known = ~np.isnan(rewards)
    counts = per_group(known, groups, n_groups)
    deviations = np.where(known, rewards - group_means(rewards, known, groups, n_groups), 0.0)
    squares = per_group(deviations**2, groups, n_groups)  # (P, K)
    unit = np.nanmax(np.abs(rewards), axis=0, initial=0.0, where=known)
    live = (counts > 1) & (squares > (1e-9 * unit) ** 2)
    squares, freedom = np.where(live, squares, 0.0), np.where(live, counts - 1, 0.0)
    judged = np.maximum((counts > 1).sum(axis=0), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        std = np.sqrt(squares.sum(axis=0) / freedom.sum(axis=0))
        drawn = _draws(n_groups, generator, resamples)
        stds = np.sqrt((drawn @ squares) / (drawn @ freedom))
    return Scales(std, live.sum(axis=0) / judged, stds)


def source_dominance(table: SourceTable, *, generator: np.random.Generator, resamples: int = RESAMPLES) -> Dominance:
    """Measure each source's share of the variance within groups.

    share_k = Σ_g cov_g(c_k, u) / Σ_g var_g(u),    u the reward,  c_k the part of source k in it

    The shares of a weighted sum add up to 1.
    """
    n_groups = int(table.groups.max()) + 1
    total = table.total[:, None]
    known = ~np.isnan(total)
    total = np.where(known, total - group_means(total, known, table.groups, n_groups), 0.0)
    cross = per_group(table.parts * total, table.groups, n_groups)  # (P, K)
    variance = per_group(total**2, table.groups, n_groups)  # (P, 1)
    drawn = _draws(n_groups, generator, resamples)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Dominance(cross.sum(axis=0) / variance.sum(), (drawn @ cross) / (drawn @ variance))


def per_group(values: NDArray[Any], groups: NDArray[np.int64], n_groups: int) -> Floats:
    total = np.zeros((n_groups, values.shape[1]))
    np.add.at(total, groups, values)
    return total


def group_means(values: Floats, known: NDArray[np.bool_], groups: NDArray[np.int64], n_groups: int) -> Floats:
    """Return (n, K) means over the known rows of each row's group."""
    counts = per_group(known, groups, n_groups)
    sums = per_group(np.where(known, values, 0.0), groups, n_groups)
    means: Floats = (sums / np.maximum(counts, 1))[groups]
    return means


def _draws(n_groups: int, generator: np.random.Generator, resamples: int) -> Floats:
    """Return (R, P) counts of how often each group was drawn."""
    return generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples).astype(np.float64)
