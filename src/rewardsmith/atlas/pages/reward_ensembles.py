"""Score by the minimum of a few reward models, and optimization loses less true quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import curves, plain
from rewardsmith.atlas.page import parameters
from rewardsmith.transforms import mean_minus_variance, member_mean, member_quantile
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.heavy_tails import HeavyTails, member_scores
from rewardsmith.worlds.preference_world import pair_accuracy, train_pairs
from rewardsmith.worlds.response_pool import best_of_n, expected, kl, tilted_policy

CRITERION = All(
    LowerBound("gold_2048/min", over="gold_2048/single", above=0.1, least_seeds=8),
    LowerBound("gold_2048/uwo_1", over="gold_2048/single", above=0.1, least_seeds=8),
    PairedGain("gold_2048/min", over="gold_2048/mean", at_least=0.0),
    # One model and the mean of five first rise, and then fall.
    LowerBound("gold_64/single", over="gold_1/single", above=0.0, least_seeds=8),
    LowerBound("gold_64/single", over="gold_2048/single", above=0.0, least_seeds=8),
    LowerBound("gold_64/mean", over="gold_1/mean", above=0.0, least_seeds=8),
    LowerBound("gold_64/mean", over="gold_2048/mean", above=0.0, least_seeds=8),
    # What must fail: the maximum, and a bonus for disagreement.
    PairedGain("gold_2048/max", over="gold_2048/single", at_most=0.1),
    PairedGain("gold_2048/uwo_minus_1", over="gold_2048/single", at_most=0.1),
)
NS = (1, 4, 16, 64, 256, 1024, 2048)
BETAS = (2.0, 1.0, 0.5, 0.25, 0.1, 0.05)
WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": member_mean,
    "median": partial(member_quantile, level=0.5),
    "min": partial(member_quantile, level=0.0),
    "uwo_05": partial(mean_minus_variance, coef=0.5),
    "uwo_1": partial(mean_minus_variance, coef=1.0),
    "max": partial(member_quantile, level=1.0),
    "uwo_minus_1": partial(mean_minus_variance, coef=-1.0),
}
TILTED = ("mean", "min", "uwo_1")


@dataclass(frozen=True, slots=True)
class World:
    """Responses from Student's t, true values that saturate, and reward models fit to few noisy pairs.

    Unit of gold: one standard deviation over responses of the reference policy, whose mean is 0.
    """

    dof: int = 10  # degrees of freedom of the responses
    penalty: float = 0.1  # of a response's squared size in three directions, before gold is standardized
    n_members: int = 5  # K, reward models
    width: int = 64  # units in each of a model's two hidden layers
    n_pairs: int = 300  # preference pairs
    flip: float = 0.25  # share of them labeled the wrong way round
    steps: int = 400  # of Adam per model
    batch_size: int = 64  # pairs per step
    learning_rate: float = 3e-3  # of Adam
    n_prompts: int = 32  # prompts of the pool
    n_responses: int = 4096  # responses per prompt, 2048 or more
    n_reference: int = 2048  # responses that set each member's scale


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure true value of best-of-n and of tilted policies, by one member and by each way to combine them."""
    streams = Streams(seeds)
    heavy = HeavyTails.sample(streams, **parameters(world, HeavyTails.sample))
    members = fit_members(heavy, streams, world, one_seed=broken)
    features = heavy.responses(world.n_prompts, world.n_responses, streams=streams)
    scores = member_scores(members, features, heavy.responses(world.n_reference, streams=streams))
    gold = heavy.gold(features)
    combined = {name: combine(scores.flatten(0, 2)).view_as(gold) for name, combine in WAYS.items()}  # (S, P, N) each
    curves = {name: best_of_n(picks, gold, NS).mean(1) for name, picks in combined.items()}
    alone = [best_of_n(picks, gold, NS).mean(1) for picks in scores.unbind(-1)]
    curves["single"] = torch.stack(alone).mean(0)  # (S, n)
    table = {f"gold_{n}/{arm}": curve[:, i] for arm, curve in curves.items() for i, n in enumerate(NS)}
    table |= {f"fall/{arm}": curve.amax(dim=1) - curve[:, -1] for arm, curve in curves.items()}
    table |= tilted({"member_1": scores[..., 0]} | {arm: combined[arm] for arm in TILTED}, gold)
    table["accuracy/single"] = pair_accuracy(members, heavy.pairs(1000, streams=streams, flip=0.0)).mean(1)
    table["spread/members"] = scores.var(dim=-1, correction=0).mean(dim=(1, 2))
    return [{name: float(values[seed]) for name, values in table.items()} for seed in range(len(seeds))]


def fit_members(heavy: HeavyTails, streams: Streams, world: World, *, one_seed: bool) -> BatchedMLP:
    """Train K reward models on the same pairs, each with its own start and order of data unless `one_seed`."""
    pairs = heavy.pairs(world.n_pairs, streams=streams, flip=world.flip)
    sizes = (heavy.n_features, world.width, world.width, 1)
    members = BatchedMLP(sizes, lead=(len(streams), world.n_members), streams=streams, activation=torch.relu)
    seeds = [0] * world.n_members if one_seed else list(range(world.n_members))
    return train_pairs(members.take(seeds), pairs, streams=streams, order=seeds, **parameters(world, train_pairs))


def tilted(arms: dict[str, Tensor], gold: Tensor) -> dict[str, Tensor]:
    """Return (S,) true value and KL of the exact optimum of E[score] − β·KL, by arm, β."""
    found = {}
    for arm, scores in arms.items():
        for beta in BETAS:
            policy = tilted_policy(scores, beta)
            found[f"gold_at_beta_{beta:g}/{arm}"] = expected(policy, gold).mean(-1)
            found[f"kl_at_beta_{beta:g}/{arm}"] = kl(policy).mean(-1)
    return found


figure = partial(
    curves,
    at=NS,
    lines={plain(arm).replace("05", "0.5"): f"gold_{{0}}/{arm}" for arm in ("single", *WAYS)},
    label=("n of best-of-n", "true value of the pick (standard deviations)"),
    doubling=True,
)
