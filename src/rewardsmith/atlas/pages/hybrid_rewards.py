"""Send prompts with checkable answers to the checker, others to the learned reward: neither alone serves both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.advantages import group_zscore
from rewardsmith.atlas.criteria import All, AtLeast, PairedGain, Within
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.rewards import RoutedReward
from rewardsmith.transforms import gate, overlong_penalty, weighted_sum
from rewardsmith.types import Completion
from rewardsmith.worlds import Streams
from rewardsmith.worlds.response_pool import expected
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps, logit_gradient

CRITERION = All(
    PairedGain("math/hybrid", over="math/model", at_least=0.25, p_value=0.01),
    PairedGain("open/hybrid", over="open/rule", at_least=0.25, p_value=0.01),
    PairedGain("formatted_gold/full", over="formatted_gold/model_full", at_least=0.10, p_value=0.01),
    PairedGain("formatted_gold/full", over="formatted_gold/hybrid", at_least=0.25, p_value=0.01),
    Within("length/full", -0.4, 0.4),
    # What must fail: the routes swapped, and the length term with its sign flipped.
    PairedGain("math/swapped", over="math/model", at_most=0.25),
    PairedGain("open/swapped", over="open/rule", at_most=0.25),
    AtLeast("length/length_flipped", 0.4),
)
FORMAT_RATE = 0.5  # share of responses that respect the format, whatever their quality


class Pool(NamedTuple):
    """P prompts with N candidate responses each, for S seeds.

    features: (S, P, N, D) the content in the columns of the prompt's kind, 0 in the other's, then length and format.
    gold: (S, P, N) 1 or 0 where verifiable, the true quality in (0, 1) elsewhere.
    rule: (S, P, N) the checker's verdict, 1 or 0 with some flipped; NaN on open prompts, which it cannot check.
    model: (S, P, N) the learned reward in (0, 1), which knows little of verifiable prompts and likes length on all.
    lengths, formatted: (S, P, N) z-scores of length, and 1 where the requested structure is respected, else 0.
    verifiable: (P,) True in the first half.
    """

    features: Tensor
    gold: Tensor
    rule: Tensor
    model: Tensor
    lengths: Tensor
    formatted: Tensor
    verifiable: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """Prompts of two kinds, half of them verifiable, and a linear softmax policy over each prompt's candidates.

    What makes a response right on a verifiable prompt, and what makes it good on an open one, are two directions of
    its content.
    """

    n_prompts: int = 128  # prompts, the first half verifiable
    n_responses: int = 48  # candidate responses per prompt
    n_content: int = 12  # content features per response
    base_accuracy: float = 0.17  # share of right responses on verifiable prompts
    flip_rate: float = 0.05  # share of the checker's verdicts that are wrong
    quality_scale: float = 1.5  # logits of an open response's true value per standard deviation of its quality
    model_on_math: float = 0.25  # logits of the learned reward per standard deviation of quality, verifiable prompts
    model_on_open: float = 0.8  # the same on open prompts
    model_noise: float = 1.5  # logits; spread of the learned reward's error
    length_bias: float = 0.8  # logits that the learned reward adds per standard deviation of length
    format_weight: float = 0.5  # of the format term; the accuracy term has weight 1
    length_weight: float = 0.25  # of the length term at its full extent
    length_low: float = 0.25  # standard deviations of length where the penalty starts
    length_high: float = 2.25  # the same where it ends
    group_size: int = 8  # G, responses sampled per prompt and update
    updates: int = 150  # Adam steps
    learning_rate: float = 0.1  # of Adam

    def pool(self, streams: Streams) -> Pool:
        """Draw a pool."""
        check_range("World", "n_prompts", self.n_prompts, 2, math.inf)
        shape = (self.n_prompts, self.n_responses)
        verifiable = torch.arange(self.n_prompts) < self.n_prompts // 2
        content = streams.randn(*shape, self.n_content)
        directions = torch.nn.functional.normalize(streams.randn(2, self.n_content), dim=-1)  # (S, 2, C)
        quality = (content * directions[:, (~verifiable).long(), None]).sum(-1)  # (S, P, N) standard normal
        lengths = streams.randn(*shape)
        formatted = (streams.rand(*shape) < FORMAT_RATE).to(quality)
        flipped = streams.rand(*shape) < self.flip_rate
        known = verifiable[:, None, None]  # over responses and features
        slope = torch.where(verifiable, self.model_on_math, self.model_on_open).to(quality)[:, None]  # (P, 1)
        noise = self.model_noise * streams.randn(*shape)
        right = quality > math.sqrt(2) * torch.erfinv(torch.tensor(1 - 2 * self.base_accuracy, dtype=quality.dtype))
        return Pool(
            features=torch.cat([content * known, content * ~known, lengths[..., None], formatted[..., None]], dim=-1),
            gold=torch.where(verifiable[:, None], right.to(quality), (self.quality_scale * quality).sigmoid()),
            rule=torch.where(verifiable[:, None], (right ^ flipped).to(quality), math.nan),
            model=(slope * quality + noise + self.length_bias * lengths).sigmoid(),
            lengths=lengths,
            formatted=formatted,
            verifiable=verifiable,
        )


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure true value per kind of prompt, format and length of policies that GRPO trains on each reward."""
    streams = Streams(seeds)
    pool = world.pool(streams)
    arms = rewards(pool, world, broken)
    paid = torch.stack(list(arms.values()), dim=1)  # (S, arms, P, N)
    features = pool.features.flatten(1, 2)  # (S, PN, D)
    theta = torch.zeros(len(seeds), len(arms), features.shape[-1], dtype=paid.dtype)
    for _ in adam_steps([theta], world.updates, learning_rate=world.learning_rate, maximize=True, fused=False):
        policy = (theta @ features.mT).view_as(paid).softmax(-1)
        uniform = streams.rand(1, world.n_prompts, world.group_size)  # shared by the arms
        drawn = sample_index(policy[..., None, :], uniform)  # (S, arms, P, G)
        sampled = paid.gather(-1, drawn)
        advantages = group_zscore(sampled.flatten(), group_size=world.group_size).view_as(sampled)
        by_logit = logit_gradient(policy, drawn, advantages)
        theta.grad = by_logit.flatten(2) @ features / (world.n_prompts * world.group_size)
    policy = (theta @ features.mT).view_as(paid).softmax(-1)
    gold = expected(policy, pool.gold[:, None])  # (S, arms, P)
    measures = {
        "math": gold[..., pool.verifiable].mean(-1),
        "open": gold[..., ~pool.verifiable].mean(-1),
        "format": expected(policy, pool.formatted[:, None]).mean(-1),
        "length": expected(policy, pool.lengths[:, None]).mean(-1),
        "formatted_gold": expected(policy, (pool.gold * pool.formatted)[:, None]).mean(-1),
    }
    return rows({name: dict(zip(arms, values.unbind(1), strict=True)) for name, values in measures.items()})


