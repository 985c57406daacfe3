"""KnownPosterior: answers with known probabilities of being right, and policies that state a confidence with each.

Nothing is estimated: a policy's accuracy and calibration are sums over its answers and levels of confidence. Seeds S
and arms N (rewards to compare) are dimensions of one tensor, and arms share their random draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.advantages import group_centered
from rewardsmith.measures import auroc, brier_score, expected_calibration_error
from rewardsmith.worlds.streams import Streams
from rewardsmith.worlds.training import adam_steps

MEASURES: dict[str, Callable[..., float]] = {
    "accuracy": lambda confidence, correct, weights: float(correct @ weights / weights.sum()),
    "mean_confidence": lambda confidence, correct, weights: float(confidence @ weights / weights.sum()),
    "ece": expected_calibration_error,
    "brier": brier_score,
    "auroc": auroc,
}


@dataclass(frozen=True, slots=True)
class KnownPosterior:
    """X inputs with A possible answers each.

    p_correct: (S, X, A) probability that the answer is right.
    levels: (L,) the confidences that can be stated.
    """

    p_correct: Tensor
    levels: Tensor

    @classmethod
    def labels(
        cls,
        streams: Streams,
        *,
        n_inputs: int = 40,
        n_labels: int = 5,
        top: tuple[float, float] = (0.30, 0.97),
        n_levels: int = 11,
    ) -> KnownPosterior:
        """Draw inputs with one right label, the likeliest with a probability evenly spaced over `top`, others equal."""
        check_range("KnownPosterior.labels", "n_labels", n_labels, 2, float("inf"))
        best = _evenly(top, n_inputs, streams)
        rest = ((1 - best) / (n_labels - 1))[:, None].expand(n_inputs, n_labels - 1)
        return cls._posed(torch.cat([best[:, None], rest], dim=1).expand(len(streams), -1, -1), n_levels, streams)

    @classmethod
    def answers(
        cls,
        streams: Streams,
        *,
        n_inputs: int = 40,
        n_answers: int = 5,
        best: tuple[float, float] = (0.15, 0.97),
        others: tuple[float, float] = (0.1, 0.8),
        n_levels: int = 11,
    ) -> KnownPosterior:
        """Draw inputs whose best answer has a probability evenly spaced over `best`, each other one a share of it."""
        top = _evenly(best, n_inputs, streams)[:, None]
        low, high = others
        rest = top * (low + (high - low) * streams.rand(n_inputs, n_answers - 1))
        return cls._posed(torch.cat([top.expand(len(streams), n_inputs, 1), rest], dim=2), n_levels, streams)

    @classmethod
    def _posed(cls, p_correct: Tensor, n_levels: int, streams: Streams) -> KnownPosterior:
        """Put each input's answers in random order; every level is the nearest number to its decimal."""
        order = streams.rand(*p_correct.shape[1:]).argsort(dim=-1)
        return cls(p_correct.gather(-1, order), torch.arange(n_levels, dtype=streams.dtype) / (n_levels - 1))

    @property
    def best_accuracy(self) -> Tensor:
        """Accuracy (S,) of the policy that always gives the likeliest answer."""
        return self.p_correct.amax(dim=-1).mean(dim=-1)

    def measure(self, policy: StatedPolicy) -> dict[str, list[list[float]]]:
        """Return {name: S lists of N numbers}: each of `MEASURES`, exact over a policy's answers and confidences."""
        joint = policy.joint()  # (S, N, X, A, L)
        confidence = self.levels.expand(joint.shape[2:]).flatten()
        found: dict[str, list[list[float]]] = {name: [] for name in MEASURES}
        for p_correct, arms in zip(self.p_correct, joint, strict=True):
            correct = p_correct[..., None].expand(joint.shape[2:]).flatten()
            for name, measure in MEASURES.items():
                found[name].append([measure(confidence, correct, weights=mass.flatten()) for mass in arms])
        return found


class StatedPolicy(NamedTuple):
    """Softmax policies: answer (S, N, X, A), and confidence given the answer (S, N, X, A, L), as probabilities."""

    answer: Tensor
    confidence: Tensor

    def joint(self) -> Tensor:
        """Return (S, N, X, A, L) probability of each answer with each level; an input's sum to 1."""
        return self.answer[..., None] * self.confidence


class StatedRollouts(NamedTuple):
    """One update's samples, (S, N, X, G) each.

    answer, level: int64 indices; confidence: what the level states; correct: 1 where the answer was right, else 0.
    """

    answer: Tensor
    level: Tensor
    confidence: Tensor
    correct: Tensor


def train_stated(
    world: KnownPosterior,
    pay: Callable[[StatedRollouts], Tensor],
    *,
    streams: Streams,
    n_arms: int,
    updates: int = 600,
    group_size: int = 16,
    learning_rate: float = 0.05,
) -> StatedPolicy:
    """Train by REINFORCE with group centering and Adam, every input at each update, from uniform policies.

        ∇ = 1/G Σ_g A_g ∇ log π(a_g, c_g | x)        A = r − mean of the group

    Args:
        world: the answers.
        pay: the rewards (S, N, X, G) of the rollouts, different in each arm.
        streams: each draw is shared by the arms of a seed.

    Returns:
        The policies after the last update.
    """
    check_range("train_stated", "group_size", group_size, 2, float("inf"))
    n_seeds, n_inputs, n_answers = world.p_correct.shape
    shape = (n_seeds, n_arms, n_inputs, n_answers)
    answer_logits = torch.zeros(shape, dtype=streams.dtype)
    level_logits = torch.zeros((*shape, len(world.levels)), dtype=streams.dtype)
    for _ in adam_steps([answer_logits, level_logits], updates, learning_rate=learning_rate, maximize=True):
        policy = StatedPolicy(answer_logits.softmax(-1), level_logits.softmax(-1))
        cumulative = policy.joint().flatten(-2).cumsum(-1)  # (S, N, X, A·L)
        uniform = streams.rand(1, n_inputs, group_size).expand(*cumulative.shape[:-1], -1).contiguous()
        drawn = torch.searchsorted(cumulative, uniform, right=True).clamp_(max=cumulative.shape[-1] - 1)
        answer = drawn.div(len(world.levels), rounding_mode="floor")
        level = drawn - answer * len(world.levels)
        p_correct = world.p_correct[:, None].expand(*answer.shape[:3], -1).gather(-1, answer)
        correct = (streams.rand(1, n_inputs, group_size) < p_correct).to(p_correct)
        rewards = pay(StatedRollouts(answer, level, world.levels[level], correct))
        advantages = group_centered(rewards.flatten(), group_size=group_size).view_as(drawn) / group_size
        # Σ A ∇ log π by both sets of logits: the drawn ones less their expectation under the policy
        levels = torch.zeros_like(cumulative).scatter_add_(-1, drawn, advantages).view_as(policy.confidence)
        answers = levels.sum(-1)
        answer_logits.grad = answers - policy.answer * answers.sum(-1, keepdim=True)
        level_logits.grad = levels.addcmul_(policy.confidence, answers[..., None], value=-1.0)
    return StatedPolicy(answer_logits.softmax(-1), level_logits.softmax(-1))


def _evenly(ends: tuple[float, float], n: int, streams: Streams) -> Tensor:
    for end in ends:
        check_range("KnownPosterior", "a probability", end, 0.0, 1.0)
    return torch.linspace(*ends, n, dtype=streams.dtype)
