"""Train on samples in the range of rewards where the reward model follows the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.advantages import drop_unscored, power_filter, rank_filter
from rewardsmith.advantages.filters import middle_filter
from rewardsmith.atlas.criteria import All, AtLeast, PairedGain
from rewardsmith.atlas.figures import plane
from rewardsmith.atlas.page import rows
from rewardsmith.measures import choose_filter
from rewardsmith.measures.intervals import rank_correlations
from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps, logit_gradient

CRITERION = All(
    PairedGain("auc/bw", over="auc/random", at_least=0.010, p_value=0.025),
    PairedGain("r2/bw", over="r2/all", at_least=0.15),
    AtLeast("rank_agreement/two_sample_rules", 0.6),
    PairedGain("auc_equal_noise/bw", over="auc_equal_noise/random", at_least=-0.012, at_most=0.012),
    # What must fail: the two in the middle reach neither margin.
    PairedGain("auc/middle", over="auc/random", at_most=0.010),
    PairedGain("r2/middle", over="r2/all", at_most=0.15),
)
FILTERS: dict[str, Callable[..., Tensor]] = {
    "all": drop_unscored,
    "random": partial(rank_filter, n_best=0, n_worst=0, n_random=2),
    "bw": rank_filter,
    "br": partial(rank_filter, n_worst=0, n_random=1),
    "bon": partial(rank_filter, n_worst=0),
    "wr": partial(rank_filter, n_best=0, n_random=1),
    "middle": middle_filter,
    "pow": power_filter,
}
TWO_SAMPLE_RULES = ("random", "bw", "br", "wr", "middle")
CONTROLS = ("all", "random", "bw")


class Answers(NamedTuple):
    """P prompts with N candidate responses each, D features a response; S seeds side by side.

    features: (S, P, N, D) φ. gold: (S, P, N) true value in (0, 1). rewards: (S, P, N) what the reward model says.
    """

    features: Tensor
    gold: Tensor
    rewards: Tensor

    def prompts(self, start: int, stop: int) -> Answers:
        """Return prompts start to stop, such as those held out."""
        return Answers(*(field[:, start:stop] for field in self))

    def policy(self, parameters: Tensor) -> Tensor:
        """Return the linear softmax policy π(y|x) ∝ exp(θ·φ(x, y)): θ (S, A, D) to (S, A, P, N)."""
        logits = parameters @ self.features.flatten(1, 2).transpose(1, 2)  # (S, A, P·N)
        return logits.view(*parameters.shape[:2], *self.gold.shape[1:]).softmax(dim=-1)

    def value(self, policy: Tensor) -> Tensor:
        """Return (S, A) exact expected gold of a policy (S, A, P, N), averaged over prompts."""
        return (policy * self.gold[:, None]).sum(dim=-1).mean(dim=-1)


@dataclass(frozen=True, slots=True)
class World:
    """A reward model that is right at both ends and misleads in the middle.

        gold = σ(κ·w·φ)        rewards = gold where |gold − ½| > band,  else ½ + height·tanh(2 v·φ)

    φ ~ N(0, I); w and v are unit vectors, and v ∝ u − dislike·w with u at right angles to w, so that gold dislikes v.
    """

    n_prompts: int = 64  # prompts to train on; as many are held out
    n_responses: int = 64  # candidate responses per prompt
    n_features: int = 24  # features per response
    steepness: float = 1.8  # standard deviation of gold's log-odds
    band: float = 0.35  # half width of the misleading middle, in gold
    height: float = 0.24  # how far the reward lies from ½ in there, points
    dislike: float = 1.2  # how much gold dislikes what the reward model likes in there
    noise_std: float = 0.1  # points; error of the reward model that is equally noisy everywhere
    group_size: int = 5  # N, samples per prompt and step
    held_out_groups: int = 8  # groups per held-out prompt from which R² is measured
    batch_prompts: int = 16  # prompts per step
    updates: int = 60  # gradient steps
    learning_rate: float = 0.05  # of Adam, per feature
    value_rate: float = 0.2  # of a prompt's learned value, share of the way per step

    def sample(self, streams: Streams, n_prompts: int) -> Answers:
        """Draw a world per seed."""
        check_range("World", "band", self.band, 0.0, 0.5)
        check_range("World", "height", self.height, 0.0, 0.5)
        good, other = unit(streams.randn(self.n_features)), streams.randn(self.n_features)  # (S, D)
        other = unit(other - (other * good).sum(dim=-1, keepdim=True) * good)
        lure = unit(other - self.dislike * good)
        features = streams.randn(n_prompts, self.n_responses, self.n_features)
        along_good, along_lure = ((features * v[:, None, None]).sum(dim=-1) for v in (good, lure))
        gold = torch.sigmoid(self.steepness * along_good)
        misled = 0.5 + self.height * torch.tanh(2 * along_lure)
        return Answers(features, gold, torch.where((gold - 0.5).abs() > self.band, gold, misled))

    def equally_noisy(self, answers: Answers, streams: Streams) -> Answers:
        """Rescore the responses by a reward model of equal error everywhere: rewards = gold + noise."""
        return answers._replace(rewards=answers.gold + self.noise_std * streams.randn(*answers.gold.shape[1:]))


def unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.square().sum(dim=-1, keepdim=True).sqrt()


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure R² of every rule before training, and expected gold along the training, with both noises."""
    streams = Streams(seeds)
    both = world.sample(streams, 2 * world.n_prompts)
    rules = {rule: "middle" if broken and rule == "bw" else rule for rule in FILTERS}
    held_out, r2 = both.prompts(world.n_prompts, 2 * world.n_prompts), []
    drawn = streams.randint(world.n_responses, world.n_prompts, world.held_out_groups * world.group_size)
    sampled = [values.gather(-1, drawn).flatten(1) for values in (held_out.rewards, held_out.gold)]
    for said, true, draw in zip(*sampled, streams.randint(2**31, 1), strict=True):  # the starting policy is uniform
        filters = {arm: filtered(rule, int(draw), world.group_size) for arm, rule in rules.items()}
        ranked = choose_filter(said.numpy(), true.numpy(), filters, group_size=world.group_size, n_resamples=1)
        r2.append({choice.name: choice.reliability.r2 for choice in ranked})
    train_on = both.prompts(0, world.n_prompts)
    curves = train(train_on, rules, world, streams)  # (updates + 1, S, arms)
    noisy = world.equally_noisy(train_on, streams)
    control = train(noisy, {rule: rules[rule] for rule in CONTROLS}, world, streams)
    # Averaged seed by seed, or a mean's last digit would depend on the seeds beside it.
    area, even = (torch.stack([one.mean(dim=0) for one in along.unbind(1)], dim=1) for along in (curves, control))
    found = rows({
        "r2": {rule: [by_rule[rule] for by_rule in r2] for rule in FILTERS},
        "auc": dict(zip(FILTERS, area, strict=True)),
        "final": dict(zip(FILTERS, curves[-1].unbind(1), strict=True)),
        "auc_equal_noise": dict(zip(CONTROLS, even, strict=True)),
    })  # fmt: skip
    for row in found:  # does R² before training rank the rules that keep two as training then does?
        ranked_by = [[row[f"{metric}/{rule}"] for metric in ("r2", "auc")] for rule in TWO_SAMPLE_RULES]
        row["rank_agreement/two_sample_rules"] = float(rank_correlations(ranked_by)[0, 1])
    return found


