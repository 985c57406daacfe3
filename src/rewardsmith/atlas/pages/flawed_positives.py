"""Reward right answers with a skipped step while right answers are rare, but not once sound ones are common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_shape
from rewardsmith.advantages import group_zscore
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.transforms import flawed_positive_penalty
from rewardsmith.transforms.flaws import flawed_advantage
from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps, logit_gradient

CRITERION = All(
    PairedGain("reliable/fapo", over="reliable/baseline", at_least=0.12),
    PairedGain("correct_early/fapo", over="correct_early/baseline", at_least=-0.03, at_most=0.03),
    AtMost("early_ratio/as_wrong", 0.5),  # correct_early/as_wrong over correct_early/fapo
    AtMost("flawed_share/fapo", 0.08),
    AtLeast("sign_agreement/closed_form", 1.0),
    AtLeast("sign_agreement/group_zscore", 1.0),
    # What must fail: a flipped sign, and a detector that accuses at random.
    PairedGain("reliable/sign_flip", over="reliable/baseline", at_most=0.12),
    AtLeast("flawed_share/sign_flip", 0.08),
    PairedGain("reliable/useless_detector", over="reliable/baseline", at_most=0.12),
    AtLeast("flawed_share/useless_detector", 0.08),
)


class Arm(NamedTuple):
    """λ, and how often the detector finds a flaw and accuses a sound answer."""

    lam: float
    found: float = 1.0
    accused: float = 0.0


class Draws(NamedTuple):
    """Sampled solutions.

    actions: (S, A, P, G, K) int64, what each step did.
    correct: (S, A, P, G) 1.0 where the answer is right, else 0.0: what an outcome checker sees.
    jumped: (S, A, P, G) True where a step was skipped: the flaw of a right answer.
    """

    actions: Tensor
    correct: Tensor
    jumped: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """Chains of K steps that may be skipped, and a policy that skips often at the start.

    At each step one action is right (0), one skips the step (1), and the others are wrong and ruin the answer.

        P(correct | actions) = 0 if any is wrong, else 1 − cost·J/K        J skipped steps

    A policy is a table of probabilities (S, A, P, K, U), seeds and arms side by side, U = 2 + n_wrong.
    """

    n_prompts: int = 16  # prompts
    n_steps: int = 5  # K, steps of a solution
    n_wrong: int = 3  # wrong actions per step
    cost: float = 0.5  # chance that skipping everything gives a wrong answer
    right_logit: float = 0.5  # of the right action, at the start
    jump_logit: float = 1.0  # of skipping, at the start
    found: float = 0.8  # share of flaws that the imperfect detector finds
    accused: float = 0.1  # share of sound answers that it accuses
    accused_at_random: float = 0.3  # share of sound answers that the useless detector accuses; it finds no flaw
    group_size: int = 8  # G, solutions sampled per prompt and step
    updates: int = 300  # gradient steps
    early: int = 35  # the step of the early comparison
    learning_rate: float = 0.05  # of Adam, logits per step

    def __post_init__(self) -> None:
        check_range("World", "n_steps", self.n_steps, 1, 10_000)
        check_range("World", "n_wrong", self.n_wrong, 0, 10_000)
        check_range("World", "cost", self.cost, 0.0, 1.0)

    def start(self, *shape: int) -> Tensor:
        """Return (*shape, K, U) logits of the policy before training."""
        logits = torch.zeros(*shape, self.n_steps, 2 + self.n_wrong, dtype=torch.float64)
        logits[..., 0], logits[..., 1] = self.right_logit, self.jump_logit
        return logits

    def sample(self, policy: Tensor, choice: Tensor, luck: Tensor) -> Draws:
        """Sample solutions by uniform draws for actions (S, 1 or A, P, G, K) and outcome (S, 1 or A, P, G)."""
        actions = sample_index(policy[:, :, :, None], choice)
        jumps = (actions == 1).sum(dim=-1)
        chance = torch.where((actions > 1).any(dim=-1), 0.0, 1 - self.cost * jumps.to(policy) / self.n_steps)
        return Draws(actions, (luck < chance).to(policy), jumps > 0)

    def correct(self, policy: Tensor) -> Tensor:
        """Return (S, A) exact chance of a right answer, averaged over prompts.

        Π_k (a_k + j_k) − c/K · Σ_k j_k Π_{i≠k} (a_i + j_i)        a, j: chances of the right action and of a skip
        """
        self._check("World.correct", policy)
        skip = policy[..., 1]  # (S, A, P, K)
        unharmed = policy[..., 0] + skip
        others = [unharmed[..., torch.arange(self.n_steps) != step].prod(dim=-1) for step in range(self.n_steps)]
        chance = unharmed.prod(dim=-1) - self.cost / self.n_steps * (skip * torch.stack(others, dim=-1)).sum(dim=-1)
        return chance.mean(dim=-1)

    def reliable(self, policy: Tensor) -> Tensor:
        """Return gold (S, A): the exact chance of a right answer without a skip, Π_k a_k, averaged over prompts."""
        self._check("World.reliable", policy)
        return policy[..., 0].prod(dim=-1).mean(dim=-1)

    def _check(self, caller: str, policy: Tensor) -> None:
        check_shape(caller, "policy", policy, None, None, None, self.n_steps, 2 + self.n_wrong)

    def arms(self, broken: bool) -> dict[str, Arm]:
        """Return the arms by name."""
        return {
            "baseline": Arm(0.0),
            "half": Arm(0.5),
            "fapo": Arm(-1.0 if broken else 1.0),
            "as_wrong": Arm(2.0),
            "sign_flip": Arm(-1.0),
            "imperfect_detector": Arm(1.0, self.found, self.accused),
            "useless_detector": Arm(1.0, 0.0, self.accused_at_random),
        }


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure exact chances of a right, a flawed and a reliable answer under each arm's policy."""
    arms = world.arms(broken)
    early, final = train(list(arms.values()), world, Streams(seeds))
    correct, reliable = world.correct(final), world.reliable(final)
    of_arms = {
        "correct_early": world.correct(early),
        "correct": correct,
        "reliable": reliable,
        "flawed_share": 1 - reliable / correct,
    }
    tables = {metric: dict(zip(arms, values.unbind(1), strict=True)) for metric, values in of_arms.items()}
    tables["early_ratio"] = {"as_wrong": tables["correct_early"]["as_wrong"] / tables["correct_early"]["fapo"]}
    fixed = signs(world.group_size, arms["fapo"].lam)
    return [row | fixed for row in rows(tables)]


