"""A reward model that likes a confident tone teaches boasting; calibrate the model, or the reward that it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_range
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain, Results
from rewardsmith.measures import auroc, expected_calibration_error
from rewardsmith.objectives import bt_loss, combined_confidence_loss, confidence_calibration_loss
from rewardsmith.transforms import ConfidenceAdjusted
from rewardsmith.worlds import KnownPosterior, Streams
from rewardsmith.worlds.batched_mlp import batched_linear
from rewardsmith.worlds.known_posterior import StatedRollouts, train_stated
from rewardsmith.worlds.training import adam_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
N_FEATURES, NEUTRAL = 8, 0.5  # of an answer; the tone of a text that states no confidence
RETRAINED = ("ppo_m_default", "ppo_m_combined", "ppo_m_flipped")
ADJUSTED = ("ppo_c", "strip_only", "ppo_c_flipped")
ARMS = ("ppo", *RETRAINED, *ADJUSTED)


class Preferences(NamedTuple):
    """n pairs per seed, the preferred answer first.

    features (S, n, 2, D), p_correct (S, n, 2), tone (S, n, 2) in which each was written.
    """

    features: Tensor
    p_correct: Tensor
    tone: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """Answers that a reward model knows by their looks and their tone, and a policy paid by that model.

    An answer's looks are eight features that carry the log-odds of its being right along a unit vector, `direction`
    (S, D); its tone is the confidence it states. Seeds S, and the models M of a seed, stand side by side.
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

    def direction(self, streams: Streams) -> Tensor:
        """(S, D) the random direction of each seed."""
        return F.normalize(streams.randn(N_FEATURES), dim=-1)

    def features(self, p_correct: Tensor, direction: Tensor, streams: Streams) -> Tensor:
        """(S, ..., D) what answers of probability p_correct (S, ...) look like."""
        shape = (*p_correct.shape[1:], N_FEATURES)
        along = direction.view(len(streams), *[1] * (len(shape) - 1), -1)
        return p_correct.logit(eps=1e-3)[..., None] * along + self.noise_std * streams.randn(*shape)

    def preferences(self, n: int, direction: Tensor, streams: Streams, *, co_occurrence: float) -> Preferences:
        """n pairs per seed; the preference is drawn from the answers' log-odds, the tone from the preference.

            P(a ≻ b) = σ(logit p_a − logit p_b)        p uniform

        Args:
            co_occurrence: probability that the preferred answer sounds sure, and that the other does not.
        """
        check_range("World.preferences", "co_occurrence", co_occurrence, 0.0, 1.0)
        p = 0.03 + 0.94 * streams.rand(n, 2)
        first = streams.rand(n) < torch.sigmoid(p[..., 0].logit() - p[..., 1].logit())
        order = torch.where(first[..., None], torch.tensor([0, 1]), torch.tensor([1, 0]))
        p = p.gather(-1, order)  # (S, n, 2), the preferred first
        sure = (streams.rand(n, 2) < co_occurrence) == torch.tensor([True, False])
        return Preferences(self.features(p, direction, streams), p, torch.where(sure, *tones(streams, n, 2)))


def tones(streams: Streams, *shape: int) -> tuple[Tensor, Tensor]:
    """Confidences in tenths: high ones, 0.7 to 1, and low ones, 0 to 0.3."""
    high, low = streams.randint(4, *shape), streams.randint(4, *shape)
    return (high.to(streams.dtype) + 7) / 10, low.to(streams.dtype) / 10


