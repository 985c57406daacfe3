"""Measure accuracy on preference pairs: by query, by shared prefix, and between two rewards."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith._check import check_range
from rewardsmith.measures.intervals import Share, share_right


class AccPlus(NamedTuple):
    """acc: share of pairs ranked correctly; acc_plus: share of queries with every pair correct."""

    acc: Share
    acc_plus: Share


def acc_and_acc_plus(scores: ArrayLike, query_id: Sequence[Hashable], *, alpha: float = 0.05) -> AccPlus:
    """Return accuracy over pairs, and over queries whose pairs must all be correct.

        ACC = 1/n Σ 1[r(c) > r(r)]        ACC+ = 1/Q Σ_q Π_{pairs of q} 1[r(c) > r(r)]

    Zhang et al. 2025, arXiv:2502.10391 (MM-RLHF-RewardBench). A tie is wrong. At chance ACC+ is ½ to the number of
    pairs per query, so compare ACC+ only between rewards on the same queries.

    Args:
        scores: (n, 2) of the preferred and of the other response; a pair with None or NaN is left out.
        query_id: n query ids. A query with an unscored pair is wrong if another of its pairs is, and else left out.

    Returns:
        both with Wilson intervals; that of ACC allows for pairs that share a query.

    >>> both = acc_and_acc_plus([[1.0, 0.0], [1.0, 2.0], [3.0, 0.0]], ["a", "a", "b"])
    >>> round(both.acc.value, 3), both.acc_plus.value
    (0.667, 0.5)
    """
    right = _right("acc_and_acc_plus", scores, query_id)
    queries: dict[Hashable, list[bool | None]] = defaultdict(list)
    for hit, query in zip(right, query_id, strict=True):
        queries[query].append(hit)
    every = [False if False in hits else (None if None in hits else True) for hits in queries.values()]
    whole = [hit for hit in every if hit is not None]
    return AccPlus(share_right(right, query_id, alpha=alpha), share_right(whole, alpha=alpha))


def sibling_accuracy(
    scores: ArrayLike,
    shared_prefix: Sequence[int],
    *,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
) -> dict[int, Share]:
    """Return accuracy by the number of segments that a pair's responses share.

    Qiu et al. 2024, arXiv:2402.10184. A reward that ranks unrelated responses well may fail on near-identical ones, as
    in beam search, tree search and late GRPO groups. The remedy is pairs from trees of responses (`data.grow_tree`).

    Args:
        scores: (n, 2) as in `acc_and_acc_plus`.
        shared_prefix: n numbers of shared segments (`data.preference_trees.TreePair.shared`).
        clusters: n tree ids, which widen the intervals; pairs are independent if None.

    Returns:
        shared segments → accuracy with its Wilson interval, upward.

    >>> {depth: share.value for depth, share in sibling_accuracy([[1, 0], [0, 1], [2, 0]], [0, 2, 0]).items()}
    {0: 1.0, 2: 0.0}
    """
    right = _right("sibling_accuracy", scores, shared_prefix)
    names: Sequence[Hashable] = range(len(right)) if clusters is None else clusters
    if len(names) != len(right):
        raise ValueError(f"sibling_accuracy: got {len(right)} pairs and {len(names)} clusters. Pass one per pair.")
    by_depth: dict[int, list[int]] = defaultdict(list)
    for row, depth in enumerate(shared_prefix):
        by_depth[int(depth)].append(row)
    return {
        depth: share_right([right[row] for row in rows], [names[row] for row in rows], alpha=alpha)
        for depth, rows in sorted(by_depth.items())
    }


class AccuracyGap(NamedTuple):
    """Accuracy of two rewards on the same pairs; ties count half.

    gap: accuracy_a − accuracy_b; low, high: 95 % paired bootstrap. n: pairs that both could score.
    """

    accuracy_a: float
    accuracy_b: float
    gap: float
    low: float
    high: float
    n: int


def accuracy_gap(
    margins_a: ArrayLike,
    margins_b: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    n_resamples: int = 1000,
    generator: np.random.Generator | None = None,
) -> AccuracyGap:
    """Compare the accuracy of two rewards on the same pairs, from their margins (chosen minus rejected).

    Args:
        margins_a, margins_b: (n,); a pair that is NaN in either is left out of both.
        clusters: (n) what pairs share, such as the prompt; pairs are independent if None.
        generator: of the bootstrap; seeded with 0 if None, so that the same margins give the same interval.

    >>> accuracy_gap([1.0, 2.0, 3.0, 1.0], [1.0, -2.0, -3.0, 0.0])[:3]
    (1.0, 0.375, 0.625)
    """
    a, b = (np.asarray(margins, dtype=np.float64) for margins in (margins_a, margins_b))
    if a.shape != b.shape or a.ndim != 1 or (clusters is not None and len(clusters) != len(a)):
        raise ValueError(
            f"accuracy_gap: margins of shapes {a.shape} and {b.shape} with "
            f"{'no' if clusters is None else len(clusters)} clusters do not belong to one list of pairs. Align them."
        )
    check_range("accuracy_gap", "n_resamples", n_resamples, 1, math.inf)
    kept = ~(np.isnan(a) | np.isnan(b))
    if not kept.any():
        nan = math.nan
        return AccuracyGap(nan, nan, nan, nan, nan, 0)
    hits = np.stack([(np.sign(column[kept]) + 1) / 2 for column in (a, b)])  # (2, n)
    names = list(range(len(a))) if clusters is None else list(clusters)
    place = {name: index for index, name in enumerate(dict.fromkeys(n for n, k in zip(names, kept, strict=True) if k))}
    cluster = np.array([place[n] for n, k in zip(names, kept, strict=True) if k])
    total, count = np.bincount(cluster, weights=hits[0] - hits[1]), np.bincount(cluster).astype(np.float64)
    draw, n = generator or np.random.default_rng(0), len(total)
    means = []
    for _ in range(n_resamples):
        times = np.bincount(draw.integers(n, size=n), minlength=n)
        means.append(float(times @ total / (times @ count)))
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    accuracy_a, accuracy_b = hits.mean(axis=1).tolist()
    return AccuracyGap(accuracy_a, accuracy_b, accuracy_a - accuracy_b, low, high, int(kept.sum()))


def _right(caller: str, scores: ArrayLike, rows: Sequence[object]) -> list[bool | None]:
    """Return per pair whether the preferred response scores higher; None if either is unscored."""
    table = np.array(scores, dtype=np.float64)
    table = table.reshape(0, 2) if table.size == 0 else table
    if table.ndim != 2 or table.shape[1] != 2 or len(table) != len(rows):
        raise ValueError(
            f"{caller}: scores have shape {table.shape} for {len(rows)} pairs. Pass (n, 2), the preferred first."
        )
    return [None if math.isnan(chosen) or math.isnan(other) else bool(chosen > other) for chosen, other in table]
