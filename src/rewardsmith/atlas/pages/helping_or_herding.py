"""Members with different pretraining err differently, so their ensemble helps more, but not against shared bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, LowerBound, PairedGain
from rewardsmith.atlas.figures import curves, plain
from rewardsmith.atlas.page import rows
from rewardsmith.measures import shared_hack_drift, underspecification
from rewardsmith.objectives import bt_loss, centering_loss
from rewardsmith.transforms import mean_minus_std, member_mean, member_quantile
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.heavy_tails import HeavyTails, member_scores, score_pool
from rewardsmith.worlds.preference_world import Pairs
from rewardsmith.worlds.response_pool import best_of_n
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("correlation/finetune", over="correlation/pretrain", at_least=0.1),
    LowerBound("gold_1024/pretrain_min", over="gold_1024/finetune_min", above=0.05, least_seeds=8),
    AtMost("accuracy_spread/members", 0.03),
    AtLeast("length_256/pretrain_min", 0.5),
    PairedGain("length_256/pretrain_min", over="length_256/six_tenths_of_single", at_least=0.0),
    # What must fail: without a bias in the labels, nothing drifts.
    AtMost("length_256/unbiased_pretrain_min", 0.5),
)
NS = (1, 4, 16, 64, 256, 1024)
MEMBERS = 4  # bodies, and fine-tunings of each
BATCH, PRETRAIN_RATE, HEAD_RATE, BODY_RATE = 64, 1e-2, 3e-3, 5e-4  # of Adam
WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": member_mean,
    "median": partial(member_quantile, level=0.5),
    "min": partial(member_quantile, level=0.0),
    "mean_minus_std": partial(mean_minus_std, coef=1.0),
}
ALONG = {"finetune": -2, "pretrain": -1}  # which dimension of the grid (bodies, heads) an ensemble holds fixed


@dataclass(frozen=True, slots=True)
class World:
    """Heavy-tailed responses with correlated features, and a length that annotators like and gold ignores.

    Unit of gold: one standard deviation over responses of the reference policy, whose mean is 0.
    """

    dof: int = 10  # degrees of freedom of the responses
    scale: float = 1.5  # of gold's directions: how soon it saturates
    bias: float = 0.4  # gold that annotators grant per unit of length
    flip: float = 0.2  # share of pairs labeled the wrong way round
    n_pairs: int = 300  # preference pairs
    n_unlabeled: int = 4000  # responses that bodies are pretrained on
    width: int = 48  # units in each of the two hidden layers
    mask_rate: float = 0.25  # share of features hidden in pretraining
    pretrain_steps: int = 200  # of Adam per body
    finetune_steps: int = 300  # of Adam per member
    center: float = 0.01  # of the squared sum of a pair's scores in the loss
    n_prompts: int = 16  # prompts of the pool
    n_responses: int = 2048  # responses per prompt, 1024 or more
    n_reference: int = 2048  # responses that set each member's scale


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure true value and length of best-of-n picks by ensembles over the grid, and run the two audits."""
    streams = Streams(seeds)
    heavy = HeavyTails.sample(streams, d=12, dof=world.dof, scale=world.scale, correlated=True, length=True)
    bodies = pretrain(heavy.responses(world.n_unlabeled, streams=streams), world, streams, one_seed=broken)
    labeled = partial(heavy.pairs, world.n_pairs, streams=streams, flip=world.flip)
    biased = finetune(bodies, labeled(bias=world.bias), world, streams, n_heads=MEMBERS)
    unbiased = [finetune(bodies, labeled(), world, streams, n_heads=1)]
    features = heavy.responses(world.n_prompts, world.n_responses, streams=streams)
    reference = heavy.responses(world.n_reference, streams=streams)
    unbiased.append(finetune(bodies, labeled(), world, streams, n_heads=1))  # how long picks get is chance: two draws
    scores = member_scores(biased, features, reference)
    grid = scores.reshape(*scores.shape[:-1], MEMBERS, MEMBERS)  # (S, P, N, bodies, heads)
    seen = {"gold": heavy.gold(features), "length": features[..., 0]}
    ensembles = {  # every one of a kind and a way: over the heads of each body, or over the bodies of each head
        f"{kind}_{name}": [combine(members, way) for members in grid.unbind(fixed)]
        for kind, fixed in ALONG.items()
        for name, way in WAYS.items()
    }
    pickers = ensembles | {
        "unbiased_pretrain_min": [combine(member_scores(m, features, reference), WAYS["min"]) for m in unbiased],
        "single": list(scores.unbind(-1)),
        "gold_picker": [seen["gold"]],
    }
    tables: dict[str, dict[str, Tensor]] = {f"{name}_{n}": {} for name in seen for n in NS}
    for arm, picked_by in pickers.items():
        for name, values in seen.items():
            curve = torch.stack([best_of_n(picks, values, NS).mean(1) for picks in picked_by]).mean(0)  # (S, n)
            for i, n in enumerate(NS):
                tables[f"{name}_{n}"][arm] = curve[:, i]
    tables["length_256"]["six_tenths_of_single"] = 0.6 * tables["length_256"]["single"]
    tests = heavy.pairs(2000, streams=streams, flip=0.0, bias=world.bias)
    sides = [score_pool(biased, x[:, None])[:, :, 0].transpose(1, 2) for x in (tests.chosen, tests.rejected)]
    noise = streams.randn(world.n_prompts, world.n_responses)
    disagreement = partial(underspecification, group_size=world.n_responses)
    found = rows(tables)
    for seed, row in enumerate(found):
        chosen, rejected = (side[seed] for side in sides)  # (M, K) the members' scores of pairs
        every = disagreement(scores[seed].flatten(0, 1), chosen=chosen, rejected=rejected, n=[])
        row.update({"accuracy/members": every.accuracy_mean, "accuracy_spread/members": every.accuracy_spread})
        for kind, fixed in ALONG.items():
            parts = [disagreement(members.flatten(0, 1), n=(1, 256)) for members in grid[seed].unbind(fixed)]
            for i, (correlation, gap) in enumerate((("correlation", "gap_1"), ("correlation_256", "gap_256"))):
                row[f"{correlation}/{kind}"] = sum(part.by_n[i].spearman for part in parts) / len(parts)
                row[f"{gap}/{kind}"] = sum(part.by_n[i].gap for part in parts) / len(parts)
        first = {name: ensemble[0][seed].flatten() for name, ensemble in ensembles.items()}
        known = {"length": seen["length"][seed].flatten(), "noise": noise[seed].flatten()}
        for drift in shared_hack_drift(known, first, group_size=world.n_responses, n=(1, 4, 16, 64, 256)):
            row[f"drifts/{drift.feature}"] = float(drift.shared != 0)  # 1 if it rises or falls under all of them
    return found


