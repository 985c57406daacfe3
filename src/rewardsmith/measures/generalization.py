"""Rates of rare behavior for every checkpoint in every environment."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_choice
from rewardsmith.measures.intervals import most_share, wilson_interval


class GeneralizationMatrix(NamedTuple):
    """(K, J) rates of K checkpoints in J environments, the ends of their intervals, and the episodes behind each."""

    rate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]


def generalization_matrix(
    counts: ArrayLike, n: ArrayLike, *, interval: Literal["wilson", "exact"] = "wilson", alpha: float = 0.05
) -> GeneralizationMatrix:
    """Return how often each checkpoint shows a behavior in each environment, with an interval for each.

        p_{k,j} = counts_{k,j} / n_{k,j}

    Rates of rare behavior are no means to compare by a t-test: with 0 of n the rate may still be of the size 3.7 / n.
    Denison et al. 2024, arXiv:2406.10162, for training on early stages and measuring in later ones.

    Args:
        counts: (K, J) episodes with the behavior.
        n: episodes, a number or broadcast to (K, J); where it is 0, the rate is NaN and the interval 0 to 1.
        interval: "wilson", or "exact" for Clopper and Pearson 1934, which is never too short.
        alpha: of both sides together.

    >>> found = generalization_matrix([[0], [45]], [[100_000], [32_768]], interval="exact")
    >>> found.rate[1, 0].round(5), found.high[0, 0].round(7)
    (np.float64(0.00137), np.float64(3.69e-05))
    """
    check_choice("generalization_matrix", "interval", interval, ("wilson", "exact"))
    given = np.asarray(counts)
    hits, total = np.broadcast_arrays(given, np.asarray(n))
    bad = (hits < 0) | (hits > total) | (hits != np.floor(hits)) | (total != np.floor(total)) | ~np.isfinite(total)
    if given.ndim != 2 or hits.shape != given.shape or bad.any():
        raise ValueError(
            f"generalization_matrix: counts of shape {given.shape} and n of shape {np.shape(n)} are not whole numbers "
            "with 0 ≤ counts ≤ n for K checkpoints and J environments. Count episodes."
        )

    def bounds(k: int, of: int) -> tuple[float, float]:
        if of == 0:
            return 0.0, 1.0
        if interval == "wilson":
            return wilson_interval(k, of, alpha=alpha)
        return 1 - most_share(of - k, of, alpha=alpha / 2), most_share(k, of, alpha=alpha / 2)

    ends = np.array([bounds(int(k), int(of)) for k, of in zip(hits.ravel(), total.ravel(), strict=True)])
    low, high = ends.reshape(-1, 2).T.reshape(2, *hits.shape)
    rate = np.divide(hits, total, out=np.full(hits.shape, np.nan), where=total > 0)
    return GeneralizationMatrix(rate, low, high, total.astype(np.int64))
