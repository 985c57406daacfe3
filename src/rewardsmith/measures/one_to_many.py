"""Measure how one right answer ranks among many wrong ones."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_choice
from rewardsmith.measures.intervals import Estimate, Share, mean_estimate, share_right

Array = NDArray[np.float64]
Ties = Literal["pessimistic", "mean"]
Missing = Literal["skip", "worst"]


def one_to_many_accuracy(
    scores: ArrayLike, *, strict: bool = True, missing: Missing = "skip", alpha: float = 0.05
) -> Share:
    """Return the share of prompts whose right answer scores above all wrong ones.

        1/B Σ 1[ s_0 > max_j s_j ]        with strict=False ≥ in place of >

    Kim et al. 2024, arXiv:2410.01729 (RewardMATH). Judges who give whole numbers tie often, so report both. Chance is
    1/(1 + m).

    Args:
        scores: (B, 1 + m), the right answer's first. None, NaN or ±inf is unscored.
        missing: "skip" leaves out a prompt with an unscored answer; "worst" puts that answer below all scored ones, and
            a right one without a score loses.

    >>> one_to_many_accuracy([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).value
    0.5
    """
    table = _table("one_to_many_accuracy", scores, missing)
    margin = table[:, 0] - table[:, 1:].max(axis=1)
    won = (margin > 0) if strict else (margin >= 0)
    hits = [None if math.isnan(gap) else float(hit) for gap, hit in zip(margin, won, strict=True)]
    return share_right(hits, alpha=alpha)


def mrr(scores: ArrayLike, *, ties: Ties = "pessimistic", missing: Missing = "skip", alpha: float = 0.05) -> Estimate:
    """Return the mean reciprocal rank of the right answer, with its interval over prompts.

        1/B Σ 1/rank_b        rank_b = 1 + #{ j : s_j > s_0 } + #{ j : s_j = s_0 }

    Kim et al. 2024, arXiv:2410.01729, whose code counts a tie against the right answer. Chance is H₁₊ₘ / (1 + m), .293
    for m = 9.

    Args:
        scores, missing: as in `one_to_many_accuracy`.
        ties: "pessimistic" as above; "mean" takes the mean of 1/rank over all orders of the tied answers, so that a
            constant score has the value of chance.

    >>> round(mrr([[1.0, 1.0, 0.0]]).value, 4), round(mrr([[1.0, 1.0, 0.0]], ties="mean").value, 4)
    (0.5, 0.75)
    """
    check_choice("mrr", "ties", ties, get_args(Ties))
    table = _table("mrr", scores, missing)
    above = (table[:, 1:] > table[:, :1]).sum(axis=1)
    tied = (table[:, 1:] == table[:, :1]).sum(axis=1)
    first = np.where(ties == "mean", above + 1, above + tied + 1)
    values = [float((1 / np.arange(a, b + 1)).mean()) for a, b in zip(first, above + tied + 1, strict=True)]
    return mean_estimate(np.where(np.isnan(table[:, 0]), np.nan, values), alpha=alpha)


def pairwise_duel_rank(wins: ArrayLike) -> Array:
    """Return the rank of a right answer that a judge compared with each wrong one in turn: 1 + the duels it lost.

    Kim et al. 2024, arXiv:2410.01729. A verdict that could not be read is no win in their count: pass False for it.

    Args:
        wins: (B, m) whether the right answer won; a draw is no win. None or NaN where there is no verdict.

    Returns:
        (B,) ranks in 1 … 1 + m; NaN where a duel has no verdict.

    >>> pairwise_duel_rank([[True, True, True], [True, False, None], [False, True, False]]).tolist()
    [1.0, nan, 3.0]
    """
    table = np.array(wins, dtype=np.float64)
    if table.ndim != 2 or not np.isin(table[~np.isnan(table)], (0, 1)).all():
        raise ValueError(
            f"pairwise_duel_rank: wins have shape {table.shape} or values other than 0 and 1. Pass (B, m) of True and "
            "False."
        )
    ranks: Array = 1 + (1 - table).sum(axis=1)
    return ranks


def _table(caller: str, scores: ArrayLike, missing: Missing) -> Array:
    """Return (B, 1 + m) scores; the rows with an unscored answer are NaN, or hold numbers that rank it last."""
    check_choice(caller, "missing", missing, get_args(Missing))
    table = np.array(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(
            f"{caller}: scores have shape {table.shape}. Pass (B, 1 + m), the right answer's score first in each row."
        )
    unscored = ~np.isfinite(table)
    if missing == "skip":
        table[unscored.any(axis=1)] = np.nan
        return table
    lowest = np.where(unscored, np.inf, table).min(axis=1, initial=0.0)  # below all scores, even with one more step
    step = 1 + np.abs(lowest)
    below = np.broadcast_to((lowest - step)[:, None], table.shape).copy()
    below[:, 0] -= step
    return np.where(unscored, below, table)
