"""Responses judged by two properties that pull against each other, each seen through a reward model of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rewardsmith._check import check_range


@dataclass(frozen=True, slots=True)
class PropertyPool:
    """P prompts with N candidate responses each, and for both properties the truth and what a reward model says of it.

    gold: (2, P, N) true strength of each property.
    rewards: (2, P, N) each property's reward model: gold, a heavy-tailed error, and a constant per prompt that no
        ranking within a prompt can see.
    """

    gold: Tensor
    rewards: Tensor

    @classmethod
    def sample(
        cls,
        n_prompts: int,
        n_responses: int,
        *,
        generator: torch.Generator,
        correlation: float = -0.3,
        median_scale: float = 1.5,
        scale_spread: float = 0.4,
        noise: float = 0.5,
        noise_df: int = 3,
        offset_std: float = 3.0,
    ) -> PropertyPool:
        """Draw a pool in float64.

        Args:
            correlation: of the two properties over a prompt's responses.
            median_scale: median over prompts of the spread of both properties among a prompt's responses.
            scale_spread: standard deviation over prompts of the logarithm of that spread.
            noise: scale of the reward models' Student-t error.
            noise_df: its degrees of freedom; 3 has heavy tails.
            offset_std: spread over prompts of each reward model's constant.
        """
        check_range("PropertyPool.sample", "correlation", correlation, -1.0, 1.0)

        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        first, other = normal(2, n_prompts, n_responses)
        second = correlation * first + math.sqrt(1 - correlation**2) * other
        gold = torch.stack([first, second]) * median_scale * (scale_spread * normal(n_prompts, 1)).exp()
        chi_squared = normal(noise_df, *gold.shape).square().sum(0)
        error = normal(*gold.shape) / (chi_squared / noise_df).sqrt()
        return cls(gold=gold, rewards=gold + noise * error + offset_std * normal(2, n_prompts, 1))

    def reference_rewards(self, n_references: int, *, generator: torch.Generator) -> Tensor:
        """(2, P, M) both reward models' scores of M responses per prompt drawn from the uniform base policy."""
        drawn = torch.randint(self.rewards.shape[-1], (self.rewards.shape[1], n_references), generator=generator)
        return self.rewards.gather(-1, drawn.expand(2, -1, -1))

    def p_good(self, *, quantile: float = 0.85) -> Tensor:
        """(2, P, N) the true probability that a response has each property, judged against the base policy's own.

        p_k = σ( a_k − q_k ),  q_k the `quantile` of a_k over the prompt's responses
        """
        return torch.sigmoid(self.gold - self.gold.quantile(quantile, dim=-1, keepdim=True))

    def p_all_good(self, *, quantile: float = 0.85) -> Tensor:
        """(P, N) the true probability of both properties, which are independent given the response: Π_k p_k."""
        return self.p_good(quantile=quantile).prod(dim=0)
