"""A reward model that likes a confident tone teaches overconfidence; calibrate the model or its reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.figures import plane
from rewardsmith.atlas.page import parameters, rows
from rewardsmith.objectives import bt_loss, combined_confidence_loss, confidence_calibration_loss
from rewardsmith.transforms import ConfidenceAdjusted
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.known_posterior import KnownPosterior, StatedRollouts, train_stated
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    AtLeast("bias_on_bad/plain", 0.9),
    AtMost("bias_on_bad/ppo_m_combined", 0.1),
    PairedGain("ece/ppo", over="ece/ppo_c", at_least=0.10),
    AtLeast("auroc/ppo_c", 0.65),
    PairedGain("accuracy/ppo_c", over="accuracy/ppo", at_least=-0.02, at_most=0.02),
    PairedGain("ece/ppo", over="ece/ppo_m_combined", at_least=0.10),
    AtLeast("auroc/ppo_m_combined", 0.65),
    PairedGain("accuracy/ppo_m_combined", over="accuracy/ppo", at_least=-0.02, at_most=0.02),
    # What must fail: stripping alone on AUROC, and both methods with their sign flipped.
    AtMost("auroc/strip_only", 0.65),
    PairedGain("ece/ppo", over="ece/ppo_c_flipped", at_most=0.10),
    AtMost("auroc/ppo_c_flipped", 0.65),
    PairedGain("ece/ppo", over="ece/ppo_m_flipped", at_most=0.10),
    AtMost("auroc/ppo_m_flipped", 0.65),
)
N_FEATURES, WIDTH, NEUTRAL = 8, 24, 0.5  # of an answer; of a reward model; tone of a text that states no confidence
RETRAINED = ("ppo_m_default", "ppo_m_combined", "ppo_m_flipped")
ADJUSTED = ("ppo_c", "strip_only", "ppo_c_flipped")
ARMS = ("ppo", *RETRAINED, *ADJUSTED)
FLIPPED = [0, 1, 3, 2, 5, 4]  # the six texts of `toned_scores` with high and low confidence exchanged


class Preferences(NamedTuple):
    """n pairs, the preferred answer first: features (S, n, 2, D), p_correct and tone as written (S, n, 2)."""

    features: Tensor
    p_correct: Tensor
    tone: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """Answers that a reward model sees by looks and tone, and a policy trained by that model.

    Looks are eight features that carry the log-odds of being right along a unit vector, `direction` (S, D).
    """

    n_inputs: int = 40  # prompts of the policy
    n_answers: int = 5  # answers per prompt
    best_low: float = 0.15  # probability that the best answer to the hardest prompt is right
    best_high: float = 0.97  # the same for the easiest prompt
    noise_std: float = 0.3  # of each of an answer's features, nats of log-odds
    n_pairs: int = 4000  # preference pairs
    co_occurrence: float = 0.9  # probability that the preferred answer sounds sure, the other one not
    model_steps: int = 250  # of Adam per reward model
    good_from: float = 0.7  # an answer counts as good from this probability of being right
    bad_to: float = 0.3  # and as bad up to this one
    weight: float = 2.0  # w of PPO-C
    group_size: int = 16  # G, rollouts per prompt and update
    updates: int = 400  # gradient steps of the policy
    learning_rate: float = 0.05  # of Adam, logits per step

    def features(self, p_correct: Tensor, direction: Tensor, streams: Streams) -> Tensor:
        """Draw the (S, ..., D) looks of answers of probability p_correct (S, ...)."""
        shape = (*p_correct.shape[1:], N_FEATURES)
        along = direction.view(len(streams), *[1] * (len(shape) - 1), -1)
        return p_correct.logit(eps=1e-3)[..., None] * along + self.noise_std * streams.randn(*shape)

    def preferences(self, n: int, direction: Tensor, streams: Streams, *, co_occurrence: float) -> Preferences:
        """Draw n pairs: P(a ≻ b) = σ(logit p_a − logit p_b), p uniform, and tones that follow the preference."""
        p = 0.03 + 0.94 * streams.rand(n, 2)
        first = streams.rand(n) < torch.sigmoid(p[..., 0].logit() - p[..., 1].logit())
        p = torch.where(first[..., None], p, p.flip(-1))  # the preferred first
        sure = (streams.rand(n, 2) < co_occurrence) == torch.tensor([True, False])
        return Preferences(self.features(p, direction, streams), p, torch.where(sure, *tones(streams, n, 2)))


def tones(streams: Streams, *shape: int) -> tuple[Tensor, Tensor]:
    """Draw confidences in tenths: high ones, 0.7 to 1, and low ones, 0 to 0.3."""
    high, low = streams.randint(4, *shape), streams.randint(4, *shape)
    return (high.to(streams.dtype) + 7) / 10, low.to(streams.dtype) / 10


def reward(models: BatchedMLP, features: Tensor, tone: Tensor | float) -> Tensor:
    """Return (S, M, ...) rewards of answers (S, ..., D) in tones (S, ...)."""
    stated = 2 * torch.as_tensor(tone, dtype=features.dtype).expand(features.shape[:-1])[..., None] - 1
    rewards: Tensor = models(torch.cat([features, stated], dim=-1).flatten(1, -2)[:, None])
    return rewards.view(*models.lead, *features.shape[1:-1])


@torch.no_grad()
def tabled(models: BatchedMLP, features: Tensor, levels: Tensor | Sequence[float]) -> Tensor:
    """Return (S, M, X, A, L) rewards of every answer (S, X, A, D) in every tone."""
    stated = torch.as_tensor(levels, dtype=features.dtype)
    return reward(models, features[..., None, :].expand(-1, -1, -1, len(stated), -1), stated)


def toned_scores(models: BatchedMLP, data: Preferences, streams: Streams) -> Tensor:
    """Return (6, S, M, n) rewards of the texts that Leng et al. 2024, arXiv:2410.09724, compare.

    In order: chosen and rejected without a tone, chosen in a high and a low one, rejected in a low and a high one.
    """
    sure, unsure = tones(streams, data.p_correct.shape[1], 2)
    neutral = torch.full_like(sure[..., 0], NEUTRAL)
    stated = [neutral, neutral, sure[..., 0], unsure[..., 0], unsure[..., 1], sure[..., 1]]
    chosen, rejected = data.features.unbind(2)
    texts = [chosen, rejected, chosen, chosen, rejected, rejected]
    return reward(models, torch.stack(texts, dim=1), torch.stack(stated, dim=1)).movedim(2, 0)


def fit(
    models: BatchedMLP, data: Preferences, loss: Callable[..., Tensor], streams: Streams, *, steps: int
) -> BatchedMLP:
    """Train by Adam on random batches of a loss (S, M, n), in place; the models of a seed see the same pairs."""
    seed = torch.arange(len(streams))[:, None]
    for _ in adam_steps(models.parameters(), steps, learning_rate=0.01):
        picks = streams.randint(data.p_correct.shape[1], 128)
        batch = Preferences(*(column[seed, picks] for column in data))
        torch.autograd.backward(loss(models, batch, streams).mean(-1).sum())
    return models


def preference_loss(models: BatchedMLP, data: Preferences, streams: Streams) -> Tensor:
    """Return (S, M, n) Bradley-Terry losses of pairs as written, whose tone the model comes to like."""
    return bt_loss(*(reward(models, data.features[:, :, k], data.tone[:, :, k]) for k in (0, 1)))


def retraining_loss(models: BatchedMLP, pairs: Preferences, streams: Streams, *, broken: bool) -> Tensor:
    """Return (S, 3, n) losses of `RETRAINED`, in order; if broken, the combined one learns flipped labels too."""
    default, combined, flipped = toned_scores(models, pairs, streams).unbind(2)  # (6, S, n) each
    losses = [
        confidence_calibration_loss(*default[2:]),
        combined_confidence_loss(*(combined[FLIPPED] if broken else combined)),
        combined_confidence_loss(*flipped[FLIPPED]),
    ]
    return torch.stack(losses, dim=1)


@torch.no_grad()
def prefers_confidence(models: BatchedMLP, features: Tensor, streams: Streams) -> Tensor:
    """Return (S, M, ...) whether answers (S, ..., D) score higher in a high than in a low tone, drawn per answer."""
    high, low = tones(streams, *features.shape[1:-1])
    return reward(models, features, high) > reward(models, features, low)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure calibration of policies under the plain reward, its adjusted reward, and retrained models."""
    streams = Streams(seeds)
    direction, steps = F.normalize(streams.randn(N_FEATURES), dim=-1), world.model_steps
    pairs = world.preferences(world.n_pairs, direction, streams, co_occurrence=world.co_occurrence)
    fresh = BatchedMLP((N_FEATURES + 1, WIDTH, 1), lead=(len(seeds), 1), streams=streams, activation=torch.tanh)
    plain = fit(fresh, pairs, preference_loss, streams, steps=steps)
    retrained = fit(plain.take([0, 0, 0]), pairs, partial(retraining_loss, broken=broken), streams, steps=steps)
    best = (world.best_low, world.best_high)
    posterior = KnownPosterior.answers(streams, best=best, **parameters(world, KnownPosterior.answers))
    features = world.features(posterior.p_correct, direction, streams)

    toned = torch.cat([tabled(models, features, posterior.levels) for models in (plain, retrained)], dim=1)
    n_toned, toned = toned.shape[1], toned.flatten(-2)  # (S, 1 + 3, X, A·L) rewards of the answer in its tone
    stripped = tabled(plain, features, [NEUTRAL])[:, 0, ..., 0]  # (S, X, A) of the answer without a tone
    adjusters = {  # each with its own Δ, which starts at the plain model's mean over all answers
        (seed, k): ConfidenceAdjusted(weight=weight, initial_mean=float(own.mean()))
        for k, weight in enumerate((world.weight, 0.0, world.weight), start=n_toned)  # of ADJUSTED
        for seed, own in enumerate(stripped)
    }
    turned = {n_toned + 2, n_toned} if broken else {n_toned + 2}  # of these arms the confidence is turned round

    def rewards(rollouts: StatedRollouts) -> Tensor:
        """Return (S, N, X, G) rewards of each of `ARMS`."""
        said = (rollouts.answer * len(posterior.levels) + rollouts.level)[:, :n_toned]
        given = torch.cat([toned.gather(-1, said), torch.empty_like(rollouts.confidence[:, n_toned:])], dim=1)
        for (seed, k), adjust in adjusters.items():
            bare, c = stripped[seed].gather(-1, rollouts.answer[seed, k]), rollouts.confidence[seed, k]
            given[seed, k] = adjust(bare.flatten(), (1 - c if k in turned else c).flatten()).view_as(bare)
        return given

    policy = train_stated(posterior, rewards, streams=streams, n_arms=len(ARMS), **parameters(world, train_stated))
    measured = posterior.measure(policy)
    table: dict[str, dict[str, Any]]  # {metric: {arm: a number per seed}}
    table = {name: dict(zip(ARMS, zip(*of, strict=True), strict=True)) for name, of in measured.items()}
    unseen = world.preferences(world.n_pairs, direction, streams, co_occurrence=0.9)
    each_model = {"plain": plain} | {name: retrained.take([k]) for k, name in enumerate(RETRAINED)}
    sure = {name: prefers_confidence(one, unseen.features, streams)[:, 0] for name, one in each_model.items()}
    for kind, among in {"good": unseen.p_correct >= world.good_from, "bad": unseen.p_correct <= world.bad_to}.items():
        table[f"bias_on_{kind}"] = {name: (of & among).sum((1, 2)) / among.sum((1, 2)) for name, of in sure.items()}
    return rows(table)


X, Y = ("ece", "expected calibration error"), ("auroc", "AUROC of the stated confidence")
figure = partial(plane, x=X, y=Y, in_legend=("accuracy",))  # good is up and left
