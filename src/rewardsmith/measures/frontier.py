"""Find the best trade-offs of several objectives, and the volume that they reach."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def pareto_front(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which points no other point beats: nowhere lower and somewhere higher.

    Args:
        points: (N, K) values of K objectives, higher is better; a point with NaN is not on the front and beats none.

    Returns:
        (N,) bool; equal points are both on the front or both not.

    >>> pareto_front([[1.0, 3.0], [2.0, 2.0], [1.0, 2.0]]).tolist()
    [True, True, False]
    """
    table = _points("pareto_front", points)
    no_worse, better = table[:, None] >= table[None], table[:, None] > table[None]  # (N, N, K) row over column
    beaten = np.any(np.all(no_worse, axis=-1) & np.any(better, axis=-1), axis=0)
    front: NDArray[np.bool_] = ~beaten & ~np.isnan(table).any(axis=1)
    return front


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume of the space that some point beats, above a reference point.

        volume of ∪ₙ Πₖ [reference_k, x_nk]

    Zitzler and Thiele 1998. Values compare only at one reference, in objectives of one scale: normalize them first, and
    fix the reference before the run. It is exact and slices the last objective, in time N^(K−1) log N.

    Args:
        points: (N, K), higher is better. A point that is not above the reference in every objective adds nothing.
        reference: (K,) the worst value of each objective that counts.

    >>> hypervolume([[2.0, 1.0], [1.0, 3.0]], [0.0, 0.0])  # 2 · 1 + 1 · 3 − 1 · 1
    4.0
    """
    table, origin = _points("hypervolume", points), np.array(reference, dtype=np.float64)
    if origin.shape != table.shape[1:] or not np.isfinite(origin).all():
        raise ValueError(
            f"hypervolume: the reference is {origin.tolist()} for {table.shape[1]} objectives. Pass a finite number "
            "for each, the worst value that counts."
        )
    above = table - origin
    return _volume(above[(above > 0).all(axis=1)])


def _volume(above: Array) -> float:
    """Return the volume from 0 of positive points (N, K), summed over slices of the last objective."""
    if not len(above):
        return 0.0
    if above.shape[1] == 1:
        return float(above.max())
    levels = np.unique(above[:, -1])
    heights = np.diff(levels, prepend=0.0)
    return math.fsum(
        height * _volume(above[above[:, -1] >= level, :-1])
        for level, height in zip(levels.tolist(), heights.tolist(), strict=True)
    )


def _points(caller: str, points: ArrayLike) -> Array:
    table = np.array(points, dtype=np.float64)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"{caller}: points have shape {table.shape}. Pass (points, objectives).")
    return table
