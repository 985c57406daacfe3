"""Add a proper scoring rule of stated confidence to correctness: confidence becomes honest at no cost in accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.figures import plain, plane
from rewardsmith.atlas.page import parameters
from rewardsmith.transforms import brier_reward
from rewardsmith.transforms.scoring_rules import incentive_compatible, linear_reward, log_score_reward, spherical_reward
from rewardsmith.worlds import Streams
from rewardsmith.worlds.known_posterior import KnownPosterior, StatedRollouts, train_stated

CRITERION = All(
    AtMost("ece/rlcr", 0.08),
    AtMost("ece_ratio/rlcr", 0.3333333333333333),  # a third of that of rlvr
    PairedGain("accuracy/rlcr", over="accuracy/rlvr", at_least=-0.01, at_most=0.01),
    AtLeast("auroc/rlcr", 0.68),
    # What must fail: an improper rule on calibration, the Brier score without correctness on accuracy.
    AtLeast("ece/linear", 0.08),
    PairedGain("accuracy/brier_only", over="accuracy/rlvr", at_most=-0.01),
    # `incentive_compatible` says before training which weights keep accuracy.
    AtLeast("keeps_accuracy/rlcr", 1.0),
    AtMost("keeps_accuracy/brier_at_half_accuracy", 0.0),
    AtMost("keeps_accuracy/log", 0.0),
    AtMost("keeps_accuracy/log_clipped", 0.0),
)
RULES: dict[str, Callable[..., Tensor]] = {
    "rlvr": partial(brier_reward, weight=0.0),
    "rlcr": brier_reward,
    "half_weights": partial(brier_reward, accuracy_weight=0.5, weight=0.5),
    "spherical": spherical_reward,
    "linear": linear_reward,
    "brier_only": partial(brier_reward, accuracy_weight=0.0),
    "log_clipped": log_score_reward,
    "sign_flipped": partial(brier_reward, weight=-1.0),
}
ARMS = (*RULES, "confident_when_right")  # the last gets z·q, which is no scoring rule
ASKED: dict[str, Callable[..., Tensor]] = {
    "rlcr": brier_reward,
    "brier_at_half_accuracy": partial(brier_reward, accuracy_weight=0.5),
    "log": partial(log_score_reward, eps=0.0),
    "log_clipped": log_score_reward,
}


@dataclass(frozen=True, slots=True)
class World:
    """Inputs with noisy labels, and a policy that answers and states one of eleven confidences."""

    n_inputs: int = 40  # inputs
    n_labels: int = 5  # possible answers per input
    top_low: float = 0.30  # probability of the likeliest label of the most ambiguous input
    top_high: float = 0.97  # the same for the clearest input
    group_size: int = 16  # G, rollouts per input and update
    updates: int = 600  # gradient steps
    learning_rate: float = 0.05  # of Adam, logits per step


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure accuracy and calibration under each reward, from the policy and the posterior."""
    streams = Streams(seeds)
    top = (world.top_low, world.top_high)
    posterior = KnownPosterior.labels(streams, top=top, **parameters(world, KnownPosterior.labels))
    schedule = parameters(world, train_stated)
    policy = train_stated(posterior, partial(pay, broken=broken), streams=streams, n_arms=len(ARMS), **schedule)
    measured = posterior.measure(policy)
    rows = []
    for seed in range(len(seeds)):
        row = {f"{name}/{arm}": v for name, of in measured.items() for arm, v in zip(ARMS, of[seed], strict=True)}
        row["ece_ratio/rlcr"] = row["ece/rlcr"] / row["ece/rlvr"]
        row["accuracy/oracle"] = float(posterior.best_accuracy[seed])
        row |= {f"keeps_accuracy/{name}": float(incentive_compatible(rule).holds) for name, rule in ASKED.items()}
        rows.append(row)
    return rows


def pay(rollouts: StatedRollouts, *, broken: bool = False) -> Tensor:
    """Return (S, N, X, G) rewards of each of `ARMS`."""
    rules = RULES | ({"rlcr": linear_reward} if broken else {})
    correct, confidence = rollouts.correct.unbind(1), rollouts.confidence.unbind(1)
    paid = [
        rule(z.flatten(), q.flatten()).view_as(z)
        for z, q, rule in zip(correct[:-1], confidence[:-1], rules.values(), strict=True)
    ]
    return torch.stack([*paid, correct[-1] * confidence[-1]], dim=1)


figure = partial(  # a good reward ends on the left, at the height of the line
    plane,
    x=("ece", "expected calibration error"),
    y=("accuracy", "accuracy"),
    arms={arm: plain(arm) for arm in ARMS},
    level=("best possible", "accuracy/oracle"),
)
