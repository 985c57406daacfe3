"""Train on self-made labels only as firmly as two successive rankers agree, and self-training does not fall back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, PairedGain
from rewardsmith.atlas.figures import curves
from rewardsmith.atlas.page import rows
from rewardsmith.measures import rank_consistency
from rewardsmith.objectives import preference_margin, soft_label_dpo_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import PrefixTree, additive_gold, drawn, mean_gold, of, supervised, trained

CRITERION = All(
    PairedGain("gold_1/srlm", over="gold_5/srlm", at_least=0.05),
    PairedGain("gold_5/cream", over="gold_5/srlm", at_least=0.05),
    AtLeast("correlation/cream", 0.01),
    PairedGain("gold_5/cream", over="gold_5/reversed", at_least=0.2),
)
ROUNDS = 5
ARMS: dict[str, tuple[float | str, float, float]] = {  # the target, or what it follows; factors of steps and of β
    "srlm": (1.0, 1.0, 1.0),
    "few_steps": (1.0, 0.25, 1.0),
    "soft_labels": (0.7, 1.0, 1.0),
    "cream": ("consistency", 1.0, 1.0),
    "shuffled": ("shuffled", 1.0, 1.0),
    "reversed": ("reversed", 1.0, 1.0),
    "keep_consistent": ("keep", 1.0, 1.0),
    "gold_labels": (1.0, 1.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class World:
    """A language model that ranks its own responses by its implicit reward and trains on them, round by round."""

    n_worlds: int = 40  # languages averaged per seed
    n_prompts: int = 12  # prompts
    n_tokens: int = 4  # in the vocabulary
    length: int = 4  # tokens per response
    width: int = 32  # of the policy's two hidden layers
    shared: float = 0.7  # share of gold's variance that all prompts have in common
    n_base: int = 16  # responses per prompt that the base model is fitted to
    base_slope: float = 0.2  # of their log-odds by gold, beside normal noise
    base_steps: int = 100  # of Adam
    demo_slope: float = 0.7  # of the one demonstration per prompt
    demo_steps: int = 60  # of Adam
    n_samples: int = 8  # responses per prompt and round
    steps: int = 12  # of Adam per round
    beta: float = 0.5  # β
    learning_rate: float = 1e-3  # of Adam


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure gold after each round, and what the consistency of two rankers says of the ranking."""
    streams, arms = Streams([seed * world.n_worlds + k for seed in seeds for k in range(world.n_worlds)]), list(ARMS)
    tree = PrefixTree(world.n_prompts, world.n_tokens, world.length)
    gold = additive_gold(tree, streams, shared=world.shared).sum(dim=-1)  # (S, 1, X, N)
    written = (world.base_slope * gold + streams.randn(*gold.shape[1:])).log_softmax(dim=-1)
    blank = tree.policy(streams, width=world.width)
    base = supervised(tree, blank, drawn(written, world.n_base, streams), steps=world.base_steps, learning_rate=3e-3)
    demonstrated = drawn((world.demo_slope * gold).log_softmax(dim=-1), 1, streams)
    policy = supervised(tree, base, demonstrated, steps=world.demo_steps).take([0] * len(arms))
    with torch.no_grad():
        first = tree.logps(tree.next_token(base)).expand(-1, len(arms), -1, -1)
        now, before = tree.logps(tree.next_token(policy)), first / world.length  # no earlier ranker: its likelihood
    found = {"gold_0": dict(zip(arms, mean_gold(now, gold).unbind(1), strict=True))}
    for number in range(1, ROUNDS + 1):
        sample = drawn(now, world.n_samples, streams)  # (S, M, X, n)
        fresh = ~(sample[..., None] == sample[..., None, :]).tril(-1).any(dim=-1)  # of duplicates the first counts
        ranking, truth = of(now - first, sample), of(gold, sample)
        consistency, accuracy = (
            torch.as_tensor(rank_consistency(ranking, other, mask=fresh)) for other in (of(before, sample), truth)
        )
        own = arms.index("cream")
        found[f"consistency_{number}"] = {"cream": consistency[:, own].nanmean(dim=-1)}
        found[f"correlation_{number}"] = {"cream": correlation(consistency[:, own], accuracy[:, own])}
        ranking[:, arms.index("gold_labels")] = truth[:, arms.index("gold_labels")]
        pairs = torch.cat([sample.gather(-1, at(-1, True)) for at in (ranking.argmax, ranking.argmin)], dim=-1)
        target, weight = labels(consistency, streams.randperm(world.n_prompts), broken)
        policy = fitted(policy, tree.reader(pairs), of(now, pairs), target, weight, world)
        before = now - first
        with torch.no_grad():
            now = tree.logps(tree.next_token(policy))
        found[f"gold_{number}"] = dict(zip(arms, mean_gold(now, gold).unbind(1), strict=True))
    correlations = torch.stack([found[f"correlation_{number}"]["cream"] for number in range(1, ROUNDS + 1)])
    found["correlation"] = {"cream": correlations.nanmean(dim=0)}
    by_seed = (len(seeds), world.n_worlds)
    return rows({name: {a: v.view(by_seed).nanmean(dim=1) for a, v in table.items()} for name, table in found.items()})


