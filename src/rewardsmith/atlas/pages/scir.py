"""Train on the pairs where judge and implicit reward agree: labels are better there, but their mean gains more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.measures import agreement
from rewardsmith.objectives import multi_view_consistency_loss, preference_margin, soft_label_dpo_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import (
    Pairs,
    PrefixTree,
    additive_gold,
    drawn,
    labeled,
    mean_gold,
    of,
    supervised,
    trained,
)

CRITERION = All(
    LowerBound("accuracy/agreed", over="accuracy/judge", above=0.03),
    LowerBound("accuracy/agreed", over="accuracy/disagreed", above=0.05),
    PairedGain("gold/soft_mean", over="gold/agreed", at_least=0.02),
)


@dataclass(frozen=True, slots=True)
class World:
    """A policy and a judge, each trained on pairs labeled by gold, and a round of training on their own labels."""

    n_worlds: int = 2  # languages averaged per seed
    n_prompts: int = 12  # prompts
    n_tokens: int = 4  # in the vocabulary
    length: int = 4  # tokens per response
    width: int = 32  # of two hidden layers, of policy and judge
    ref_slope: float = 0.4  # of the first policy's log-odds by gold
    ref_noise: float = 0.8  # standard deviation of its log-odds besides
    n_ref: int = 50  # responses per prompt that the first policy is fitted to
    n_labeled: int = 60  # pairs per prompt with labels by gold, of policy and judge each
    same_pairs: bool = False  # whether policy and judge see the same ones
    judge_steps: int = 60  # of Adam
    n_pairs: int = 20  # per prompt of the round that labels itself
    beta: float = 0.5  # β
    entropy_weight: float = 0.5  # λ of the consistency loss
    steps: int = 30  # of Adam per stage
    learning_rate: float = 2e-3  # of Adam


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure label accuracy by who labels which pairs, and gold after a round of training on them."""
    streams = Streams([seed * world.n_worlds + k for seed in seeds for k in range(world.n_worlds)])
    tree = PrefixTree(world.n_prompts, world.n_tokens, world.length)
    gold = additive_gold(tree, streams).sum(dim=-1)  # (S, 1, X, N)
    written = (world.ref_slope * gold + world.ref_noise * streams.randn(*gold.shape[1:])).log_softmax(dim=-1)
    blank = tree.policy(streams, width=world.width)
    start = supervised(tree, blank, drawn(written, world.n_ref, streams), steps=100, learning_rate=3e-3)
    with torch.no_grad():
        ref = tree.logps(tree.next_token(start))
    known = []
    for _ in ("policy", "judge"):
        first, second = drawn(ref, 2 * world.n_labeled, streams).chunk(2, dim=-1)
        known.append(labeled(gold, first, second, streams))
    judge = taught(tree, known[0] if world.same_pairs else known[1], streams, world)
    every = torch.ones_like(known[0].chosen, dtype=ref.dtype)
    policy = fitted(start, *reading(tree, known[0], ref), every, every, world)
    with torch.no_grad():
        now = tree.logps(tree.next_token(policy))
    pairs, fresh = (Pairs(*part.chunk(2, dim=-1)) for part in drawn(now, 4 * world.n_pairs, streams).chunk(2, dim=-1))
    seen, right = views(tree, judge, pairs, now, ref, world).detach(), better(gold, pairs)
    judged, implicit = seen[:2].mean(dim=0), seen[2]
    mean, every = (judged + implicit) / 2, pairs.chosen != pairs.rejected
    agreed = torch.from_numpy(agreement(seen.flatten(1)).mask).view_as(every) & every
    if broken:
        agreed = agreed.flatten(1).gather(1, streams.randperm(every[0].numel())).view_as(every)
    count = agreed.sum(dim=(1, 2, 3))[:, None, None, None]

    def most(score: Tensor) -> Tensor:
        """Return as many pairs as agree, of the highest score."""
        return score.flatten(1).argsort(dim=-1, descending=True).argsort(dim=-1).view_as(score) < count

    arms = {  # the labels, and for which pairs
        "judge": (judged.round(), every),
        "implicit": (implicit.round(), every),
        "agreed": (judged.round(), agreed),
        "disagreed": (judged.round(), every & ~agreed),
        "random": (mean.round(), most(streams.rand(*every.shape[1:]) * every)),
        "confident_judge": (judged.round(), most((judged - 0.5).abs() * every)),
        "confident_mean": (mean.round(), most((mean - 0.5).abs() * every)),
        "hard_mean": (mean.round(), every),
        "soft_mean": (mean, every),
        "gold_labels": (right, every),
    }
    target, weight = (torch.cat(parts, dim=1).to(now.dtype) for parts in zip(*arms.values(), strict=True))
    learners = fitted(policy.take([0] * len(arms)), *reading(tree, pairs, now), target, weight, world)
    with torch.no_grad():
        gained = mean_gold(tree.logps(tree.next_token(learners)), gold)
    hits = ((target.round() == right) * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
    found = {
        "accuracy": dict(zip(arms, hits.unbind(1), strict=True)),
        "gold": {"before": mean_gold(now, gold)[:, 0]} | dict(zip(arms, gained.unbind(1), strict=True)),
        "kept": {"agreed": weight[:, list(arms).index("agreed")].mean(dim=(1, 2))},
        "flip_rate": {},
        "fresh_accuracy": {},
    }

    def disagreement(learner: BatchedMLP, used: list[int]) -> Tensor:
        """Return (S, 1) the consistency loss of some views."""
        given = views(tree, learner, pairs, now, ref, world)[used].flatten(1)
        losses = multi_view_consistency_loss(given, entropy_weight=world.entropy_weight)
        return losses.view(len(streams), 1, -1).mean(dim=-1)

    for name, used in {"judge": [], "consistent": [0, 1, 2], "consistent_one_order": [0, 2]}.items():
        loss = partial(disagreement, used=used)
        learner = trained(judge, loss, steps=world.steps, learning_rate=world.learning_rate) if used else judge
        verdicts = views(tree, learner, fresh, now, ref, world)[:2].detach()
        found["flip_rate"][name] = ((verdicts[0] > 0.5) != (verdicts[1] > 0.5)).to(now.dtype).mean(dim=(1, 2, 3))
        found["fresh_accuracy"][name] = (verdicts[0].round() == better(gold, fresh)).to(now.dtype).mean(dim=(1, 2, 3))
    by_seed = (len(seeds), world.n_worlds)
    return rows({name: {arm: v.view(by_seed).mean(dim=1) for arm, v in table.items()} for name, table in found.items()})


def better(gold: Tensor, pairs: Pairs) -> Tensor:
    """Return (S, 1, X, n) 1 where the first response has more gold, else 0."""
    return (of(gold, pairs.chosen) > of(gold, pairs.rejected)).to(gold.dtype)


def views(tree: PrefixTree, judge: BatchedMLP, pairs: Pairs, now: Tensor, ref: Tensor, world: World) -> Tensor:
    """Return (3, S, 1, X, n) how likely the first is better: by the judge in either order, and by the policy."""
    one, two = pairs
    in_order, reversed_order = (
        torch.sigmoid(judge(asked(tree, *order))).view(one.shape) for order in ((one, two), (two, one))
    )
    margin = preference_margin(*(of(logps, at) for logps in (now, ref) for at in pairs), beta=world.beta)
    return torch.stack([in_order, 1 - reversed_order, torch.sigmoid(margin)])


def asked(tree: PrefixTree, first: Tensor, second: Tensor) -> Tensor:
    """Return (S, 1, X · n, d) a judge's inputs: one-hot prompt and one-hot tokens of two responses (S, 1, X, n)."""
    prompts = torch.eye(tree.n_prompts)[:, None].expand(*first.shape, -1)
    tokens = [F.one_hot(tree.responses[at], tree.n_tokens).flatten(-2) for at in (first, second)]
    return torch.cat([prompts, *tokens], dim=-1).to(torch.float64).flatten(2, 3)


def taught(tree: PrefixTree, pairs: Pairs, streams: Streams, world: World) -> BatchedMLP:
    """Train a judge on labeled pairs, each shown in one random order."""
    swapped = streams.rand(*pairs.chosen.shape[1:]) < 0.5
    orders = [torch.where(swapped, *order) for order in ((pairs.rejected, pairs.chosen), pairs)]
    x, label = asked(tree, *orders), 1 - swapped.flatten(2).to(streams.dtype)
    judge = BatchedMLP((x.shape[-1], world.width, world.width, 1), lead=(len(streams), 1), streams=streams)

    def loss(learner: BatchedMLP) -> Tensor:
        return soft_label_dpo_loss(learner(x), label).mean(dim=-1)

    return trained(judge, loss, steps=world.judge_steps, learning_rate=world.learning_rate)


def reading(tree: PrefixTree, pairs: Pairs, ref: Tensor) -> tuple[Callable[[BatchedMLP], Tensor], Tensor]:
    """Return a reader of both responses of pairs, and their log-probabilities (S, 1, X, 2n) under a reference."""
    both = torch.cat(pairs, dim=-1)
    return tree.reader(both), of(ref, both)


def fitted(
    policy: BatchedMLP, read: Callable[[BatchedMLP], Tensor], ref: Tensor, target: Tensor, weight: Tensor, world: World
) -> BatchedMLP:
    """Train a copy of policies (S, M) on pairs with soft targets and weights (S, M, X, n)."""
    before = ref.expand(-1, policy.lead[1], -1, -1)

    def loss(learner: BatchedMLP) -> Tensor:
        logps = [part for whole in (read(learner).sum(dim=-1), before) for part in whole.chunk(2, dim=-1)]
        losses = soft_label_dpo_loss(preference_margin(*logps, beta=world.beta), target)
        return (weight * losses).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))

    return trained(policy, loss, steps=world.steps, learning_rate=world.learning_rate)


figure = partial(
    dots,
    series={"gold reward after a round": "gold/{}"},
    rows=("before", "judge", "implicit", "agreed", "disagreed", "random", "confident_judge", "confident_mean",
          "hard_mean", "soft_mean"),
    label="gold reward, by who labels which pairs",
)  # fmt: skip
