"""Mix the nominal reward with the lowest of several heads; stronger optimization needs more of the lowest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from rewardsmith._check import check_choice, check_range
from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import curves, plain
from rewardsmith.atlas.page import parameters
from rewardsmith.measures.scoring_errors import over_vs_under_scoring
from rewardsmith.objectives import thurstone_loss
from rewardsmith.objectives.pairwise import sampled_preference_loss
from rewardsmith.transforms import member_mean, member_quantile, reference_statistics, robust_mix
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.heavy_tails import HeavyTails, member_scores
from rewardsmith.worlds.preference_world import Pairs, train_pairs
from rewardsmith.worlds.response_pool import best_of_n
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    LowerBound("gold_256/mix_03", over="gold_256/nominal", above=0.1, least_seeds=8),
    PairedGain("loss_of_2_percent/over", over="loss_of_2_percent/five_times_under", at_least=0.0),
    PairedGain("loss_of_10_percent/over", over="loss_of_10_percent/five_times_under", at_least=0.0),
    LowerBound("gold_1024/min", over="gold_1024/single", above=0.0, least_seeds=8),
    # What must fail: the highest head in place of the lowest; and heads on one trunk are nearly copies.
    PairedGain("gold_1024/max", over="gold_1024/single", at_most=0.0),
    PairedGain("correlation/shared_trunk", over="correlation/own_trunks", at_least=0.2),
)
NS = (1, 16, 64, 256, 1024)
MIXES = {"nominal": 1.0, "mix_07": 0.7, "mix_05": 0.5, "mix_03": 0.3}
FLOOR = 0.1  # least σ: without it, likelihoods send σ to 0 and “the surest head” means nothing
DELTA = 2.0  # of the bandits, whose rewards are standard normal
ERRORS = {"loss_of_2_percent": (0.02, 0.2), "loss_of_10_percent": (0.1, 0.2), "loss_at_beta_1": (0.02, 1.0)}
"""Share of the arms that are scored wrong, and β, which is low under strong optimization."""


@dataclass(frozen=True, slots=True)
class World:
    """Heavy-tailed responses, heads fit to noisy pairs, and bandits whose arms are scored wrong.

    Unit of gold: one standard deviation over responses of the reference policy, whose mean is 0.
    """

    n_worlds: int = 2  # independent worlds that each seed averages over
    dof: int = 10  # degrees of freedom of the responses
    n_heads: int = 5  # K, heads and single models
    width: int = 48  # units in each of the two hidden layers
    likelihood: str = "thurstone"  # or mse_prob
    subset: float = 0.6  # share of the pairs that each head sees
    n_pairs: int = 400  # preference pairs
    flip: float = 0.25  # share of them labeled the wrong way round
    steps: int = 350  # of Adam per model
    batch_size: int = 64  # pairs per step and model
    learning_rate: float = 3e-3  # of Adam
    n_prompts: int = 16  # prompts of the pool
    n_responses: int = 2048  # responses per prompt, 1024 or more
    n_reference: int = 2048  # responses that set each head's scale
    n_bandits: int = 50  # bandits in which scores are wrong
    n_arms: int = 500  # arms of each


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure true value of best-of-n by every mixture, and the cost of errors by sign."""
    streams = Streams([seed * world.n_worlds + i for seed in seeds for i in range(world.n_worlds)])
    heavy = HeavyTails.sample(streams, dof=world.dof)
    pairs = heavy.pairs(world.n_pairs, streams=streams, flip=world.flip)
    features = heavy.responses(world.n_prompts, world.n_responses, streams=streams)
    reference = heavy.responses(world.n_reference, streams=streams)
    gold = heavy.gold(features)
    sizes, n_heads = (pairs.chosen.shape[-1], world.width, world.width), world.n_heads
    trained = []
    for branch_at in (0, 2):
        heads = GaussianHeads(sizes, n_heads, streams=streams, branch_at=branch_at, one_seed=broken)
        trained.append(head_scores(fit(heads, pairs, world, streams), features, reference))
    (own, own_std), (shared, _) = trained
    plain = BatchedMLP((*sizes, 1), lead=(len(streams), n_heads), streams=streams)  # own seeds, on all pairs
    train_pairs(plain, pairs, streams=streams, order=range(n_heads), **parameters(world, train_pairs))
    singles = member_scores(plain, features, reference)

    means, std = own.flatten(0, 2), own_std.flatten(0, 2)
    mixed = {name: robust_mix(means, std=std, coef=coef, nominal="min_sigma") for name, coef in MIXES.items()}
    mixed |= {"min": member_quantile(means, level=0.0), "mean": member_mean(means)}
    mixed |= {"max": member_quantile(means, level=1.0), "mean_mix_05": robust_mix(means, coef=0.5)}
    mixed["shared_trunk_min"] = member_quantile(shared.flatten(0, 2), level=0.0)
    curves = {name: best_of_n(scores.view(gold.shape), gold, NS) for name, scores in mixed.items()}
    curves["single"] = torch.stack([best_of_n(scores, gold, NS) for scores in singles.unbind(-1)]).mean(0)
    found = {f"gold_{n}/{arm}": curve[..., i] for i, n in enumerate(NS) for arm, curve in curves.items()}
    for arm, scores in {"own_trunks": own, "shared_trunk": shared, "single": singles}.items():
        pairwise = torch.stack([torch.corrcoef(pool.flatten(0, 1).T) for pool in scores])  # (S, K, K)
        found[f"correlation/{arm}"] = (pairwise.sum(dim=(1, 2)) - n_heads) / (n_heads * (n_heads - 1))
    found["std/own_trunks"] = own_std  # near 0, it would tell no head from another
    results = []
    for i, seed in enumerate(seeds):
        row = {name: float(values.reshape(len(seeds), -1)[i].mean()) for name, values in found.items()}
        generator = np.random.default_rng(seed)
        rewards = generator.normal(size=(world.n_bandits, world.n_arms))
        for name, (share, beta) in ERRORS.items():
            damage = over_vs_under_scoring(rewards, frac=share, delta=DELTA, beta=beta, generator=generator)
            row |= {f"{name}/over": damage.over_loss, f"{name}/under": damage.under_loss}
            if beta < 1:  # strong optimization
                row[f"{name}/five_times_under"] = 5 * damage.under_loss
        results.append(row)
    return results