def rewards(pool: Pool, world: World, broken: bool) -> dict[str, Tensor]:
    """Return each arm's rewards of the candidates, (S, P, N)."""
    rule, model, lengths = pool.rule.flatten(), pool.model.flatten(), pool.lengths.flatten()
    swapped = routed(pool, {"math": pool.model, "open": pool.rule})
    hybrid = swapped if broken else routed(pool, {"math": pool.rule, "open": pool.model})
    may_charge = rule.nan_to_num(nan=1.0)  # length is charged to right answers, and to all where nothing is checked
    short = partial(
        overlong_penalty, lengths=lengths, low=world.length_low, high=world.length_high, weight=world.length_weight
    )
    formatted, weights = pool.formatted.flatten(), (1.0, world.format_weight)

    def with_format(accuracy: Tensor, bonus: Tensor = formatted) -> Tensor:
        return weighted_sum(torch.stack([accuracy, bonus], dim=1), weights=weights, missing="unscored")

    arms = {
        "model": model,
        "rule": rule,
        "half": weighted_sum(torch.stack([rule, model], dim=1), normalize=True),
        "hybrid": hybrid,
        "hybrid_format": with_format(hybrid),
        "full": short(with_format(hybrid), correct=may_charge),
        "full_ungated": short(with_format(hybrid), apply_to="all"),
        "full_gated": short(with_format(hybrid, gate(formatted, condition=may_charge)), correct=may_charge),
        "model_full": short(with_format(model), apply_to="all"),
        "swapped": swapped,
        "length_flipped": short(with_format(hybrid), correct=may_charge, weight=-world.length_weight),
    }
    return {name: values.view(pool.rule.shape) for name, values in arms.items()}


def routed(pool: Pool, tables: dict[str, Tensor]) -> Tensor:
    """Score candidates (S·P·N,) by the table of their prompt's kind, through `RoutedReward`."""
    candidates: list[Completion] = [str(index) for index in range(pool.rule.numel())]
    kinds = ["math" if known else "open" for known in pool.verifiable.tolist()]
    each = [kind for _ in range(len(pool.rule)) for kind in kinds for _ in range(pool.rule.shape[-1])]
    reward = RoutedReward({kind: partial(looked_up, table=table.flatten().tolist()) for kind, table in tables.items()})
    scores = reward(prompts=candidates, completions=candidates, task=each)
    return torch.tensor([math.nan if score is None else score for score in scores], dtype=pool.rule.dtype)


def looked_up(*, completions: list[str], table: list[float], **columns: Any) -> list[float | None]:
    """Look up rewards; completions are places in the table, NaN is unscored."""
    values = [table[int(completion)] for completion in completions]
    return [None if math.isnan(value) else value for value in values]


figure = partial(
    dots,
    series={
        "verifiable prompts": "math/{}", "open prompts": "open/{}", "all, where formatted": "formatted_gold/{}",
    },
    rows={
        "model": "learned reward", "rule": "checker", "half": "half of each", "hybrid": "routed",
        "hybrid_format": "routed + format", "full": "routed + format + length",
        "model_full": "learned + format + length", "swapped": "swapped routes",
    },
    label="true value after training",
)  # fmt: skip
