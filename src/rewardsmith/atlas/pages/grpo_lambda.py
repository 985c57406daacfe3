"""Ask for brevity only where the prompt is already solved; everywhere else correctness is all that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.advantages import group_zscore
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.figures import plane
from rewardsmith.atlas.page import rows
from rewardsmith.transforms import length_shaped
from rewardsmith.transforms.easiest import easiest_prompts
from rewardsmith.transforms.easiest import grpo_lambda as gate
from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps, table_gradient

CRITERION = All(
    PairedGain("accuracy/grpo_lambda", over="accuracy/penalty", at_least=0.06),
    PairedGain("accuracy/grpo_lambda", over="accuracy/start", at_least=0.03),
    AtMost("length_ratio/grpo_lambda", 0.75),  # of plain GRPO's length
    # λ = 1, the penalty on all, must fail on accuracy, and the inverted gate on length.
    PairedGain("accuracy/penalty", over="accuracy/start", at_most=-0.02),
    AtLeast("length_ratio/inverted", 0.75),
)


class Draws(NamedTuple):
    """Sampled answers, (S, A, P, G) each: which length, as an index and in units, and 1.0 where right, else 0.0."""

    chosen: Tensor
    lengths: Tensor
    correct: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """A bandit that chooses a length: three classes of prompts need answers of different length.

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
    alpha: float = 0.6  # α, the most that length takes off a right answer
    batch_prompts: int = 48  # prompts per step
    group_size: int = 8  # G, answers per prompt and step
    updates: int = 400  # gradient steps
    learning_rate: float = 0.03  # of Adam, logits per step

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
        """Answers of a policy (S, A, C, L) to P prompts of classes (S, P), G each, by uniforms (S, 1 or A, P, G)."""
        seeds = torch.arange(len(policy))[:, None]
        by_prompt = policy.transpose(1, 2)[seeds, classes].transpose(1, 2)  # (S, A, P, L)
        chosen = sample_index(by_prompt[:, :, :, None], choice)
        chance = self.p_correct[classes[:, None, :, None], chosen]
        return Draws(chosen, self.lengths[chosen], (luck < chance).to(policy))

    def accuracy(self, policy: Tensor) -> Tensor:
        """(S, A, C) chance that a sampled answer is right, exactly, by class."""
        return (policy * self.p_correct).sum(dim=-1)

    def length(self, policy: Tensor) -> Tensor:
        """(S, A) expected length, exactly, over all classes."""
        return (policy * self.lengths).sum(dim=-1).mean(dim=-1)

    def arms(self, broken: bool) -> dict[str, partial[Tensor]]:
        """Every arm's reward: which share of the prompts is asked for brevity, and how much it counts."""
        inverted = partial(hardest_shaped, fraction=self.fraction, alpha=self.alpha)
        return {
            "grpo": partial(gate, fraction=0.0, alpha=self.alpha),
            "penalty": partial(gate, fraction=1.0, alpha=self.alpha),
            "grpo_lambda": inverted if broken else partial(gate, fraction=self.fraction, alpha=self.alpha),
            "inverted": inverted,
            "penalty_alpha_02": partial(gate, fraction=1.0, alpha=0.2),
            "penalty_alpha_005": partial(gate, fraction=1.0, alpha=0.05),
            "grpo_lambda_alpha_02": partial(gate, fraction=self.fraction, alpha=0.2),
            "grpo_lambda_04": partial(gate, fraction=0.4, alpha=self.alpha),
            "threshold": partial(gate, fraction=1.0, alpha=self.alpha, min_ratio=1.0),
        }


def hardest_shaped(
    correct: Tensor, lengths: Tensor, *, group_size: int, fraction: float, alpha: float, generator: torch.Generator
) -> Tensor:
    """(B,) the penalty on the prompts that are solved least often."""
    hardest = easiest_prompts(1 - correct, group_size=group_size, fraction=fraction, generator=generator)
    return torch.where(hardest, length_shaped(correct, lengths, group_size=group_size, alpha=alpha), correct)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Exact accuracy and length of the policy that each arm trains; then with no table of its own for each class."""
    arms, streams = world.arms(broken), Streams(seeds)
    begin, half, final = train(arms, world, streams)
    shared_arms = {name: arms[name] for name in ("grpo", "penalty", "grpo_lambda")}
    _, shared_half, shared = train(shared_arms, world, streams, by_class=False)
    by_class, length = world.accuracy(final), world.length(final)
    of_arms = {
        "accuracy": by_class.mean(dim=-1),
        "accuracy_hard": by_class[..., -1],
        "accuracy_half": world.accuracy(half).mean(dim=-1),
        "length": length,
        "length_ratio": length / length[:, :1],  # the first arm is plain GRPO
    }
    of_shared = {
        "accuracy_shared": world.accuracy(shared).mean(dim=-1),
        "accuracy_shared_half": world.accuracy(shared_half).mean(dim=-1),
    }
    tables = {name: dict(zip(arms, values.unbind(1), strict=True)) for name, values in of_arms.items()}
    tables |= {name: dict(zip(shared_arms, values.unbind(1), strict=True)) for name, values in of_shared.items()}
    tables["accuracy"]["start"] = world.accuracy(begin)[:, 0].mean(dim=-1)
    tables["length"]["start"] = world.length(begin)[:, 0]
    return rows(tables)


def train(
    arms: dict[str, partial[Tensor]], world: World, streams: Streams, *, by_class: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """GRPO over lengths: policies (S, A, C, L) at the start, halfway and at the end, seeds and arms side by side.

    Logits are a table for all classes plus, if wanted, one each.
    """
    n_classes, shape = len(world.needed), (world.batch_prompts, world.group_size)
    shared = -((world.lengths - world.start_length) ** 2) / (2 * world.start_std**2)
    shared = shared.repeat(len(streams), len(arms), 1, 1)  # (S, A, 1, L)
    own = torch.zeros(len(streams), len(arms), n_classes, world.n_lengths, dtype=torch.float64)
    tables, policies = [shared, own] if by_class else [shared], []
    for _ in adam_steps(tables, world.updates, learning_rate=world.learning_rate, maximize=True, fused=False):
        policies.append((shared + own).softmax(dim=-1))
        classes = streams.randint(n_classes, world.batch_prompts)  # (S, P)
        draws = world.sample(policies[-1], classes, streams.rand(1, *shape), streams.rand(1, *shape))
        rewards = paid(draws, arms, world, streams.randint(2**31, 1))
        advantages = group_zscore(rewards.flatten(), group_size=world.group_size).view_as(rewards)  # (S, A, P, G)
        credit = advantages / advantages[0, 0].numel()
        own.grad = table_gradient(policies[-1], classes[:, None, :, None], draws.chosen, credit)
        shared.grad = own.grad.sum(dim=2, keepdim=True)
    return policies[0], policies[world.updates // 2], (shared + own).softmax(dim=-1)


def paid(draws: Draws, arms: dict[str, partial[Tensor]], world: World, seeds: Tensor) -> Tensor:
    """(S, A, P, G) rewards: a batch is one arm's prompts under one seed, whose ties (S, 1) no other seed breaks."""
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


figure = partial(
    plane,
    x=("length", "expected length (units)"),
    y=("accuracy", "accuracy"),
    arms={
        "start": "start", "grpo": "GRPO", "penalty": "penalty on all", "grpo_lambda": "GRPO-λ, λ = 0.2",
        "grpo_lambda_04": "λ = 0.4", "threshold": "all-correct groups", "inverted": "hardest fifth",
    },
    level=None,
)  # fmt: skip
