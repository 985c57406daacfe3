"""REINFORCE on chains, seeds and arms in one tensor; arms differ only in the credit that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.worlds.step_chain import Rollouts, StepChain, Truth
from rewardsmith.worlds.streams import Streams
from rewardsmith.worlds.training import adam_steps, table_gradient

Credit = Callable[[Rollouts], Tensor]
"""The credit of an arm, from its rollouts, R = S·B rows with a seed's rows consecutive, to (R, T) returns-to-go."""


class Training(NamedTuple):
    """The exact result of training at each evaluation.

    arms: A names.
    updates: E, number of updates before each evaluation; the first is 0.
    curve: `Truth` whose fields are (E, S, A).
    """

    arms: tuple[str, ...]
    updates: tuple[int, ...]
    curve: Truth

    def final(self, field: str) -> dict[str, Tensor]:
        """Return (S,) per arm, one field of the truth after the last update."""
        return self.at(field, self.updates[-1])

    def at(self, field: str, update: int) -> dict[str, Tensor]:
        """Return (S,) per arm, one field of the truth after so many updates, which must be among the evaluations."""
        if update not in self.updates:
            listed = ", ".join(map(str, self.updates))
            raise ValueError(
                f"Training: no evaluation after {update} updates, only after {listed}. Ask for one of those."
            )
        return self._by_arm(getattr(self.curve, field)[self.updates.index(update)])

    def area(self, field: str) -> dict[str, Tensor]:
        """Return (S,) per arm, the mean over training of one field, by trapezoids."""
        times = torch.tensor(self.updates, dtype=torch.float64)
        return self._by_arm(torch.trapezoid(getattr(self.curve, field), times, dim=0) / (times[-1] - times[0]))

    def peak(self, field: str) -> dict[str, Tensor]:
        """Return (S,) per arm, the largest value of one field at any evaluation."""
        return self._by_arm(getattr(self.curve, field).amax(dim=0))

    def _by_arm(self, values: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.arms, values.unbind(dim=-1), strict=True))


def train_chains(
    chain: StepChain,
    credits: Mapping[str, Credit],
    *,
    streams: Streams,
    start: Tensor,
    updates: int = 160,
    rollouts: int = 64,
    learning_rate: float = 0.05,
    evaluate_every: int = 10,
) -> Training:
    """Train one tabular softmax policy per seed and arm by REINFORCE, along `policy_gradient` with Adam.

    All arms use the same uniforms and the same score noise, so two arms with equal credit stay exactly equal.

    Args:
        credits: the credit of each arm, by name.
        streams: of the seeds that `chain` was drawn for.
        start: (S, A or 1, O, U) first logits.
        updates, learning_rate: steps of Adam, and its step size in logits.
        rollouts: B, chains sampled per update.
        evaluate_every: updates between exact evaluations; the last update is always evaluated.
    """
    size = (len(streams), len(credits), *start.shape[2:])
    logits = start.expand(size).clone()
    times, truths = [], []
    for update in adam_steps([logits], updates, learning_rate=learning_rate, maximize=True, fused=False):
        if update % evaluate_every == 0:
            times.append(update)
            truths.append(chain.truth(logits.softmax(dim=-1)))
        policy = logits.softmax(dim=-1)
        uniform, noise = streams.rand(1, rollouts, chain.horizon), streams.randn(1, rollouts, chain.horizon)
        drawn = chain.roll(policy, uniform, noise)
        arms = [Rollouts(*(field[:, arm].flatten(0, 1) for field in drawn)) for arm in range(len(credits))]
        returns = torch.stack([credit(arm) for credit, arm in zip(credits.values(), arms, strict=True)])  # (A, R, T)
        returns = returns.view(size[1], size[0], rollouts, chain.horizon).transpose(0, 1)
        logits.grad = policy_gradient(policy, drawn, returns)
    times.append(updates)
    truths.append(chain.truth(logits.softmax(dim=-1)))
    curve = Truth(*(torch.stack(values) for values in zip(*truths, strict=True)))
    return Training(tuple(credits), tuple(times), curve)


def policy_gradient(policy: Tensor, drawn: Rollouts, returns: Tensor) -> Tensor:
    """Return the sampled gradient of the expected return with respect to a tabular policy's logits.

        ∇ = 1/B Σ_b Σ_t (G_bt − Ḡ_t) ∇ log π(a_bt | o_bt)        ∂ log π(a | o)/∂_{o,u} = 1[a = u] − π(u | o)

    Ḡ_t is the mean over the batch's chains that have a step t.

    Args:
        policy: (S, A, O, U) probabilities.
        drawn: rollouts of it, with leading dimensions (S, A, B).
        returns: (S, A, B, T) returns-to-go; not read where there is no step.

    Returns:
        (S, A, O, U).
    """
    mask = drawn.step_mask
    counted = torch.where(mask, returns, 0)
    mean = counted.sum(dim=-2, keepdim=True) / mask.sum(dim=-2, keepdim=True).clamp(min=1)
    advantages = torch.where(mask, counted - mean, 0)  # (S, A, B, T)
    return table_gradient(policy, drawn.observations, drawn.actions, advantages) / mask.shape[2]
