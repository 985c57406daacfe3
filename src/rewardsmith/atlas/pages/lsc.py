"""A sum of rewards lets one property make up for another; a sum of log-probabilities of being good needs both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.atlas.criteria import All, PairedGain
from rewardsmith.atlas.figures import curves
from rewardsmith.transforms import log_sigmoid_shaping, logical_and, weighted_sum
from rewardsmith.transforms.links import pure_link, reference_link
from rewardsmith.worlds.response_pool import expected, policy_at_kl

CRITERION = All(
    PairedGain("gold_at_kl_2/lsc", over="gold_at_kl_2/raw", at_least=0.03, p_value=0.025),
    PairedGain("gold_at_kl_3/lsc", over="gold_at_kl_3/raw", at_least=0.05, p_value=0.025),
    PairedGain("worst_decile_at_kl_3/lsc", over="worst_decile_at_kl_3/twice_raw", at_least=0.0),
    # What must fail: the same without its reference, and with its curve flipped.
    PairedGain("gold_at_kl_2/uncentered", over="gold_at_kl_2/raw", at_most=0.03),
    PairedGain("gold_at_kl_3/uncentered", over="gold_at_kl_3/raw", at_most=0.05),
    PairedGain("gold_at_kl_2/flipped", over="gold_at_kl_2/raw", at_most=0.03),
    PairedGain("gold_at_kl_3/flipped", over="gold_at_kl_3/raw", at_most=0.05),
)
KLS = (0.5, 1, 2, 3)
WORST = 0.1
"""The share of prompts that a policy serves worst."""
DOF = 3  # degrees of freedom of the reward models' Student-t error: heavy tails


class Pool(NamedTuple):
    """(2, P, N) each: the true strength of both properties, and the score by each one's reward model."""

    gold: Tensor
    rewards: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """Two properties that pull against each other, and a reward model for each.

    Unit of all rewards: one point of a reward model, in which Bradley-Terry log-odds are counted.
    """

    n_prompts: int = 150  # prompts
    n_responses: int = 400  # responses per prompt
    n_references: int = 64  # M, reference responses per prompt
    quantile: float = 0.85  # level of the references that counts as good
    correlation: float = -0.3  # of the two properties over a prompt's responses
    median_scale: float = 1.5  # points; median over prompts of the spread of both properties within a prompt
    scale_spread: float = 0.4  # standard deviation over prompts of the log of that spread
    noise: float = 0.5  # points; scale of the reward models' Student-t error with 3 degrees of freedom
    offset_std: float = 3.0  # points; spread over prompts of each reward model's constant, which no ranking sees

    def pool(self, generator: torch.Generator) -> Pool:
        """Draw a pool in float64."""
        check_range("World", "correlation", self.correlation, -1.0, 1.0)
        shape = (self.n_prompts, self.n_responses)

        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        first, other = normal(2, *shape)
        second = self.correlation * first + math.sqrt(1 - self.correlation**2) * other
        spread = (self.scale_spread * normal(self.n_prompts, 1)).exp()
        gold = torch.stack([first, second]) * self.median_scale * spread
        chi_squared = normal(DOF, 2, *shape).square().sum(0)
        error = normal(2, *shape) / (chi_squared / DOF).sqrt()
        return Pool(gold, gold + self.noise * error + self.offset_std * normal(2, self.n_prompts, 1))

    def references(self, pool: Pool, generator: torch.Generator) -> Tensor:
        """Draw M responses per prompt from the uniform base policy; return both models' scores (2, P, M)."""
        drawn = torch.randint(self.n_responses, (self.n_prompts, self.n_references), generator=generator)
        return pool.rewards.gather(-1, drawn.expand(2, -1, -1))


def p_good(gold: Tensor, *, quantile: float = 0.85) -> Tensor:
    """Return (2, P, N) true probabilities that a response has each property, relative to the base policy.

    p_k = σ( a_k − q_k ),  q_k the `quantile` of a_k over the prompt's responses
    """
    return torch.sigmoid(gold - gold.quantile(quantile, dim=-1, keepdim=True))


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Measure the gain in the true probability of both properties, per arm and KL, and on the worst-served prompts."""
    generator = torch.Generator().manual_seed(seed)
    pool = world.pool(generator)
    scores = combined(pool.rewards, world.references(pool, generator), world.quantile, broken)
    stacked = torch.stack(list(scores.values()))  # (arms, P, N)
    each = p_good(pool.gold)  # independent given the response
    both, weaker = each.prod(dim=0), each.amin(dim=0)
    results: dict[str, float] = {}
    for target in KLS:
        policy = policy_at_kl(stacked, target, n_halvings=30)
        gain = expected(policy, both).mean(-1) - both.mean()
        results |= {f"gold_at_kl_{target}/{arm}": float(value) for arm, value in zip(scores, gain, strict=True)}
    served = (expected(policy, weaker) - weaker.mean(-1)).quantile(WORST, dim=-1)  # at the last KL
    results |= {f"worst_decile_at_kl_{KLS[-1]}/{arm}": float(v) for arm, v in zip(scores, served, strict=True)}
    twice = 2 * results[f"worst_decile_at_kl_{KLS[-1]}/raw"]
    return results | {f"worst_decile_at_kl_{KLS[-1]}/twice_raw": twice}


def combined(rewards: Tensor, references: Tensor, quantile: float, broken: bool) -> dict[str, Tensor]:
    """Combine scores (2, P, N) and references (2, P, M) to what each arm optimizes, (P, N) each."""
    shape, flat = rewards.shape[1:], rewards.flatten()  # (2PN,)
    beside = references.repeat_interleave(shape[-1], dim=1).flatten(0, 1)  # (2PN, M)
    bend = partial(log_sigmoid_shaping, quantile=quantile, estimator="empirical")
    sigmoid = partial(reference_link, aggregate="quantile", quantile=quantile, estimator="empirical")
    uncentered = pure_link(flat, link="logsigmoid")
    added = {"raw": flat, "sigmoid": sigmoid(flat, beside), "flipped": -bend(-flat, -beside, quantile=1 - quantile)}
    logs = {
        "lsc": uncentered if broken else bend(flat, beside),
        "lsc_10_normal": log_sigmoid_shaping(flat, beside[:, :10], quantile=quantile, estimator="normal"),
        "lsc_median": bend(flat, beside, quantile=0.5),
        "uncentered": uncentered,
    }
    sums = {arm: weighted_sum(values.view(2, -1).T) for arm, values in added.items()}  # "flipped" is −log σ(−(r − q))
    sums |= {arm: logical_and(values.view(2, -1).T) for arm, values in logs.items()}
    return {arm: values.view(shape) for arm, values in sums.items()}


figure = partial(
    curves,
    at=KLS,
    lines={
        "sum of rewards": "gold_at_kl_{0}/raw",
        "sum of log σ(r − q)": "gold_at_kl_{0}/lsc",
        "sum of σ(r − q)": "gold_at_kl_{0}/sigmoid",
        "sum of log σ(r)": "gold_at_kl_{0}/uncentered",
        "sum of −log σ(q − r)": "gold_at_kl_{0}/flipped",
    },
    label=("KL from the base policy (nats)", "gain in P(both properties hold)"),
)
