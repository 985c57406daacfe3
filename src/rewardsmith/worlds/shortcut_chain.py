"""Solutions whose steps may be skipped: a skipped step often still ends in the right answer, and proves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_shape
from rewardsmith.worlds.streams import sample_index


class ChainDraws(NamedTuple):
    """Sampled solutions.

    actions: (S, A, P, G, K) int64, what each step did.
    correct: (S, A, P, G) 1.0 where the answer is right, else 0.0: what an outcome checker sees.
    jumped: (S, A, P, G) True where a step was skipped: the flaw of a right answer.
    """

    actions: Tensor
    correct: Tensor
    jumped: Tensor

    @property
    def reliable(self) -> Tensor:
        """(S, A, P, G) 1.0 where the answer is right and every step was made, else 0.0: the gold."""
        return self.correct * ~self.jumped


@dataclass(frozen=True, slots=True)
class ShortcutChain:
    """K steps; at each one action is right (0), one skips the step (1) and the others are wrong and ruin the answer.

        P(correct | actions) = 0 if any is wrong, else 1 − c·J/K        J skipped steps

    A policy is a table of probabilities (S, A, P, K, U), seeds and arms side by side, U = 2 + n_wrong.

    n_steps: K.
    n_wrong: wrong actions per step.
    cost: c in [0, 1], the chance of a wrong answer when everything is skipped.
    """

    n_steps: int = 5
    n_wrong: int = 3
    cost: float = 0.5

    def __post_init__(self) -> None:
        check_range("ShortcutChain", "n_steps", self.n_steps, 1, 10_000)
        check_range("ShortcutChain", "n_wrong", self.n_wrong, 0, 10_000)
        check_range("ShortcutChain", "cost", self.cost, 0.0, 1.0)

    @property
    def n_actions(self) -> int:
        """U."""
        return 2 + self.n_wrong

    def logits(self, *shape: int, right: float, jump: float) -> Tensor:
        """(*shape, K, U) logits of a policy that leans to the right action and to skipping."""
        start = torch.zeros(*shape, self.n_steps, self.n_actions, dtype=torch.float64)
        start[..., 0], start[..., 1] = right, jump
        return start

    def sample(self, policy: Tensor, choice: Tensor, luck: Tensor) -> ChainDraws:
        """Solutions of P prompts, G each.

        Args:
            policy: (S, A, P, K, U) probabilities.
            choice: (S, 1 or A, P, G, K) uniform draws of the actions; size 1 pairs the arms.
            luck: (S, 1 or A, P, G) uniform draws of the outcome.
        """
        self._check("ShortcutChain.sample", policy)
        actions = sample_index(policy[:, :, :, None], choice)
        jumps = (actions == 1).sum(dim=-1)
        chance = torch.where((actions > 1).any(dim=-1), 0.0, 1 - self.cost * jumps.to(policy) / self.n_steps)
        return ChainDraws(actions, (luck < chance).to(policy), jumps > 0)

    def correct(self, policy: Tensor) -> Tensor:
        """(S, A) chance of a right answer, exactly, averaged over prompts.

        Π_k (a_k + j_k) − c/K · Σ_k j_k Π_{i≠k} (a_i + j_i)        a, j: chances of the right action and of a skip
        """
        self._check("ShortcutChain.correct", policy)
        skip = policy[..., 1]  # (S, A, P, K)
        unharmed = policy[..., 0] + skip
        others = torch.stack([_without(unharmed, step).prod(dim=-1) for step in range(self.n_steps)], dim=-1)
        chance = unharmed.prod(dim=-1) - self.cost / self.n_steps * (skip * others).sum(dim=-1)
        return chance.mean(dim=-1)

    def reliable(self, policy: Tensor) -> Tensor:
        """(S, A) chance of a right answer without a skipped step, Π_k a_k, exactly, averaged over prompts: the gold."""
        self._check("ShortcutChain.reliable", policy)
        return policy[..., 0].prod(dim=-1).mean(dim=-1)

    def _check(self, caller: str, policy: Tensor) -> None:
        check_shape(caller, "policy", policy, None, None, None, self.n_steps, self.n_actions)


def _without(values: Tensor, index: int) -> Tensor:
    return torch.cat([values[..., :index], values[..., index + 1 :]], dim=-1)
