"""A reward model that likes a confident tone teaches boasting; calibrate the model, or the reward that it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain, Results
from rewardsmith.measures import auroc, expected_calibration_error
from rewardsmith.objectives import combined_confidence_loss, confidence_calibration_loss
from rewardsmith.transforms import ConfidenceAdjusted
from rewardsmith.worlds import (
    NEUTRAL,
    KnownPosterior,
    Preferences,
    StatedRollouts,
    Streams,
    TonedScores,
    ToneModels,
    ToneWorld,
    preference_loss,
    prefers_confidence,
    toned_scores,
    train_stated,
    train_tone_models,
)

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
RETRAINED = ("ppo_m_default", "ppo_m_combined", "ppo_m_flipped")
ADJUSTED = ("ppo_c", "strip_only", "ppo_c_flipped")
ARMS = ("ppo", *RETRAINED, *ADJUSTED)


@dataclass(frozen=True, slots=True)
class World:
    """Answers that a reward model knows by their looks and their tone, and a policy paid by that model."""

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


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Calibration of policies under the plain reward model, its adjusted reward, and models that were retrained."""
    streams = Streams(seeds)
    looks = ToneWorld.sample(streams, noise_std=world.noise_std)
    pairs = looks.preferences(world.n_pairs, streams, co_occurrence=world.co_occurrence)
    fit = partial(train_tone_models, data=pairs, streams=streams, steps=world.model_steps)
    plain = fit(ToneModels.fresh(streams), loss=preference_loss)
    retrained = fit(plain.copies(len(RETRAINED)), loss=partial(retraining_loss, broken=broken))
    posterior = KnownPosterior.answers(
        streams, n_inputs=world.n_inputs, n_answers=world.n_answers, best=(world.best_low, world.best_high)
    )
    features = looks.features(posterior.p_correct, streams)
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
    unseen = looks.preferences(world.n_pairs, streams)
    for name, models in zip(("plain", *RETRAINED), (plain, *retrained.each()), strict=True):
        for row, found in zip(rows, bias(models, unseen, streams, world), strict=True):
            row |= {f"{which}/{name}": value for which, value in found.items()}
    return rows


def retraining_loss(models: ToneModels, pairs: Preferences, streams: Streams, *, broken: bool) -> Tensor:
    """(S, 3, n) the losses of `RETRAINED`, in order; if broken, the combined one learns flipped labels too."""
    scores = toned_scores(models, pairs, streams)
    default, combined, flipped = (type(scores)(*(column[:, arm] for column in scores)) for arm in range(3))
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


def flip(scores: TonedScores) -> TonedScores:
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
    prefers = prefers_confidence(models, unseen.features.flatten(1, 2), streams=streams)[:, 0]
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
