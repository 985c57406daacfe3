"""Compare PAR with other bounded rewards on a reward model that some responses fool."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.advantages import group_zscore, leave_one_out
from rewardsmith.atlas.criteria import All, PairedGain
from rewardsmith.atlas.figures import curves, plain
from rewardsmith.transforms import RunningNorm, log_sigmoid_shaping
from rewardsmith.transforms.links import pure_link, reference_link
from rewardsmith.worlds.response_pool import expected, kl, policy_at_kl, tilted_policy

CRITERION = All(
    PairedGain("gold_at_kl_1/par_10", over="gold_at_kl_1/clip", at_least=0.0, p_value=0.01),
    PairedGain("gold_at_kl_2/par_10", over="gold_at_kl_2/clip", at_least=0.0, p_value=0.01),
    PairedGain("gold_at_kl_1/par_10", over="gold_at_kl_1/uncentered_sigmoid", at_least=0.0, p_value=0.01),
    PairedGain("gold_at_kl_2/par_10", over="gold_at_kl_2/uncentered_sigmoid", at_least=0.0, p_value=0.01),
    PairedGain("gold_peak/vanilla", over="gold_final/vanilla", at_least=0.3),
    # Must fail: a sigmoid that saturates late does not earn PAR's gain.
    PairedGain("gold_at_kl_1/late_sigmoid", over="gold_at_kl_1/vanilla", at_most=0.5),
    PairedGain("gold_at_kl_2/late_sigmoid", over="gold_at_kl_2/vanilla", at_most=0.8),
    # The controls: a clip around the references at matched KL, and LSC and both clips in training.
    PairedGain("gold_at_kl_1/centered_clip", over="gold_at_kl_1/par_10", at_least=0.0, p_value=0.01),
    PairedGain("gold_at_kl_2/centered_clip", over="gold_at_kl_2/par_10", at_least=0.0, p_value=0.01),
    PairedGain("gold_final/centered_clip", over="gold_final/par_10", at_least=0.0),
    PairedGain("gold_final/lsc", over="gold_final/par_10", at_least=0.0),
    PairedGain("gold_final/clip", over="gold_final/par_10", at_least=0.0),
)
KLS = (0.5, 1, 2)
FIXED_BETA = 0.1
EVALUATE_EVERY = 10
TRAINED = ("vanilla", "clip", "par_10", "lsc", "centered_clip")


class ResponsePool(NamedTuple):
    """P prompts with N candidate responses each, (P, N): true value, the reward model's score, and who fools it."""

    gold: Tensor
    rewards: Tensor
    is_hack: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """A pool of scored responses in which a few fool the reward model.

    Unit of all rewards: one point of the reward model, in which Bradley-Terry log-odds are counted.
    """

    n_prompts: int = 150  # prompts of the exact frontier
    n_responses: int = 500  # responses per prompt of the exact frontier
    n_references: int = 10  # M, reference responses per prompt
    gold_std: float = 1.5  # points; spread of true value within a prompt
    noise_std: float = 0.7  # points; honest error of the reward model
    offset_std: float = 2.0  # points; its constant per prompt
    hack_rate: float = 0.01  # share of responses that fool it
    hack_gold: float = -2.0  # points; what those are worth on average, with a spread of 0.25
    hack_low: float = 4.0  # points; least score that they get
    hack_high: float = 9.0  # points; highest score that they get
    train_prompts: int = 120  # prompts of the training runs
    train_responses: int = 200  # responses per prompt of the training runs
    updates: int = 600  # gradient steps
    group_size: int = 8  # G, responses sampled per prompt and step
    step_size: float = 0.3  # logits per unit of a group's mean advantage
    beta: float = 0.005  # KL coefficient of the training runs, points per nat
    clip_at: float = 2.0  # points above or below the mean reference, where the control is clipped

    def pool(self, n_prompts: int, n_responses: int, generator: torch.Generator) -> ResponsePool:
        """Draw a pool: the score is gold plus noise plus a prompt's offset, except that hacks draw it uniformly."""
        check_range("par.World.pool", "hack_rate", self.hack_rate, 0.0, 1.0)
        shape = (n_prompts, n_responses)
        normal = partial(torch.randn, generator=generator, dtype=torch.float64)
        uniform = partial(torch.rand, generator=generator, dtype=torch.float64)
        honest, noise = self.gold_std * normal(shape), self.noise_std * normal(shape)
        offset = self.offset_std * normal((n_prompts, 1))
        is_hack = uniform(shape) < self.hack_rate
        lure = self.hack_low + (self.hack_high - self.hack_low) * uniform(shape)
        gold = torch.where(is_hack, self.hack_gold + 0.25 * normal(shape), honest)
        return ResponsePool(gold, torch.where(is_hack, lure, honest + noise) + offset, is_hack)


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Measure each reward's true gain at matched KL, then along training under a group z-score."""
    generator = torch.Generator().manual_seed(seed)
    wide = world.pool(world.n_prompts, world.n_responses, generator)
    narrow = world.pool(world.train_prompts, world.train_responses, generator)
    results = frontier(wide, shapings(wide, world, broken, generator))
    shaped = shapings(narrow, world, broken, generator)
    return results | training(narrow, {name: shaped[name] for name in TRAINED}, world, generator)