def labels(consistency: Tensor, other: Tensor, broken: bool) -> tuple[Tensor, Tensor]:
    """Return (S, M, X) targets and weights of the pairs, by each arm's rule.

    Args:
        consistency: (S, M, X); NaN where fewer than three responses differ, and such prompts are skipped.
        other: (S, X) a permutation of the prompts.
    """
    shuffled = consistency.gather(-1, other[:, None].expand_as(consistency))
    soft, mixed = consistency.clamp(0.5, 1.0), shuffled.clamp(0.5, 1.0)  # below ½ it would turn the pair around
    hard, weight = torch.ones_like(soft), consistency.isfinite().to(soft.dtype)
    rules = {"consistency": 1 - soft if broken else soft, "shuffled": mixed, "reversed": 1 - soft, "keep": hard}
    target = torch.stack(
        [(rules[rule] if isinstance(rule, str) else rule * hard)[:, m] for m, (rule, *_) in enumerate(ARMS.values())],
        dim=1,
    )
    kept = list(ARMS).index("keep_consistent")
    weight[:, kept] = (consistency[:, kept] >= 0.7).to(weight.dtype)
    return target.nan_to_num(0.5), weight


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return (S, M) Pearson's correlation over prompts where both are known."""
    known = first.isfinite() & second.isfinite()
    first, second = (
        torch.where(known, v, torch.nan) - torch.where(known, v, torch.nan).nanmean(dim=-1, keepdim=True)
        for v in (first, second)
    )
    return (first * second).nansum(-1) / (first.square().nansum(-1) * second.square().nansum(-1)).sqrt()


def fitted(
    policy: BatchedMLP, read: Callable[[BatchedMLP], Tensor], ref: Tensor, target: Tensor, weight: Tensor, world: World
) -> BatchedMLP:
    """Train each arm for its number of steps.

    Args:
        read: of policies, token log-probabilities (S, M, X, 2, T) of the pairs.
        ref: (S, M, X, 2) the reference's log-probabilities.
        target, weight: (S, M, X).
    """
    kept = policy.take(range(len(ARMS)))
    stops = torch.tensor([round(share * world.steps) for _, share, _ in ARMS.values()])
    factor = torch.tensor([beta for *_, beta in ARMS.values()], dtype=target.dtype)
    beta = world.beta * factor[:, None].expand_as(target)

    def loss(learner: BatchedMLP) -> Tensor:
        logps = read(learner).sum(dim=-1)
        margin = preference_margin(logps[..., 0], logps[..., 1], ref[..., 0], ref[..., 1], beta=beta)
        return (weight * soft_label_dpo_loss(margin, target)).sum(-1) / weight.sum(-1).clamp_min(1.0)

    def keep(step: int, learner: BatchedMLP) -> None:
        for new, old in zip(learner.parameters(), kept.parameters(), strict=True):
            old[:, stops == step] = new[:, stops == step]

    trained(policy, loss, steps=world.steps, learning_rate=world.learning_rate, every=keep)
    return kept


figure = partial(
    curves,
    at=range(ROUNDS + 1),
    lines={
        "CREAM": "gold_{0}/cream",
        "hard labels": "gold_{0}/srlm",
        "hard labels, a quarter of the steps": "gold_{0}/few_steps",
        "one soft label for all": "gold_{0}/soft_labels",
        "consistency of another prompt": "gold_{0}/shuffled",
    },
    label=("round", "gold reward"),
)