def pretrain(
    features: Tensor, world: World, streams: Streams, *, n_bodies: int = MEMBERS, one_seed: bool = False
) -> BatchedMLP:
    """Train perceptrons (S, n_bodies) to fill in features set to 0, by Adam on the squared error.

        ℓ = mean over masked j of ( f(x ⊙ (1 − m))_j − x_j )²        m_j ~ Bernoulli(mask_rate)

    The seed of a body sets its start, its order of the samples and its masks. Weights start at √2 times those of
    `BatchedMLP`, as befits ReLU, and biases of hidden layers at N(0, 0.3²), so that kinks lie everywhere.

    Args:
        features: (S, n, d) unlabeled responses.
        one_seed: all bodies of a seed start and learn alike.
    """
    rate = world.mask_rate
    check_range("pretrain", "mask_rate", rate, 0.0, 1.0)
    _, n, d = features.shape
    bodies = BatchedMLP((d, world.width, world.width, d), lead=(len(streams), n_bodies), streams=streams)
    with torch.no_grad():
        for weight, bias in zip(list(bodies.weights)[:-1], list(bodies.biases)[:-1], strict=True):
            weight.mul_(2**0.5)
            bias.copy_(0.3 * streams.randn(*bias.shape[1:]))
    bodies = bodies.take([0] * n_bodies) if one_seed else bodies
    apart = 1 if one_seed else n_bodies
    seed = torch.arange(len(streams))[:, None, None]
    for _ in adam_steps(bodies.parameters(), world.pretrain_steps, learning_rate=PRETRAIN_RATE):
        x = features[seed, streams.randint(n, apart, BATCH)]  # (S, bodies, batch, d)
        masked = (streams.rand(apart, BATCH, d) < rate).to(x.dtype)
        missed = (bodies(x * (1 - masked)) - x) * masked
        torch.autograd.backward((missed.square().mean(dim=(-1, -2)) / max(rate, 1 / d)).sum())
    return bodies


def finetune(bodies: BatchedMLP, pairs: Pairs, world: World, streams: Streams, *, n_heads: int) -> BatchedMLP:
    """Train reward models (S, n_bodies · n_heads), body by body, on pairs: a copy of the body under a new head.

        ℓ = softplus( −(r⁺ − r⁻) ) + center (r⁺ + r⁻)²

    Eisenstein et al. 2023, arXiv:2312.09244. The seed of a fine-tuning sets its head and its order of the pairs; the
    body is trained along at a smaller rate. Heads start small, as those on language models do, so that what a member
    says is learned and not drawn.
    """
    n_seeds, n_bodies = bodies.lead
    n_models, sizes = n_bodies * n_heads, (pairs.chosen.shape[-1], world.width, world.width, 1)
    models = BatchedMLP(sizes, lead=(n_seeds, n_models), streams=streams)
    with torch.no_grad():
        for ours, theirs in ((models.weights, bodies.weights), (models.biases, bodies.biases)):
            for layer in range(2):
                ours[layer].copy_(theirs[layer].repeat_interleave(n_heads, dim=1))
        models.weights[-1].mul_(0.1)
    body: dict[str, Any] = {"params": [*list(models.weights)[:-1], *list(models.biases)[:-1]], "lr": BODY_RATE}
    head: dict[str, Any] = {"params": [models.weights[-1], models.biases[-1]]}
    both, seed = torch.stack([pairs.chosen, pairs.rejected], dim=2), torch.arange(n_seeds)[:, None, None]
    for _ in adam_steps([body, head], world.finetune_steps, learning_rate=HEAD_RATE):
        picks = streams.randint(both.shape[1], n_models, BATCH)
        chosen, rejected = models(both[seed, picks].flatten(2, 3)).unflatten(-1, (BATCH, 2)).unbind(-1)
        losses = bt_loss(chosen, rejected) + centering_loss(chosen, rejected, coef=world.center)
        torch.autograd.backward(losses.mean(dim=-1).sum())
    return models


def combine(scores: Tensor, way: Callable[[Tensor], Tensor]) -> Tensor:
    """Combine (..., K) z-scores to (...)."""
    return way(scores.flatten(0, -2)).view(scores.shape[:-1])


figure = partial(
    curves,
    at=NS,
    lines={
        f"{metric}, {plain(arm)}": f"{metric}_{{0}}/{arm}"
        for metric in ("gold", "length")
        for arm in ("single", "finetune_min", "pretrain_min", "pretrain_mean")
    }
    | {"length, unbiased labels": "length_{0}/unbiased_pretrain_min"},
    label=("n of best-of-n", "standard deviations"),
    dashed=("length",),
    doubling=True,
)