def train(arms: list[Arm], world: World, streams: Streams) -> tuple[Tensor, Tensor]:
    """Train by GRPO without KL on shared draws; return policies (S, A, P, K, U) at the early step and at the end."""
    shape = (world.n_prompts, world.group_size)
    logits = world.start(len(streams), len(arms), world.n_prompts)
    early = logits.softmax(dim=-1)
    for update in adam_steps([logits], world.updates, learning_rate=world.learning_rate, maximize=True, fused=False):
        policy = logits.softmax(dim=-1)
        early = policy if update == min(world.early, world.updates - 1) else early
        draws = world.sample(policy, streams.rand(1, *shape, world.n_steps), streams.rand(1, *shape))
        rewards = paid(draws, arms, streams.rand(*shape))
        advantages = group_zscore(rewards.flatten(), group_size=world.group_size).view_as(rewards)  # (S, A, P, G)
        credit = (advantages / world.group_size)[..., None].expand(draws.actions.shape)  # a step is as good as its end
        logits.grad = logit_gradient(policy, *(x.transpose(-1, -2) for x in (draws.actions, credit)))
    return early, logits.softmax(dim=-1)


def paid(draws: Draws, arms: list[Arm], luck: Tensor) -> Tensor:
    """Return (S, A, P, G) rewards by arm; all detectors see the same answers with the same luck (S, P, G)."""
    rewards = []
    for index, arm in enumerate(arms):
        jumped, correct = draws.jumped[:, index], draws.correct[:, index]
        accused = luck < torch.where(jumped, arm.found, arm.accused)
        penalized = flawed_positive_penalty(correct.flatten(), accused.flatten(), lam=arm.lam)
        rewards.append(penalized.view_as(correct))
    return torch.stack(rewards, dim=1)


def signs(group_size: int, lam: float) -> dict[str, float]:
    """Return how often a flawed row's advantage has the sign of n − p over groups with one: closed form and GRPO."""
    counts = [(p, f, group_size - p - f) for p in range(group_size) for f in range(1, group_size - p + 1)]
    sound, flawed, wrong = torch.tensor(counts, dtype=torch.float64).T
    closed = flawed_advantage(sound / group_size, flawed / group_size, wrong / group_size, lam=lam)
    right = torch.tensor([[1.0] * (p + f) + [0.0] * n for p, f, n in counts], dtype=torch.float64)
    flaws = torch.tensor([[0.0] * p + [1.0] * f + [0.0] * n for p, f, n in counts], dtype=torch.float64)
    rewards = flawed_positive_penalty(right.flatten(), flaws.flatten(), lam=lam)
    advantages = group_zscore(rewards, group_size=group_size).view_as(right)
    seen = advantages.gather(1, sound.long()[:, None])[:, 0]  # the first flawed row of each group
    wanted = (wrong - sound).sign()
    return {
        "sign_agreement/closed_form": float((closed.sign() == wanted).double().mean()),
        "sign_agreement/group_zscore": float((seen.sign() == wanted).double().mean()),
    }


figure = partial(
    dots,
    series={"right": "correct/{}", "right and sound": "reliable/{}"},
    rows={
        "baseline": "correctness only (λ = 0)", "half": "λ = ½", "fapo": "FAPO (λ = 1)", "as_wrong": "flawed = wrong",
        "sign_flip": "sign flip", "imperfect_detector": "imperfect detector", "useless_detector": "useless detector",
    },
    label="share of answers after training",
)  # fmt: skip