def filtered(rule: str, seed: int, group_size: int) -> partial[Tensor]:
    """Return a rule; all rules of a seed make the same random choices."""
    if rule == "all":
        return partial(drop_unscored)
    if rule == "pow":
        return partial(power_filter, group_size=group_size)
    return partial(FILTERS[rule], group_size=group_size, generator=torch.Generator().manual_seed(seed))


def train(rm: Answers, rules: dict[str, str], world: World, streams: Streams) -> Tensor:
    """Train by policy gradient on the samples that each rule keeps; return expected gold (updates + 1, S, arms)."""
    n_seeds, n_arms = len(streams), len(rules)
    parameters = torch.zeros(n_seeds, n_arms, world.n_features, dtype=torch.float64)
    values = torch.full((n_seeds, n_arms, world.n_prompts), 0.5, dtype=torch.float64)
    seed = torch.arange(n_seeds)[:, None]
    curve = []
    for _ in adam_steps([parameters], world.updates, learning_rate=world.learning_rate, maximize=True, fused=False):
        policy = rm.policy(parameters)
        curve.append(rm.value(policy))
        prompts = streams.randperm(world.n_prompts)[:, : world.batch_prompts]  # (S, B)
        some = policy.transpose(1, 2)[seed, prompts].transpose(1, 2)  # (S, A, B, N)
        drawn = sample_index(some[:, :, :, None], streams.rand(1, prompts.shape[1], world.group_size))  # (S, A, B, G)
        said = rm.rewards[seed, prompts][:, None].expand(-1, n_arms, -1, -1).gather(-1, drawn)
        weights = torch.stack([  # each arm's rule, with random choices that no other seed can change
            filtered(rule, int(draw), world.group_size)(rewards.flatten())
            for by_arm, draw in zip(said, streams.randint(2**31, 1), strict=True)
            for rewards, rule in zip(by_arm, rules.values(), strict=True)
        ]).view_as(said)  # fmt: skip
        where = prompts[:, None].expand(-1, n_arms, -1)
        value = values.gather(-1, where)
        credit = weights * (said - value[..., None]) / weights.sum(dim=(-1, -2), keepdim=True)
        by_logit = logit_gradient(some, drawn, credit)
        parameters.grad = by_logit.flatten(2) @ rm.features[seed, prompts].flatten(1, 2)
        seen = (weights * said).sum(dim=-1) / weights.sum(dim=-1)
        values = values.scatter(-1, where, value + world.value_rate * (seen - value))
    return torch.stack([*curve, rm.value(rm.policy(parameters))])


figure = partial(
    plane,
    x=("r2", "R² of gold on the kept rewards, before training"),
    y=("auc", "expected gold over training"),
    arms={
        "all": "all five", "random": "two at random", "bw": "best + worst", "br": "best + random",
        "wr": "worst + random", "middle": "middle two",
    },
    level=None,
)  # fmt: skip
