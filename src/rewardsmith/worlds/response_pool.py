"""A finite set of responses per prompt, where the optimum of E[r] − β·KL is known in closed form.

These exact policies replace a training run where the question is about the reward. Every function takes leading
dimensions, such as (seeds, P, N), for several seeds or arms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rewardsmith._check import check_same_shape
from rewardsmith.measures.best_of_n import best_of_n_gold


def tilted_policy(scores: Tensor, beta: float | Tensor) -> Tensor:
    """Return the maximizer of E_π[score] − β·KL(π‖π₀) over a uniform base policy π₀, in closed form.

        π(y) ∝ exp(score(y) / β)

    Args:
        scores: (..., P, N) scores to optimize.
        beta: β > 0, a number or a tensor that broadcasts against `scores`.

    Returns:
        (..., P, N) probabilities over the last dimension.

    >>> tilted_policy(torch.tensor([[0.0, 0.0]]), 1.0)
    tensor([[0.5000, 0.5000]])
    """
    if not bool(torch.all(torch.as_tensor(beta) > 0)):
        raise ValueError(f"tilted_policy: beta is {beta}, which must be above 0. Use a small one for a greedy policy.")
    return (scores / beta).softmax(dim=-1)


def kl(policy: Tensor) -> Tensor:
    """Return the KL from the uniform base policy per prompt in nats: Σ_y π(y) log(N·π(y)), with 0·log 0 = 0.

    (..., P, N) probabilities to (..., P).
    """
    return torch.xlogy(policy, policy).sum(-1) + math.log(policy.shape[-1])


def expected(policy: Tensor, values: Tensor) -> Tensor:
    """Return E_π[value] per prompt: (..., P, N) and (..., P, N) to (..., P)."""
    return (policy * values).sum(dim=-1)


def policy_at_kl(scores: Tensor, target_kl: float, *, n_halvings: int = 60) -> Tensor:
    """Find the tilted policy whose KL, averaged over the prompts, is `target_kl`, with one β per pool, by bisection.

    KL falls as β grows, so log β is bisected. Compare arms with different reward scales at one KL, never at one β.

    Args:
        scores: (..., P, N) scores to optimize; leading dimensions are separate pools, each with its own β.
        target_kl: mean KL over prompts, in nats.
        n_halvings: bisection steps; 60 halve a range of 28 in log β to rounding error.

    Returns:
        (..., P, N) probabilities.

    Raises:
        ValueError: some pool cannot reach the target, because too many of its responses share the top score.
    """
    pools = scores.shape[:-2]
    spread = scores.std(dim=(-2, -1), correction=0).clamp_min(torch.finfo(scores.dtype).tiny)  # (...)
    low, high = spread.log() - 14.0, spread.log() + 14.0  # a low β is far from the base

    def reached(log_beta: Tensor) -> Tensor:
        return kl(tilted_policy(scores, log_beta.exp()[..., None, None])).mean(dim=-1)

    if not bool(torch.all(reached(low) >= target_kl)) or target_kl <= 0:
        raise ValueError(
            f"policy_at_kl: target_kl {target_kl} is out of reach for {pools or 'this'} pool(s), whose policies span "
            f"(0, {float(reached(low).min()):.3g}]. Choose a target in that range, or fewer tied top scores."
        )
    for _ in range(n_halvings):
        middle = (low + high) / 2
        too_far = reached(middle) > target_kl
        low, high = torch.where(too_far, middle, low), torch.where(too_far, high, middle)
    return tilted_policy(scores, ((low + high) / 2).exp()[..., None, None])


def best_of_n(scores: Tensor, values: Tensor, n: Sequence[int]) -> Tensor:
    """Return the expected value of the best of n by score, for each n: `best_of_n_gold` on tensors.

    Args:
        scores: (..., N) scores that select.
        values: (..., N) values to average, such as gold.
        n: numbers of candidates, each in 1…N, upward.

    Returns:
        (..., len(n)).

    >>> best_of_n(torch.tensor([0.0, 1.0]), torch.tensor([4.0, 6.0]), [1, 2])
    tensor([5., 6.])
    """
    check_same_shape("best_of_n", scores, values)
    picks, worth = (table.reshape(-1, table.shape[-1]).numpy() for table in (scores, values))
    return torch.from_numpy(best_of_n_gold(picks, worth, n)).to(values.dtype).view(*scores.shape[:-1], len(n))
