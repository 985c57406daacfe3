"""Compare a length penalty on the easiest prompts with a penalty on all, over a grid of strengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.advantages import group_centered, group_zscore
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.figures import plain, plane
from rewardsmith.atlas.page import rows
from rewardsmith.transforms import length_shaped
from rewardsmith.transforms.easiest import easiest_prompts
from rewardsmith.transforms.easiest import grpo_lambda as gate
from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps, table_gradient

ALPHAS = (0.6, 0.2, 0.05, 0.01)  # of both the method and the penalty on all
CENTERED_ALPHAS = (0.35, 0.3, 0.25, 0.2)  # of the penalty on all without the division by the standard deviation
CRITERION = All(
    # At its worst strength the gate gains on the start and shortens; the penalty on all loses accuracy.
    PairedGain("worst_accuracy/grpo_lambda", over="worst_accuracy/penalty", at_least=0.06, p_value=0.01),
    PairedGain("worst_accuracy/grpo_lambda", over="accuracy/start", at_least=0.03),
    AtMost("largest_length_ratio/grpo_lambda", 0.75),  # of plain GRPO's length
    PairedGain("worst_accuracy/penalty", over="accuracy/start", at_most=-0.02),
    # Must fail: the inverted gate, on length.
    AtLeast("length_ratio/inverted", 0.75),
    # The control, the best penalty on all that is no longer, is within two points of the gate.
    PairedGain("accuracy/grpo_lambda_0.6", over="accuracy/penalty_tuned", at_most=0.02),
)


class Draws(NamedTuple):
    """Hold sampled answers, (S, A, P, G) each: the length as an index and in units, and 1.0 where right, else 0.0."""

    chosen: Tensor
    lengths: Tensor
    correct: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """A bandit chooses a length; three classes of prompts need answers of different length.

    Length is counted in units of many tokens. A policy is a table of probabilities (S, A, C, L) of seeds S, arms A,
    classes C and lengths L.
    """

    needed_easy: float = 3.0  # units at which half of the cap is reached
    needed_middle: float = 6.0  # units
    needed_hard: float = 10.0  # units
    cap_easy: float = 0.99  # chance of a right answer however long
    cap_middle: float = 0.90  # chance
    cap_hard: float = 0.70  # chance
    steepness: float = 1.2  # per unit
    n_lengths: int = 16  # lengths from 1 unit upward
    unit: float = 100.0  # tokens; what the transform is told of a length
    start_length: float = 11.0  # units; the most likely length at the start
    start_std: float = 3.0  # units
    fraction: float = 0.2  # λ, share of the batch's prompts that are asked for brevity
    batch_prompts: int = 48  # prompts per step
    group_size: int = 8  # G, answers per prompt and step
    updates: int = 400  # gradient steps
    learning_rate: float = 0.03  # of Adam, logits per step
    by_class: bool = True  # whether the policy can tell classes of prompts apart

    def __post_init__(self) -> None:
        for cap in self.caps:
            check_range("World", "caps", cap, 0.0, 1.0)

    @property
    def needed(self) -> tuple[float, ...]:
        """(C,) lengths at which half of what is possible is reached, by class."""
        return self.needed_easy, self.needed_middle, self.needed_hard

    @property
    def caps(self) -> tuple[float, ...]:
        """(C,) chances of being right however long the answer."""
        return self.cap_easy, self.cap_middle, self.cap_hard

    @property
    def lengths(self) -> Tensor:
        """(L,) 1…L, in units."""
        return torch.arange(1, self.n_lengths + 1, dtype=torch.float64)

    @property
    def p_correct(self) -> Tensor:
        """(C, L) chance of a right answer by class and length: cap_c · σ(steepness · (n − needed_c))."""
        needed, caps = (torch.tensor(column, dtype=torch.float64)[:, None] for column in (self.needed, self.caps))
        return caps * torch.sigmoid(self.steepness * (self.lengths - needed))

    def sample(self, policy: Tensor, classes: Tensor, choice: Tensor, luck: Tensor) -> Draws:
        """Draw G answers of a policy (S, A, C, L) to P prompts of classes (S, P), by uniforms (S, 1 or A, P, G)."""
        seeds = torch.arange(len(policy))[:, None]
        by_prompt = policy.transpose(1, 2)[seeds, classes].transpose(1, 2)  # (S, A, P, L)
        chosen = sample_index(by_prompt[:, :, :, None], choice)
        chance = self.p_correct[classes[:, None, :, None], chosen]
        return Draws(chosen, self.lengths[chosen], (luck < chance).to(policy))

    def accuracy(self, policy: Tensor) -> Tensor:
        """Return (S, A, C) the exact chance that a sampled answer is right, by class."""
        return (policy * self.p_correct).sum(dim=-1)

    def length(self, policy: Tensor) -> Tensor:
        """Return (S, A) the exact expected length over all classes."""
        return (policy * self.lengths).sum(dim=-1).mean(dim=-1)

    def arms(self, broken: bool) -> dict[str, partial[Tensor]]:
        """Return every arm's reward: which share of the prompts is asked for brevity, and how much it counts."""
        method = partial(hardest_shaped if broken else gate, fraction=self.fraction)
        penalty = partial(gate, fraction=1.0)
        return {
            "grpo": partial(gate, fraction=0.0),
            "inverted": partial(hardest_shaped, fraction=self.fraction, alpha=ALPHAS[0]),
            **{f"grpo_lambda_{alpha}": partial(method, alpha=alpha) for alpha in ALPHAS},
            **{f"penalty_{alpha}": partial(penalty, alpha=alpha) for alpha in ALPHAS},
            **{f"penalty_centered_{alpha}": partial(penalty, alpha=alpha) for alpha in CENTERED_ALPHAS},
        }