class GaussianHeads(nn.Module):
    """S·K heads, of which the K of a seed share their first `branch_at` hidden layers.

        h = relu layers,   (μ, s) = W h + b,   σ = softplus(s) + floor

    Yan et al. 2024, arXiv:2409.15360, whose heads are linear on one trunk: `branch_at = len(sizes) − 1`. Such heads
    are almost copies of each other; at `branch_at = 0` nothing is shared, which K LoRA adapters come near. `sizes` are
    the widths of inputs and hidden layers, as (10, 48, 48). With `one_seed` all heads of a seed start alike and are
    trained on one subset of the pairs in one order.
    """

    def __init__(
        self, sizes: Sequence[int], n_heads: int, *, streams: Streams, branch_at: int, one_seed: bool = False
    ) -> None:
        super().__init__()
        check_range("GaussianHeads", "branch_at", branch_at, 0, len(sizes) - 1)
        below, n_seeds = sizes[: branch_at + 1], len(streams)
        self.trunk = BatchedMLP(below, lead=(n_seeds, 1), streams=streams) if branch_at else None
        heads = BatchedMLP((*sizes[branch_at:], 2), lead=(n_seeds, n_heads), streams=streams)
        self.heads = heads.take([0] * n_heads) if one_seed else heads
        self.n_apart = 1 if one_seed else n_heads

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (S, K, B) μ and σ of inputs (S, K, B, d), or (S, 1, B, d) for all heads of a seed."""
        if self.trunk is not None:
            h = self.trunk(x.flatten(1, 2)[:, None])  # one trunk reads what all heads ask
            x = torch.relu(h.unflatten(2, x.shape[1:3])[:, 0])
        mean, raw = self.heads(x).unbind(-1)
        return mean, nn.functional.softplus(raw) + FLOOR


def fit(models: GaussianHeads, pairs: Pairs, world: World, streams: Streams) -> GaussianHeads:
    """Train by Adam on pairs, in place: each head on its random subset; a shared trunk gets all their gradients.

    thurstone   −log Φ( (μ⁺ − μ⁻) / √(σ⁺² + σ⁻²) )
    mse_prob    ( 1 − σ_logistic( r⁺ − r⁻ ) )²,   r = μ + σ ε
    """
    (n_seeds, n_heads), n, apart = models.heads.lead, pairs.chosen.shape[1], models.n_apart
    check_choice("fit", "likelihood", world.likelihood, ("thurstone", "mse_prob"))
    check_range("fit", "subset", world.subset, 1 / n, 1.0)
    size, batch = max(1, round(world.subset * n)), world.batch_size
    subset = streams.rand(apart, n).argsort(dim=-1)[..., :size]  # (S, K, size)
    both = torch.stack([pairs.chosen, pairs.rejected], dim=2)  # (S, n, 2, d)
    seed = torch.arange(n_seeds)[:, None, None]
    for _ in adam_steps(models.parameters(), world.steps, learning_rate=world.learning_rate):
        picks = subset.gather(-1, (streams.rand(apart, batch) * size).long()).expand(-1, n_heads, -1)
        scores = models(both[seed, picks].flatten(2, 3))
        (mean, rejected_mean), (std, rejected_std) = (s.unflatten(-1, (batch, 2)).unbind(-1) for s in scores)
        if world.likelihood == "thurstone":
            losses = thurstone_loss(mean, rejected_mean, std, rejected_std)
        else:
            noise = streams.randn(apart, batch).expand_as(mean)
            losses = sampled_preference_loss(mean, rejected_mean, std, rejected_std, noise)
        torch.autograd.backward(losses.mean(dim=-1).sum())
    return models


@torch.no_grad()
def head_scores(models: GaussianHeads, features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return (S, P, N, K) μ z-scored per head, and σ in the same unit, of responses (S, P, N, d).

        (μ − m_k) / s_k   and   σ / s_k        m_k, s_k those of μ over `reference` (S, R, d)

    A likelihood of comparisons leaves the scale of (μ, σ) free, so heads are not to be compared before this.
    """
    measured = models(reference[:, None])[0].permute(2, 0, 1).flatten(1)  # (R, S·K)
    center, scale = (statistic.view(models.heads.lead)[:, None, None] for statistic in reference_statistics(measured))
    parts = [models(prompt[:, None]) for prompt in features.unbind(1)]
    mean, std = (torch.stack(column, dim=1).transpose(2, 3) for column in zip(*parts, strict=True))
    return (mean - center) / scale, std / scale


figure = partial(
    curves,
    at=NS,
    lines={
        plain(arm).replace(" 0", " 0."): f"gold_{{0}}/{arm}"
        for arm in ("single", *MIXES, "min", "shared_trunk_min", "max")
    },
    label=("n of best-of-n", "true value of the pick (standard deviations)"),
    doubling=True,
)
