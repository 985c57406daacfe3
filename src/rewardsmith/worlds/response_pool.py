"""A finite set of responses per prompt, where the optimum of E[r] − β·KL is known in closed form.

Where the question is about the reward, these exact policies replace a training run. Every function takes leading
dimensions, so that several seeds or arms run side by side as (seeds, P, N).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_same_shape
from rewardsmith.measures.best_of_n import best_of_n_gold


@dataclass(frozen=True, slots=True)
class ResponsePool:
    """P prompts with N candidate responses each: what they are worth and what a reward model says.

    gold: (P, N) true value.
    rewards: (P, N) the proxy: gold plus noise plus a per-prompt offset, except that hacks get a high score anyway.
    is_hack: (P, N) True where the proxy is fooled.
    """

    gold: Tensor
    rewards: Tensor
    is_hack: Tensor

    @classmethod
    def sample(
        cls,
        n_prompts: int,
        n_responses: int,
        *,
        generator: torch.Generator,
        gold_std: float = 1.5,
        noise_std: float = 0.7,
        offset_std: float = 2.0,
        hack_rate: float = 0.01,
        hack_gold: float = -2.0,
        hack_gold_std: float = 0.25,
        hack_rewards: tuple[float, float] = (4.0, 9.0),
    ) -> ResponsePool:
        """Draw a pool in float64.

        Args:
            gold_std: spread of the true value among a prompt's responses.
            noise_std: spread of the proxy's honest error.
            offset_std: spread over prompts of the proxy's constant, which no ranking within a prompt can see.
            hack_rate: expected share of responses that fool the proxy.
            hack_gold, hack_gold_std: mean and spread of their true value.
            hack_rewards: range of the proxy score that they draw, uniformly, before the prompt's offset.
        """
        check_range("ResponsePool.sample", "hack_rate", hack_rate, 0.0, 1.0)
        shape = (n_prompts, n_responses)

        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        honest, noise, offset = gold_std * normal(*shape), noise_std * normal(*shape), offset_std * normal(n_prompts, 1)
        is_hack = torch.rand(shape, generator=generator, dtype=torch.float64) < hack_rate
        low, high = hack_rewards
        lure = low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
        gold = torch.where(is_hack, hack_gold + hack_gold_std * normal(*shape), honest)
        return cls(gold=gold, rewards=torch.where(is_hack, lure, honest + noise) + offset, is_hack=is_hack)

    def reference_rewards(self, n_references: int, *, generator: torch.Generator) -> Tensor:
        """(P, M) proxy scores of M responses per prompt drawn from the uniform base policy, with replacement."""
        n_prompts, n_responses = self.rewards.shape
        drawn = torch.randint(n_responses, (n_prompts, n_references), generator=generator)
        return self.rewards.gather(-1, drawn)


class PolicyAtKL(NamedTuple):
    """policy: (..., P, N) probabilities; beta: (...) the coefficient that reaches the target."""

    policy: Tensor
    beta: Tensor


def tilted_policy(scores: Tensor, beta: float | Tensor, base_logits: Tensor | None = None) -> Tensor:
    """The maximizer of E_π[score] − β·KL(π‖π₀), in closed form.

        π(y) ∝ π₀(y) · exp(score(y) / β)

    Args:
        scores: (..., P, N) what is optimized.
        beta: β > 0, a number or a tensor that broadcasts against `scores`.
        base_logits: (..., P, N) log π₀ up to a constant; uniform if None.

    Returns:
        (..., P, N) probabilities over the last dimension.

    >>> tilted_policy(torch.tensor([[0.0, 0.0]]), 1.0)
    tensor([[0.5000, 0.5000]])
    """
    if not bool(torch.all(torch.as_tensor(beta) > 0)):
        raise ValueError(f"tilted_policy: beta is {beta}, which must be above 0. Use a small one for a greedy policy.")
    logits = scores / beta
    if base_logits is not None:
        check_same_shape("tilted_policy", scores, base_logits)
        logits = logits + base_logits
    return logits.softmax(dim=-1)


def kl(policy: Tensor, base_logits: Tensor | None = None) -> Tensor:
    """KL(π‖π₀) per prompt in nats: Σ_y π(y) log(π(y)/π₀(y)), with 0·log 0 = 0.

    Args:
        policy: (..., P, N) probabilities.
        base_logits: (..., P, N) log π₀ up to a constant; uniform if None.

    Returns:
        (..., P).
    """
    negative_entropy = torch.xlogy(policy, policy).sum(-1)
    if base_logits is None:
        return negative_entropy + math.log(policy.shape[-1])
    check_same_shape("kl", policy, base_logits)
    return negative_entropy - (policy * base_logits.log_softmax(dim=-1)).sum(-1)


def expected(policy: Tensor, values: Tensor) -> Tensor:
    """E_π[value] per prompt: (..., P, N) and (..., P, N) to (..., P)."""
    return (policy * values).sum(dim=-1)


def policy_at_kl(
    scores: Tensor, target_kl: float, base_logits: Tensor | None = None, *, n_halvings: int = 60
) -> PolicyAtKL:
    """The tilted policy whose KL, averaged over the prompts, is `target_kl`: one β per pool, found by bisection.

    KL falls as β grows, so log β is bisected. Arms with different reward scales are to be compared at one KL, never
    at one β.

    Args:
        scores: (..., P, N) what is optimized; leading dimensions are separate pools, each with its own β.
        target_kl: mean KL over prompts, in nats.
        n_halvings: bisection steps; 60 halve a range of 28 in log β to rounding error.

    Raises:
        ValueError: some pool cannot reach the target, because too many of its responses share the top score.
    """
    pools = scores.shape[:-2]
    spread = scores.std(dim=(-2, -1), correction=0).clamp_min(torch.finfo(scores.dtype).tiny)  # (...)
    low, high = spread.log() - 14.0, spread.log() + 14.0  # low β: far from the base

    def reached(log_beta: Tensor) -> Tensor:
        return kl(tilted_policy(scores, log_beta.exp()[..., None, None], base_logits), base_logits).mean(dim=-1)

    if not bool(torch.all(reached(low) >= target_kl)) or target_kl <= 0:
        raise ValueError(
            f"policy_at_kl: target_kl {target_kl} is out of reach for {pools or 'this'} pool(s), whose policies span "
            f"(0, {float(reached(low).min()):.3g}]. Choose a target in that range, or fewer tied top scores."
        )
    for _ in range(n_halvings):
        middle = (low + high) / 2
        too_far = reached(middle) > target_kl
        low, high = torch.where(too_far, middle, low), torch.where(too_far, high, middle)
    beta = ((low + high) / 2).exp()
    return PolicyAtKL(tilted_policy(scores, beta[..., None, None], base_logits), beta)


def best_of_n(scores: Tensor, values: Tensor, n: Sequence[int]) -> Tensor:
    """Return the expected value of what best-of-n picks by score, for each n: `measures.best_of_n_gold` on tensors.

    Args:
        scores: (..., N) what picks.
        values: (..., N) what is reported, such as gold.
        n: numbers of candidates, each in 1…N, upward.

    Returns:
        (..., len(n)).

    >>> best_of_n(torch.tensor([0.0, 1.0]), torch.tensor([4.0, 6.0]), [1, 2])
    tensor([5., 6.])
    """
    check_same_shape("best_of_n", scores, values)
    picks, worth = (table.reshape(-1, table.shape[-1]).numpy() for table in (scores, values))
    return torch.from_numpy(best_of_n_gold(picks, worth, n)).to(values.dtype).view(*scores.shape[:-1], len(n))
