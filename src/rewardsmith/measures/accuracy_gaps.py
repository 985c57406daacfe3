"""How much more accurate one reward is than another on the same preference pairs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith._check import check_range


class AccuracyGap(NamedTuple):
    """Two rewards on the same pairs; ties count half.

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
    """Compare two rewards on the same pairs, from their margins, chosen minus rejected.

    Args:
        margins_a, margins_b: (n,); a pair that is NaN in either is left out of both.
        clusters: (n) what goes together, such as the prompt; pairs alone if None.
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
