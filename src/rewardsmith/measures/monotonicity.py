"""Measure whether proxy and gold move together over the checkpoints of a run."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith._check import check_same_shape, check_shape
from rewardsmith.measures.intervals import Estimate, family_alpha, jackknife_estimate, rank_correlations, student_half


class Monotonicity(NamedTuple):
    """Relation of mean proxy and mean gold over checkpoints.

    rho: Spearman's correlation over checkpoints, with its interval over prompts.
    sign_changes: how often the relation of their steps turns, from rising together to one falling, or back; 1 for a
        gold that peaks while the proxy rises.
    first_divergence: first checkpoint with a clearly higher proxy and a clearly lower gold than an earlier one; None if
        there is none.
    """

    rho: Estimate
    sign_changes: int
    first_divergence: int | None


def proxy_gold_monotonicity(proxy: ArrayLike, gold: ArrayLike, *, alpha: float = 0.05) -> Monotonicity:
    """Correlate proxy and gold over the checkpoints of a run, and find where they part.

    Kim and Seo 2024, arXiv:2402.03469 (reverse reward engineering: Spearman over checkpoints of the mean scores).
    Differs: the interval is over prompts, as neighboring checkpoints depend on one another, and the place of a
    divergence is given, since a run that peaks late has a high correlation.

    Args:
        proxy, gold: (C, P) scores of C checkpoints' responses on the same P prompts; a prompt with a score missing in
            either (None, NaN) is left out.
        alpha: the interval holds at 1 − α, and any divergence is found by chance with probability α at most.

    >>> found = proxy_gold_monotonicity([[0.0] * 4, [1.0] * 4, [2.0] * 4], [[0.0] * 4, [1.0] * 4, [0.5] * 4])
    >>> found.rho.value, found.sign_changes, found.first_divergence
    (0.5, 1, 2)
    """
    tables = [np.array(scores, dtype=np.float64) for scores in (proxy, gold)]
    check_shape("proxy_gold_monotonicity", "proxy", tables[0], None, None)
    check_same_shape("proxy_gold_monotonicity", *tables)
    both = np.stack(tables)  # (2, C, P)
    both = both[..., np.isfinite(both).all(axis=(0, 1))]
    n_checkpoints, n = both.shape[1:]
    rho = jackknife_estimate(
        lambda kept: float(rank_correlations(both[..., kept].mean(axis=2).T)[0, 1]), n, alpha=alpha, least=-1.0
    )
    steps = np.sign(np.diff(both.mean(axis=2), axis=1)).prod(axis=0) if n else np.zeros(0)
    turns = steps[steps != 0]
    level = family_alpha(n_checkpoints * (n_checkpoints - 1) // 2, alpha=alpha)
    t = student_half(1.0, n - 1, alpha=level) if n > 1 else math.inf
    first = None
    for c in range(1, n_checkpoints if n > 1 else 0):
        rises = both[:, c, None] - both[:, :c]  # (2, c, P) over each earlier checkpoint
        mean, half = rises.mean(axis=2), t * rises.std(axis=2, ddof=1) / math.sqrt(n)
        if ((mean[0] - half[0] > 0) & (mean[1] + half[1] < 0)).any():
            first = c
            break
    return Monotonicity(rho, int((turns[1:] != turns[:-1]).sum()), first)
