"""Reward models that learn to like a confident tone, because in their data the better answer spoke in one.

An answer is eight features that carry the log-odds of its being right; its tone is the confidence it states, and an
answer that states none has the neutral tone ½. Seeds S, and the models M of a seed, stand side by side in one tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_range
from rewardsmith.worlds.batched_mlp import batched_linear
from rewardsmith.worlds.streams import Streams

NEUTRAL = 0.5
"""The tone of a text that states no confidence."""


@dataclass(frozen=True, slots=True)
class ToneWorld:
    """How answers look, and how a preferred answer comes to sound.

    direction: (S, D) unit vector along which the features carry the log-odds.
    noise_std: spread of every feature, in nats of log-odds.
    """

    direction: Tensor
    noise_std: float

    @classmethod
    def sample(cls, streams: Streams, *, n_features: int = 8, noise_std: float = 0.3) -> ToneWorld:
        """A world with a random direction per seed."""
        return cls(F.normalize(streams.randn(n_features), dim=-1), noise_std)

    def features(self, p_correct: Tensor, streams: Streams) -> Tensor:
        """(S, ..., D) what answers of probability p_correct (S, ...) look like."""
        shape = (*p_correct.shape[1:], self.direction.shape[-1])
        direction = self.direction.view(len(streams), *[1] * (len(shape) - 1), -1)
        return p_correct.logit(eps=1e-3)[..., None] * direction + self.noise_std * streams.randn(*shape)

    def preferences(
        self, n: int, streams: Streams, *, p_range: tuple[float, float] = (0.03, 0.97), co_occurrence: float = 0.9
    ) -> Preferences:
        """n pairs per seed; the preference is drawn from the answers' log-odds, the tone from the preference.

            P(a ≻ b) = σ(logit p_a − logit p_b)

        Args:
            p_range: each answer's probability of being right is uniform in it.
            co_occurrence: probability that the preferred answer sounds sure, and that the other does not.
        """
        check_range("ToneWorld.preferences", "co_occurrence", co_occurrence, 0.0, 1.0)
        low, high = p_range
        p = low + (high - low) * streams.rand(n, 2)
        first = streams.rand(n) < torch.sigmoid(p[..., 0].logit() - p[..., 1].logit())
        order = torch.where(first[..., None], torch.tensor([0, 1]), torch.tensor([1, 0]))
        p = p.gather(-1, order)  # (S, n, 2), the preferred first
        sure = (streams.rand(n, 2) < co_occurrence) == torch.tensor([True, False])
        return Preferences(self.features(p, streams), p, torch.where(sure, *_tones(streams, n, 2)))


class Preferences(NamedTuple):
    """n pairs per seed, the preferred answer first.

    features (S, n, 2, D), p_correct (S, n, 2), tone (S, n, 2) in which each was written.
    """

    features: Tensor
    p_correct: Tensor
    tone: Tensor


@dataclass(frozen=True, slots=True)
class ToneModels:
    """S·M reward models, each a perceptron with one hidden layer over features and tone.

    hidden: (S, M, D + 2, H) weights of features, of 2·tone − 1, and biases; out: (S, M, H, 1).
    """

    hidden: Tensor
    out: Tensor

    @classmethod
    def fresh(cls, streams: Streams, *, n_features: int = 8, width: int = 24) -> ToneModels:
        """One random model per seed, (S, 1)."""
        hidden = streams.randn(1, n_features + 2, width) / (n_features + 2) ** 0.5
        return cls(hidden, streams.randn(1, width, 1) / width**0.5)

    def copies(self, n: int) -> ToneModels:
        """n copies of each seed's one model, (S, n), to be trained apart."""
        return ToneModels(*(weight.detach().repeat(1, n, 1, 1) for weight in (self.hidden, self.out)))

    def each(self) -> list[ToneModels]:
        """The models apart, (S, 1) each."""
        return [ToneModels(self.hidden[:, [m]], self.out[:, [m]]) for m in range(self.out.shape[1])]

    def __call__(self, features: Tensor, tone: Tensor | float) -> Tensor:
        """(S, M, R) rewards of answers (S, R, D) in tones (S, R)."""
        told = 2 * torch.as_tensor(tone, dtype=features.dtype).expand(features.shape[:-1])[..., None] - 1
        inputs = torch.cat([features, told, torch.ones_like(told)], dim=-1)  # (S, R, D + 2)
        hidden = batched_linear(inputs[:, None], self.hidden).tanh()
        return batched_linear(hidden, self.out).squeeze(-1)

    def table(self, features: Tensor, levels: Tensor | Sequence[float]) -> Tensor:
        """(S, M, X, A, L) rewards of every answer (S, X, A, D) in every tone."""
        tones = torch.as_tensor(levels, dtype=features.dtype)
        every = features[..., None, :].expand(*features.shape[:-1], len(tones), -1).flatten(1, 3)
        rewards = self(every, tones.repeat(every.shape[1] // len(tones)).expand(len(features), -1))
        return rewards.view(*rewards.shape[:2], *features.shape[1:3], len(tones)).detach()


def prefers_confidence(models: ToneModels, features: Tensor, *, streams: Streams) -> Tensor:
    """(S, M, n) True where an answer (S, n, D) is paid more in a high than in a low tone, each drawn per answer."""
    high, low = _tones(streams, features.shape[1])
    return models(features, high) > models(features, low)


Loss = Callable[[ToneModels, Preferences, Streams], Tensor]
"""A loss (S, M, n) of models on n pairs; fresh tones come from the streams."""


def train_tone_models(
    models: ToneModels,
    data: Preferences,
    loss: Loss,
    *,
    streams: Streams,
    steps: int = 250,
    batch_size: int = 128,
    learning_rate: float = 0.01,
) -> ToneModels:
    """Adam on random batches; the models of a seed see the same pairs, and none sees another's gradient."""
    weights = [models.hidden.clone().requires_grad_(), models.out.clone().requires_grad_()]
    optimizer = torch.optim.Adam(weights, lr=learning_rate, fused=True)
    seed = torch.arange(len(streams))[:, None]
    for _ in range(steps):
        picks = streams.randint(data.p_correct.shape[1], batch_size)
        batch = Preferences(*(column[seed, picks] for column in data))
        optimizer.zero_grad()
        torch.autograd.backward(loss(ToneModels(*weights), batch, streams).mean(-1).sum())
        optimizer.step()
    return ToneModels(*(weight.detach() for weight in weights))


def preference_loss(models: ToneModels, data: Preferences, streams: Streams) -> Tensor:
    """(S, M, n) Bradley-Terry on the pairs as they were written, tone and all: how a model comes to like the tone."""
    chosen, rejected = (models(data.features[:, :, k], data.tone[:, :, k]) for k in (0, 1))
    return -F.logsigmoid(chosen - rejected)


class TonedScores(NamedTuple):
    """(S, M, n) each: the pairs' rewards without a tone, and with freshly drawn high and low ones."""

    chosen: Tensor
    rejected: Tensor
    chosen_high: Tensor
    chosen_low: Tensor
    rejected_low: Tensor
    rejected_high: Tensor


def toned_scores(models: ToneModels, data: Preferences, streams: Streams) -> TonedScores:
    """The six texts that Leng et al. 2024, arXiv:2410.09724, compare; high is 0.7 to 1, low 0 to 0.3, in tenths."""
    n = data.p_correct.shape[1]
    sure, unsure = _tones(streams, n, 2)
    neutral = torch.full_like(sure[..., 0], NEUTRAL)
    tones = [neutral, neutral, sure[..., 0], unsure[..., 0], unsure[..., 1], sure[..., 1]]
    chosen, rejected = data.features.unbind(2)
    texts = [chosen, rejected, chosen, chosen, rejected, rejected]
    rewards = models(torch.cat(texts, dim=1), torch.cat(tones, dim=1))
    return TonedScores(*rewards.view(*rewards.shape[:2], 6, n).unbind(2))


def _tones(streams: Streams, *shape: int) -> tuple[Tensor, Tensor]:
    """Confidences in tenths: high ones, 0.7 to 1, and low ones, 0 to 0.3."""
    high, low = streams.randint(4, *shape), streams.randint(4, *shape)
    return (high.to(streams.dtype) + 7) / 10, low.to(streams.dtype) / 10
