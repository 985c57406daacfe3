"""Measure what weights between aspects gain in one aspect and cost in the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith._check import check_groups
from rewardsmith.measures.frontier import pareto_front
from rewardsmith.measures.intervals import mean_interval, mean_or_nan


class AspectMean(NamedTuple):
    """An aspect's mean over the chosen completions less that over all, and its interval over prompts."""

    name: str
    gain: float
    low: float
    high: float


class Tradeoff(NamedTuple):
    """Effect of one set of weights on the chosen completions.

    aspects: the gain of each aspect.
    segments: likewise of the number of segments; None without `n_segments`. A gain that grows with a weight means that
        the weight would reward longer answers.
    on_frontier: whether no other weights have every aspect at least as high and one higher.
    n: prompts with at least two completions scored on every aspect.
    """

    weights: tuple[float, ...]
    aspects: tuple[AspectMean, ...]
    segments: AspectMean | None
    on_frontier: bool
    n: int


def aspect_tradeoff(
    source_rewards: ArrayLike,
    weights: ArrayLike,
    *,
    group_size: int,
    names: Sequence[str] | None = None,
    n_segments: ArrayLike | None = None,
    alpha: float = 0.05,
) -> tuple[Tradeoff, ...]:
    """Measure before training how each choice of weights would move every aspect.

    Wu et al. 2023, arXiv:2306.01693, steer answers toward long, medium or short ones by weights. For each set of
    weights the completion with the largest Σ_k w_k r_k of a prompt's group is chosen, as by best-of-n, and compared
    with the group's mean. Ties count equally.

    Args:
        source_rewards: (B, K) aspects' totals, a prompt's completions consecutive. Completions with None, NaN or ±inf
            are left out.
        weights: (W, K).
        names: K names of the aspects; their numbers if None.
        n_segments: (B,) number of segments of each completion.

    Returns:
        one per set of weights, in their order.

    >>> both = aspect_tradeoff([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.0, 1.0]], group_size=2)
    >>> [[aspect.gain for aspect in row.aspects] for row in both]
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    rewards, grid = np.array(source_rewards, dtype=np.float64), np.array(weights, dtype=np.float64)
    if rewards.ndim != 2 or grid.ndim != 2 or rewards.shape[1] != grid.shape[1] or not np.isfinite(grid).all():
        raise ValueError(
            f"aspect_tradeoff: source_rewards {rewards.shape} and weights {grid.shape} must be (B, K) and (W, K), the "
            "weights finite. Give each aspect a column in both."
        )
    check_groups("aspect_tradeoff", len(rewards), group_size)
    labels = [str(k) for k in range(rewards.shape[1])] if names is None else list(names)
    if len(labels) != rewards.shape[1]:
        raise ValueError(f"aspect_tradeoff: got {len(labels)} names for {rewards.shape[1]} aspects. Name each once.")
    columns = rewards
    if n_segments is not None:
        counts = np.array(n_segments, dtype=np.float64)
        if counts.shape != rewards.shape[:1]:
            raise ValueError(f"aspect_tradeoff: n_segments is {counts.shape}, not ({len(rewards)},). Pass one per row.")
        columns, labels = np.column_stack([rewards, counts]), [*labels, "segments"]
    known = np.isfinite(columns).all(axis=1).reshape(-1, group_size)
    kept = known.sum(axis=1) >= 2
    known, n_aspects = known[kept], rewards.shape[1]
    filled = np.where(known[..., None], columns.reshape(-1, group_size, columns.shape[1])[kept], 0.0)  # (P, G, columns)
    gains = []
    for row in grid:
        totals = np.where(known, filled[..., :n_aspects] @ row, -np.inf)
        best = totals == totals.max(axis=1, keepdims=True)
        chosen = (filled * best[..., None]).sum(axis=1) / best.sum(axis=1, keepdims=True)
        gains.append(chosen - filled.sum(axis=1) / known.sum(axis=1, keepdims=True))
    means = np.array([[mean_or_nan(column) for column in gain.T[:n_aspects]] for gain in gains])
    found = []
    for row, gain, is_best in zip(grid, gains, pareto_front(means).tolist(), strict=True):
        aspects = tuple(
            AspectMean(label, mean_or_nan(column), *mean_interval(column, alpha=alpha))
            for label, column in zip(labels, gain.T.tolist(), strict=True)
        )
        segments = aspects[n_aspects] if n_segments is not None else None
        found.append(Tradeoff(tuple(row.tolist()), aspects[:n_aspects], segments, is_best, int(kept.sum())))
    return tuple(found)