class ToneModels(NamedTuple):
    """S·M reward models, each a perceptron with one hidden layer over features and tone.

    hidden: (S, M, D + 2, H) weights of features, of 2·tone − 1, and biases; out: (S, M, H, 1).
    """

    hidden: Tensor
    out: Tensor

    @classmethod
    def fresh(cls, streams: Streams, *, width: int = 24) -> ToneModels:
        """One random model per seed, (S, 1)."""
        hidden = streams.randn(1, N_FEATURES + 2, width) / (N_FEATURES + 2) ** 0.5
        return cls(hidden, streams.randn(1, width, 1) / width**0.5)

    def take(self, index: Sequence[int]) -> ToneModels:
        """Copies of the models at these indices, to be trained apart."""
        return ToneModels(*(weight.detach()[:, list(index)] for weight in self))

    def __call__(self, features: Tensor, tone: Tensor | float) -> Tensor:
        """(S, M, R) rewards of answers (S, R, D) in tones (S, R)."""
        told = 2 * torch.as_tensor(tone, dtype=features.dtype).expand(features.shape[:-1])[..., None] - 1
        inputs = torch.cat([features, told, torch.ones_like(told)], dim=-1)  # (S, R, D + 2)
        return batched_linear(batched_linear(inputs[:, None], self.hidden).tanh(), self.out).squeeze(-1)

    def table(self, features: Tensor, levels: Tensor | Sequence[float]) -> Tensor:
        """(S, M, X, A, L) rewards of every answer (S, X, A, D) in every tone."""
        stated = torch.as_tensor(levels, dtype=features.dtype)
        every = features[..., None, :].expand(*features.shape[:-1], len(stated), -1).flatten(1, 3)
        rewards = self(every, stated.repeat(every.shape[1] // len(stated)).expand(len(features), -1))
        return rewards.view(*rewards.shape[:2], *features.shape[1:3], len(stated)).detach()


class Scores(NamedTuple):
    """(S, M, n) each: the pairs' rewards without a tone, and with freshly drawn high and low ones."""

    chosen: Tensor
    rejected: Tensor
    chosen_high: Tensor
    chosen_low: Tensor
    rejected_low: Tensor
    rejected_high: Tensor


def toned_scores(models: ToneModels, data: Preferences, streams: Streams) -> Scores:
    """The six texts that Leng et al. 2024, arXiv:2410.09724, compare; high is 0.7 to 1, low 0 to 0.3, in tenths."""
    n = data.p_correct.shape[1]
    sure, unsure = tones(streams, n, 2)
    neutral = torch.full_like(sure[..., 0], NEUTRAL)
    stated = [neutral, neutral, sure[..., 0], unsure[..., 0], unsure[..., 1], sure[..., 1]]
    chosen, rejected = data.features.unbind(2)
    texts = [chosen, rejected, chosen, chosen, rejected, rejected]
    rewards = models(torch.cat(texts, dim=1), torch.cat(stated, dim=1))
    return Scores(*rewards.view(*rewards.shape[:2], 6, n).unbind(2))


def fit(
    models: ToneModels,
    data: Preferences,
    loss: Callable[[ToneModels, Preferences, Streams], Tensor],
    streams: Streams,
    *,
    steps: int = 250,
) -> ToneModels:
    """Adam on random batches of a loss (S, M, n); the models of a seed see the same pairs."""
    weights = [weight.clone().requires_grad_() for weight in models]
    seed = torch.arange(len(streams))[:, None]
    for _ in adam_steps(weights, steps, learning_rate=0.01):
        picks = streams.randint(data.p_correct.shape[1], 128)
        batch = Preferences(*(column[seed, picks] for column in data))
        torch.autograd.backward(loss(ToneModels(*weights), batch, streams).mean(-1).sum())
    return ToneModels(*(weight.detach() for weight in weights))


def preference_loss(models: ToneModels, data: Preferences, streams: Streams) -> Tensor:
    """(S, M, n) Bradley-Terry on the pairs as they were written, tone and all: how a model comes to like the tone."""
    return bt_loss(*(models(data.features[:, :, k], data.tone[:, :, k]) for k in (0, 1)))


def prefers_confidence(models: ToneModels, features: Tensor, streams: Streams) -> Tensor:
    """(S, M, n) True where an answer (S, n, D) is paid more in a high than in a low tone, each drawn per answer."""
    high, low = tones(streams, features.shape[1])
    return models(features, high) > models(features, low)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Calibration of policies under the plain reward model, its adjusted reward, and models that were retrained."""
    streams = Streams(seeds)
    direction, steps = world.direction(streams), world.model_steps
    pairs = world.preferences(world.n_pairs, direction, streams, co_occurrence=world.co_occurrence)
    plain = fit(ToneModels.fresh(streams), pairs, preference_loss, streams, steps=steps)
    copies = plain.take([0] * len(RETRAINED))
    retrained = fit(copies, pairs, partial(retraining_loss, broken=broken), streams, steps=steps)
    posterior = KnownPosterior.answers(
        streams, n_inputs=world.n_inputs, n_answers=world.n_answers, best=(world.best_low, world.best_high)
    )
    features = world.features(posterior.p_correct, direction, streams)
    pay = Payroll.of(plain, retrained, features, posterior.levels, world.weight, broken)
    policy = train_stated(
        posterior, pay, streams=streams, n_arms=len(ARMS),
        updates=world.updates, group_size=world.group_size, learning_rate=world.learning_rate,
    )  # fmt: skip
    measured = posterior.measure(policy, MEASURES)
    rows = [
        {f"{name}/{arm}": value for name, of in measured.items() for arm, value in zip(ARMS, of[seed], strict=True)}
        for seed in range(len(seeds))
    ]
    unseen = world.preferences(world.n_pairs, direction, streams, co_occurrence=0.9)
    each = [plain, *(retrained.take([k]) for k in range(len(RETRAINED)))]
    for name, models in zip(("plain", *RETRAINED), each, strict=True):
        for row, found in zip(rows, bias(models, unseen, streams, world), strict=True):
            row |= {f"{which}/{name}": value for which, value in found.items()}
    return rows


def retraining_loss(models: ToneModels, pairs: Preferences, streams: Streams, *, broken: bool) -> Tensor:
    """(S, 3, n) the losses of `RETRAINED`, in order; if broken, the combined one learns flipped labels too."""
    scores = toned_scores(models, pairs, streams)
    default, combined, flipped = (Scores(*(column[:, arm] for column in scores)) for arm in range(3))
    if broken:
        combined = flip(combined)
    return torch.stack(
        [
            confidence_calibration_loss(*default[2:]),
            combined_confidence_loss(*combined),
            combined_confidence_loss(*flip(flipped)),
        ],
        dim=1,
    )


def flip(scores: Scores) -> Scores:
    """The same with high and low confidence exchanged."""
    return scores._replace(
        chosen_high=scores.chosen_low,
        chosen_low=scores.chosen_high,
        rejected_low=scores.rejected_high,
        rejected_high=scores.rejected_low,
    )


@dataclass(frozen=True, slots=True)
class Payroll:
    """What each of `ARMS` is paid for a rollout.

    tables: (S, 1 + 3, X, A·L) rewards of the plain and the retrained models for the answer in its tone.
    stripped: (S, X, A) the plain model's for the answer without a tone.
    adjusters: per seed one for each of `ADJUSTED`, with its own running mean.
    flips: of which of them the confidence is turned round.
    """

    tables: Tensor
    stripped: Tensor
    adjusters: list[list[ConfidenceAdjusted]]
    flips: tuple[bool, ...]

    @classmethod
    def of(
        cls, plain: ToneModels, retrained: ToneModels, features: Tensor, levels: Tensor, weight: float, broken: bool
    ) -> Payroll:
        """Look up every answer's reward once; Δ starts at the plain model's mean over all answers."""
        tables = torch.cat([models.table(features, levels) for models in (plain, retrained)], dim=1)
        stripped = plain.table(features, [NEUTRAL])[:, 0, ..., 0]
        adjusters = [
            [ConfidenceAdjusted(weight=w, initial_mean=float(rewards.mean())) for w in (weight, 0.0, weight)]
            for rewards in stripped
        ]
        return cls(tables.flatten(-2), stripped, adjusters, (broken, False, True))

    def __call__(self, rollouts: StatedRollouts) -> Tensor:
        n_tables, n_levels = self.tables.shape[1], self.tables.shape[-1] // self.stripped.shape[-1]
        index = (rollouts.answer * n_levels + rollouts.level)[:, :n_tables]
        stripped = self.stripped[:, None].expand(-1, len(self.flips), -1, -1).gather(-1, rollouts.answer[:, n_tables:])
        confidence = rollouts.confidence[:, n_tables:]
        adjusted = [
            [
                adjust(rewards.flatten(), (1 - c if turned else c).flatten()).view_as(rewards)
                for adjust, rewards, c, turned in zip(
                    adjusters, stripped[seed], confidence[seed], self.flips, strict=True
                )
            ]
            for seed, adjusters in enumerate(self.adjusters)
        ]
        return torch.cat([self.tables.gather(-1, index), torch.stack([torch.stack(row) for row in adjusted])], dim=1)


def bias(models: ToneModels, unseen: Preferences, streams: Streams, world: World) -> list[dict[str, float]]:
    """Per seed, how often one model per seed pays the sure version of an answer more, on good and on bad answers."""
    prefers = prefers_confidence(models, unseen.features.flatten(1, 2), streams)[:, 0]
    p_correct = unseen.p_correct.flatten(1, 2)
    good, bad = p_correct >= world.good_from, p_correct <= world.bad_to
    return [
        {"bias_on_good": float(sure[g].double().mean()), "bias_on_bad": float(sure[b].double().mean())}
        for sure, g, b in zip(prefers, good, bad, strict=True)
    ]


MEASURES: dict[str, Callable[..., float]] = {
    "accuracy": lambda confidence, correct, weights: float(np.average(correct, weights=weights)),
    "mean_confidence": lambda confidence, correct, weights: float(np.average(confidence, weights=weights)),
    "ece": expected_calibration_error,
    "auroc": auroc,
}


def figure(results: Results, axes: Axes) -> None:
    """Calibration error against ranking: the plain reward model is at the right, at chance; good is up and left."""
    axes.axhline(0.5, color="gray", linewidth=0.8, linestyle="--")
    for arm in ARMS:
        x, y = (float(np.mean(results[f"{name}/{arm}"])) for name in ("ece", "auroc"))
        accuracy = float(np.mean(results[f"accuracy/{arm}"]))
        label = f"{arm.replace('_', ' ')} (accuracy {accuracy:.2f})"
        axes.plot([x], [y], "X" if arm.endswith("flipped") else "o", markersize=8, label=label)
    axes.set_xlabel("expected calibration error")
    axes.set_ylabel("AUROC of the stated confidence")
    axes.set_xlim(0.0, 0.8)
    axes.set_ylim(0.2, 0.85)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.45, -0.16))
