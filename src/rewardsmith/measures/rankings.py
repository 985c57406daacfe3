"""Accuracy of a reward on preference pairs: by query, where every pair must be right, and by how much a pair shares."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith.measures.intervals import Share, share_right


class AccPlus(NamedTuple):
    """acc: share of pairs ranked right; acc_plus: share of queries of which every pair is."""

    acc: Share
    acc_plus: Share


def acc_and_acc_plus(scores: ArrayLike, query_id: Sequence[Hashable], *, alpha: float = 0.05) -> AccPlus:
    """Accuracy over pairs, and over queries all of whose pairs must be right.

        ACC = 1/n Σ 1[r(c) > r(r)]        ACC+ = 1/Q Σ_q Π_{pairs of q} 1[r(c) > r(r)]

    Zhang et al. 2025, arXiv:2502.10391 (MM-RLHF-RewardBench). A tie is wrong. A reward that is right on pairs by chance
    has an ACC+ of ½ to the number of pairs, so compare ACC+ only between rewards on the same queries.

    Args:
        scores: (n, 2) of the preferred and of the other response; None and NaN are unscored: the pair is left out.
        query_id: n; what the pairs of a query share. A query with an unscored pair is wrong if another of its pairs is,
            and else left out.

    Returns:
        both with Wilson intervals; that of ACC counts pairs of one query as one where they go together.

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
    """Accuracy by how many segments the two responses of a pair share.

    Qiu et al. 2024, arXiv:2402.10184. A reward that tells unrelated responses apart may fail on near-identical ones,
    and those are what beam search, tree search and late GRPO groups ask it about. The remedy is pairs from trees of
    responses (`data.grow_tree`).

    Args:
        scores: (n, 2) as in `acc_and_acc_plus`.
        shared_prefix: n numbers of shared segments (`data.TreePair.shared`).
        clusters: n; what pairs of one tree share, to widen the intervals by; every pair for itself if None.

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


def _right(caller: str, scores: ArrayLike, rows: Sequence[object]) -> list[bool | None]:
    """Per pair whether the preferred response scores more; None where either is unscored."""
    table = np.array(scores, dtype=np.float64)
    table = table.reshape(0, 2) if table.size == 0 else table
    if table.ndim != 2 or table.shape[1] != 2 or len(table) != len(rows):
        raise ValueError(
            f"{caller}: scores have shape {table.shape} for {len(rows)} pairs. Pass (n, 2), the preferred first."
        )
    return [None if math.isnan(chosen) or math.isnan(other) else bool(chosen > other) for chosen, other in table]
