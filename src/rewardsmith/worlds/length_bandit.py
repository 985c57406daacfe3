"""Prompts of several difficulties, of which the harder need longer answers; a policy chooses nothing but the length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_shape
from rewardsmith.worlds.streams import sample_index


class LengthDraws(NamedTuple):
    """Sampled answers, (S, A, P, G) each.

    chosen: int64 in 0…L−1, which length.
    lengths: the lengths themselves, in units.
    correct: 1.0 where right, else 0.0.
    """

    chosen: Tensor
    lengths: Tensor
    correct: Tensor


@dataclass(frozen=True, slots=True)
class LengthBandit:
    """C classes of prompts, equally frequent; lengths 1…L in units.

        P(correct | class c, length n) = cap_c · σ(k (n − needed_c))

    A policy is a table of probabilities (S, A, C, L): seeds and arms side by side.

    needed: C lengths at which half of what is possible is reached, in units.
    caps: C chances of being right however long the answer.
    steepness: k, per unit.
    n_lengths: L.
    """

    needed: tuple[float, ...] = (3.0, 6.0, 10.0)
    caps: tuple[float, ...] = (0.99, 0.90, 0.70)
    steepness: float = 1.2
    n_lengths: int = 16

    def __post_init__(self) -> None:
        if len(self.needed) != len(self.caps) or not self.needed:
            raise ValueError(
                f"LengthBandit: {len(self.needed)} needed lengths and {len(self.caps)} caps. Give one of each a class."
            )
        for cap in self.caps:
            check_range("LengthBandit", "caps", cap, 0.0, 1.0)

    @property
    def lengths(self) -> Tensor:
        """(L,) 1…L."""
        return torch.arange(1, self.n_lengths + 1, dtype=torch.float64)

    @property
    def p_correct(self) -> Tensor:
        """(C, L) chance of a right answer by class and length."""
        needed = torch.tensor(self.needed, dtype=torch.float64)[:, None]
        caps = torch.tensor(self.caps, dtype=torch.float64)[:, None]
        return caps * torch.sigmoid(self.steepness * (self.lengths - needed))

    def sample(self, policy: Tensor, classes: Tensor, choice: Tensor, luck: Tensor) -> LengthDraws:
        """Answers to P prompts, G each.

        Args:
            policy: (S, A, C, L) probabilities.
            classes: (S, P) int64, each prompt's class; the same for all arms.
            choice, luck: (S, 1 or A, P, G) uniform draws, of the length and of the outcome; size 1 pairs the arms.
        """
        check_shape("LengthBandit.sample", "policy", policy, None, None, len(self.needed), self.n_lengths)
        seeds = torch.arange(len(policy))[:, None]
        by_prompt = policy.transpose(1, 2)[seeds, classes].transpose(1, 2)  # (S, A, P, L)
        chosen = sample_index(by_prompt[:, :, :, None], choice)
        chance = self.p_correct[classes[:, None, :, None], chosen]
        return LengthDraws(chosen, self.lengths[chosen], (luck < chance).to(policy))

    def accuracy(self, policy: Tensor) -> Tensor:
        """(S, A, C) chance that a sampled answer is right, exactly, by class."""
        return (policy * self.p_correct).sum(dim=-1)

    def length(self, policy: Tensor) -> Tensor:
        """(S, A) expected length, exactly, over all classes."""
        return (policy * self.lengths).sum(dim=-1).mean(dim=-1)
