"""Compare the cost of scoring too high and too low under optimization."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith._check import check_range


class ScoringDamage(NamedTuple):
    """Value of the optimal policy, and its loss by errors of either sign; means over prompts and draws.

    clean: E[r] of the policy that optimizes the given rewards.
    over, under: of the policies that optimize rewards with a share raised, or the same share lowered.
    over_loss, under_loss: clean less these; below 0 only if an error happens to change the KL.
    """

    clean: float
    over: float
    under: float
    over_loss: float
    under_loss: float


def over_vs_under_scoring(
    rewards: ArrayLike,
    *,
    frac: float = 0.02,
    delta: float = 2.0,
    beta: float = 0.2,
    n_draws: int = 20,
    generator: np.random.Generator | None = None,
) -> ScoringDamage:
    """Put equal and opposite errors on the same responses, optimize, and compare the losses.

        r̃_i = r_i ± delta on a random share `frac`,   π(i) ∝ exp(r̃_i / beta),   loss = E_clean[r] − E_π[r]

    Yan et al. 2024, arXiv:2409.15360, claim that raising a bad response hurts more than lowering a good one: a policy
    moves to responses scored too high, and replaces a good response scored too low by another. For large beta the two
    cost about the same. If over-scoring dominates, use a lower bound (`transforms.member_quantile`, `robust_mix`).

    Args:
        rewards: (P, N) of N responses to each prompt, or (N,), taken as true; None, NaN and ±inf are left out.
        frac: share of a prompt's responses that are scored wrong, at least one.
        delta: size of the error > 0, in the unit of the rewards.
        beta: β > 0 of the KL-regularized optimum, in the unit of the rewards.
        n_draws: of the wrong responses.
        generator: of the draws; seeded with 0 if None.

    >>> damage = over_vs_under_scoring(np.linspace(-3, 3, 101))
    >>> damage.over_loss > 5 * abs(damage.under_loss)
    True
    """
    table = np.array(rewards, dtype=np.float64)
    if table.ndim not in (1, 2) or not table.size:
        raise ValueError(
            f"over_vs_under_scoring: rewards must be (P, N) or (N,), got {table.shape}. Pass some of each."
        )
    check_range("over_vs_under_scoring", "frac", frac, 0.0, 1.0)
    check_range("over_vs_under_scoring", "n_draws", n_draws, 1, math.inf)
    for name, value in (("beta", beta), ("delta", delta)):
        if not 0 < value < math.inf:
            raise ValueError(f"over_vs_under_scoring: {name} is {value}, which must be above 0 and finite. Raise it.")
    generator = np.random.default_rng(0) if generator is None else generator
    rows = [row[np.isfinite(row)] for row in np.atleast_2d(table)]
    worth = []  # E[r] of the tilted policies of each prompt: clean, over-scored and under-scored
    for row in rows:
        if len(row) > 1:
            n_wrong = max(1, round(frac * len(row)))
            order = generator.permuted(np.tile(np.arange(len(row)), (n_draws, 1)), axis=1)
            scores = row + delta * np.array([0.0, 1.0, -1.0])[:, None, None] * (order < n_wrong)  # (3, draws, N)
            weights = np.exp((scores - scores.max(axis=-1, keepdims=True)) / beta)
            worth.append((weights / weights.sum(axis=-1, keepdims=True) @ row).mean(axis=-1))
    if not worth:
        raise ValueError("over_vs_under_scoring: no prompt has two scored responses. Sample more per prompt.")
    clean, over, under = np.mean(worth, axis=0).tolist()
    return ScoringDamage(clean, over, under, clean - over, clean - under)
