"""Measure what a benchmark of rewards foretells about policies that optimize them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range, check_shape
from rewardsmith.measures.associations import Association, association
from rewardsmith.measures.best_of_n import best_of_n_curve, tilted_curve

Array = NDArray[np.float64]


class Optimized(NamedTuple):
    """(R,) mean gold of the best of n by each reward, and of the policy tilted to one KL; NaN where out of reach."""

    best_of_n: Array
    tilted: Array


class DownstreamStudy(NamedTuple):
    """Gold after optimizing each reward, and by benchmark its correlation with both kinds of gold over rewards."""

    optimized: Optimized
    best_of_n: dict[str, Association]
    tilted: dict[str, Association]


def optimized_gold(rewards: ArrayLike, gold: ArrayLike, *, n: int = 16, kl: float = 1.0) -> Optimized:
    """Return the gold that each reward of a zoo reaches on the same sampled completions.

    Args:
        rewards: (R, P, M) scores by R rewards of M completions for each of P prompts; NaN where unscored. A completion
            that one reward leaves unscored is left out for all, so that none gains by abstaining from what is wrong. A
            reward without any score is NaN.
        gold: (P, M) true rewards, such as correctness.
        n: candidates of best-of-n (`best_of_n_curve`).
        kl: mean KL of the tilted policy to the start policy, in nats (`tilted_curve`).

    >>> optimized_gold([[[0.0, 1.0, 2.0]], [[2.0, 1.0, 0.0]]], [[0.0, 0.0, 1.0]], n=3, kl=0.1).best_of_n.tolist()
    [1.0, 0.0]
    """
    scores, truth = np.array(rewards, dtype=np.float64), np.array(gold, dtype=np.float64)
    check_shape("optimized_gold", "rewards", scores, None, *truth.shape)
    check_range("optimized_gold", "kl", kl, 1e-9, math.inf)
    known = np.isfinite(scores)
    scored = np.any(known, axis=(1, 2)).tolist()
    scores[:, ~known[scored].all(axis=0)] = np.nan
    found: list[tuple[float, float]] = []
    for own, has_score in zip(scores, scored, strict=True):
        if not has_score:
            found.append((math.nan, math.nan))
            continue
        best = best_of_n_curve(own, truth, n=[n], n_resamples=1).gold
        curve = tilted_curve(own, truth, kl=[0.0, kl], n_resamples=1, least_effective=1.0)
        reached = curve.gold is not None and len(curve.strength) == 2
        found.append((float(best.mean[0]) if best else math.nan, float(curve.gold.mean[1]) if reached else math.nan))  # type: ignore[union-attr]
    return Optimized(*np.array(found).T)


def downstream_study(
    benchmarks: Mapping[str, ArrayLike],
    rewards: ArrayLike,
    gold: ArrayLike,
    *,
    n: int = 16,
    kl: float = 1.0,
    alpha: float = 0.05,
    generator: np.random.Generator | None = None,
) -> DownstreamStudy:
    """Correlate benchmark scores with gold after optimization, over the rewards of a zoo.

    As in Malik et al. 2025, arXiv:2506.01937 (113 rewards, best of 16), and Kim et al. 2024, arXiv:2410.01729. A high
    correlation is cheap in a zoo from useless to good rewards; see the ranges, and compare benchmarks on one zoo. It
    is no forecast for a policy of another family or other prompts.

    Args:
        benchmarks: (R,) score of each reward, by the benchmark's name; NaN where unknown.
        rewards, gold, n, kl: as in `optimized_gold`.
        alpha, generator: of the bootstrap over rewards (`association`); 8 rewards at least.

    >>> zoo = np.random.default_rng(0).normal(size=(9, 20, 8)) + np.linspace(0, 3, 9)[:, None, None] * np.eye(8)[0]
    >>> found = downstream_study({"bench": np.linspace(0, 1, 9)}, zoo, np.tile(np.eye(8)[0], (20, 1)), n=4)
    >>> found.best_of_n["bench"].pearson.value > 0.9
    True
    """
    reached = optimized_gold(rewards, gold, n=n, kl=kl)

    def over(values: Array) -> dict[str, Association]:
        return {
            name: association(scores, values, alpha=alpha, generator=generator) for name, scores in benchmarks.items()
        }

    return DownstreamStudy(reached, over(reached.best_of_n), over(reached.tilted))
