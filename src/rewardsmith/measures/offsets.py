"""Measure how much of a reward's variance in a batch comes from the prompt and not from the response."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_shape
from rewardsmith.measures.intervals import Estimate, jackknife_estimate


def prompt_offset_sensitivity(rewards: ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """Return the share of the variance of rewards that the prompt explains.

        (MSB − MSW) / (MSB + (m − 1) MSW),  at least 0        mean squares between and within P prompts of m responses

    Xu et al. 2025, arXiv:2504.04950: preferences do not fix a reward's level per prompt. Where one baseline serves a
    whole batch, this share of the signal is noise; a group's mean removes it. It is the intraclass correlation of
    one-way analysis of variance, which noise does not raise, unlike the share between plain means.

    Args:
        rewards: (P, G) of G responses to each prompt; unscored ones (None, NaN) are left out, and prompts with fewer
            than two. If numbers differ, m = (Σ m_p − Σ m_p² / Σ m_p) / (P − 1).

    Returns:
        in [0, 1] with its interval over prompts; NaN with one prompt or equal rewards.

    >>> prompt_offset_sensitivity([[0.0, 0.0], [5.0, 5.0], [9.0, 9.0]]).value
    1.0
    """
    table = np.array(rewards, dtype=np.float64)
    check_shape("prompt_offset_sensitivity", "rewards", table, None, None)
    scored = np.isfinite(table)
    table, scored = table[scored.sum(axis=1) >= 2], scored[scored.sum(axis=1) >= 2]
    counts = scored.sum(axis=1)
    sums = np.where(scored, table, 0.0).sum(axis=1)
    means = sums / counts
    within = (np.where(scored, table - means[:, None], 0.0) ** 2).sum(axis=1)

    def share(kept: NDArray[np.bool_]) -> float:
        m, n = counts[kept], counts[kept].sum()
        if len(m) < 2:
            return math.nan
        between = (m * (means[kept] - sums[kept].sum() / n) ** 2).sum() / (len(m) - 1)
        inside = within[kept].sum() / (n - len(m))
        usual = (n - (m**2).sum() / n) / (len(m) - 1)
        total = between + (usual - 1) * inside
        return max(float((between - inside) / total), 0.0) if total > 0 else math.nan

    return jackknife_estimate(share, len(counts), alpha=alpha)