def hardest_shaped(
    correct: Tensor, lengths: Tensor, *, group_size: int, fraction: float, alpha: float, generator: torch.Generator
) -> Tensor:
    """Apply the penalty to the prompts that are solved least often: (B,) rewards."""
    hardest = easiest_prompts(1 - correct, group_size=group_size, fraction=fraction, generator=generator)
    return torch.where(hardest, length_shaped(correct, lengths, group_size=group_size, alpha=alpha), correct)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure exactly the accuracy and length that each arm trains, its worst over strengths, and the best control."""
    arms = world.arms(broken)
    begin, final = train(arms, world, Streams(seeds))
    by_class, length = world.accuracy(final), world.length(final)
    of_arms = {
        "accuracy": by_class.mean(dim=-1),
        "accuracy_hard": by_class[..., -1],
        "length": length,
        "length_ratio": length / length[:, :1],  # the first arm is plain GRPO
    }
    tables = {name: dict(zip(arms, values.unbind(1), strict=True)) for name, values in of_arms.items()}
    accuracy, lengths, ratios = tables["accuracy"], tables["length"], tables["length_ratio"]
    for name in ("grpo_lambda", "penalty"):
        grid = [f"{name}_{alpha}" for alpha in ALPHAS]
        tables.setdefault("worst_accuracy", {})[name] = torch.stack([accuracy[arm] for arm in grid]).amin(dim=0)
        tables.setdefault("largest_length_ratio", {})[name] = torch.stack([ratios[arm] for arm in grid]).amax(dim=0)
    controls = [arm for arm in arms if arm.startswith("penalty_")]
    allowed = torch.stack([lengths[arm] <= lengths[f"grpo_lambda_{ALPHAS[0]}"] for arm in controls])
    tuned = torch.stack([accuracy[arm] for arm in controls]).where(allowed, torch.tensor(-math.inf))
    accuracy["penalty_tuned"] = tuned.amax(dim=0)
    accuracy["start"] = world.accuracy(begin)[:, 0].mean(dim=-1)
    lengths["start"] = world.length(begin)[:, 0]
    return rows(tables)


def train(arms: dict[str, partial[Tensor]], world: World, streams: Streams) -> tuple[Tensor, Tensor]:
    """Train by GRPO over lengths; return policies (S, A, C, L) at the start and at the end.

    Seeds and arms stand side by side. Logits are a table for all classes plus, if the policy can tell them apart, one
    each. Arms named "centered" skip the division by the group's standard deviation.
    """
    n_classes, shape = len(world.needed), (world.batch_prompts, world.group_size)
    shared = -((world.lengths - world.start_length) ** 2) / (2 * world.start_std**2)
    shared = shared.repeat(len(streams), len(arms), 1, 1)  # (S, A, 1, L)
    own = torch.zeros(len(streams), len(arms), n_classes, world.n_lengths, dtype=torch.float64)
    centered = torch.tensor(["centered" in name for name in arms])[:, None, None]
    tables, begin = [shared, own] if world.by_class else [shared], (shared + own).softmax(dim=-1)
    for _ in adam_steps(tables, world.updates, learning_rate=world.learning_rate, maximize=True, fused=False):
        policy = (shared + own).softmax(dim=-1)
        classes = streams.randint(n_classes, world.batch_prompts)  # (S, P)
        draws = world.sample(policy, classes, streams.rand(1, *shape), streams.rand(1, *shape))
        rewards = rewarded(draws, arms, world, streams.randint(2**31, 1))
        zscores, gaps = (
            estimator(rewards.flatten(), group_size=world.group_size).view_as(rewards)
            for estimator in (group_zscore, group_centered)
        )
        credit = torch.where(centered, gaps, zscores) / rewards[0, 0].numel()  # (S, A, P, G)
        own.grad = table_gradient(policy, classes[:, None, :, None], draws.chosen, credit)
        shared.grad = own.grad.sum(dim=2, keepdim=True)
    return begin, (shared + own).softmax(dim=-1)


def rewarded(draws: Draws, arms: dict[str, partial[Tensor]], world: World, seeds: Tensor) -> Tensor:
    """Return (S, A, P, G) rewards; a batch is one arm's prompts under one seed, whose ties (S, 1) it alone breaks."""
    rewards = []
    for index, arm in enumerate(arms.values()):
        correct, lengths = draws.correct[:, index], world.unit * draws.lengths[:, index]
        # Where every prompt or none is penalized, nothing is ranked, so that the seeds may share a call.
        n_batches = 1 if arm.keywords["fraction"] in (0.0, 1.0) else len(seeds)
        batches = zip(correct.reshape(n_batches, -1), lengths.reshape(n_batches, -1), seeds[:n_batches], strict=True)
        shaped = [
            arm(z, n, group_size=world.group_size, generator=torch.Generator().manual_seed(int(seed)))
            for z, n, seed in batches
        ]
        rewards.append(torch.stack(shaped).view_as(correct))
    return torch.stack(rewards, dim=1)


SHOWN = ("start", "grpo", "inverted", "grpo_lambda_0.6", "penalty_0.6", "penalty_0.01", "penalty_centered_0.3")
figure = partial(
    plane,
    x=("length", "expected length (units)"),
    y=("accuracy", "accuracy"),
    arms={arm: plain(arm) for arm in SHOWN},
    level=None,
)