def shapings(pool: ResponsePool, world: World, broken: bool, generator: torch.Generator) -> dict[str, Tensor]:
    """Return every arm's reward for every response, (P, N) each; references come from the pool's own base policy."""
    rewards, shape = pool.rewards.flatten(), pool.rewards.shape
    drawn = torch.randint(shape[1], (shape[0], world.n_references), generator=generator)  # with replacement
    references = pool.rewards.gather(-1, drawn).repeat_interleave(shape[1], dim=0)  # (PN, M)
    relative = partial(reference_link, rewards)
    preference = partial(relative, link="identity" if broken else "sigmoid")
    running_clip = RunningNorm(mode="clip")  # its statistics are those of the base policy's responses, and stay so
    running_clip(rewards)
    flat = {
        "vanilla": rewards,
        "clip": running_clip.eval()(rewards),
        "uncentered_sigmoid": pure_link(rewards),
        "late_sigmoid": relative(references, shift=3.0),
        "par_1": preference(references[:, :1]),
        "par_10": preference(references),
        "par_10_k3": preference(references, k=3.0),
        "lsc": log_sigmoid_shaping(rewards, references),
        "centered_clip": relative(references, link="identity").clamp(-world.clip_at, world.clip_at),
    }
    return {name: values.view(shape) for name, values in flat.items()}


def frontier(pool: ResponsePool, shaped: dict[str, Tensor]) -> dict[str, float]:
    """Measure each arm's gain in true value over the base policy: at one KL, each with its own β, then at one β."""
    scores = torch.stack(list(shaped.values()))  # (arms, P, N)
    policies = {f"gold_at_kl_{target}": policy_at_kl(scores, target) for target in KLS}
    at_one_beta = tilted_policy(scores, FIXED_BETA)
    policies[f"gold_at_beta_{FIXED_BETA}"] = at_one_beta
    table = {metric: expected(policy, pool.gold).mean(-1) - pool.gold.mean() for metric, policy in policies.items()}
    table[f"kl_at_beta_{FIXED_BETA}"] = kl(at_one_beta).mean(-1)
    return {
        f"{metric}/{arm}": float(value) for metric, row in table.items() for arm, value in zip(shaped, row, strict=True)
    }


def training(
    pool: ResponsePool, shaped: dict[str, Tensor], world: World, generator: torch.Generator
) -> dict[str, float]:
    """Train by GRPO's advantages with a KL penalty; return true gains over the base at half time, end and peak."""
    scores = torch.stack(list(shaped.values()))  # (arms, P, N); a z-score gives all arms one scale, and one step size
    logits, curve, size = torch.zeros_like(scores), [], world.group_size
    base_log_prob = -torch.tensor(float(scores.shape[-1]), dtype=scores.dtype).log()
    for update in range(world.updates):
        log_probs = logits.log_softmax(-1)
        policy = log_probs.exp()
        if update % EVALUATE_EVERY == 0 or update == world.updates // 2:
            curve.append((update, expected(policy, pool.gold).mean(-1)))
        drawn = torch.multinomial(policy.flatten(0, 1), size, replacement=True, generator=generator)
        drawn = drawn.view(*scores.shape[:2], size)
        penalty = world.beta * (log_probs.gather(-1, drawn) - base_log_prob)  # outside of the z-score, as in TRL
        advantages = group_zscore(scores.gather(-1, drawn).flatten(), group_size=size)
        advantages = (advantages - leave_one_out(penalty.flatten(), group_size=size)).view_as(penalty)
        logits = logits + world.step_size / size * torch.zeros_like(logits).scatter_add(-1, drawn, advantages)
    curve.append((world.updates, expected(logits.softmax(-1), pool.gold).mean(-1)))
    gold = torch.stack([value for _, value in curve]) - pool.gold.mean()  # (evaluations, arms)
    half = next(row for row, (update, _) in enumerate(curve) if update == world.updates // 2)
    stages = {"gold_half": gold[half], "gold_final": gold[-1], "gold_peak": gold.max(dim=0).values}
    return {f"{metric}/{arm}": float(v) for metric, row in stages.items() for arm, v in zip(shaped, row, strict=True)}


figure = partial(
    curves,
    at=KLS,
    lines={
        plain(arm): f"gold_at_kl_{{0}}/{arm}"
        for arm in ("vanilla", "late_sigmoid", "clip", "uncentered_sigmoid", "par_1", "par_10", "lsc", "centered_clip")
    },
    label=("KL from the base policy (nats)", "gain in true value (points)"),
)
