"""Between trusting a reward model and expecting the worst of it lies a dial, and pressure says where to set it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewardsmith._check import check_choice, check_range
from rewardsmith.atlas.criteria import All, LowerBound, PairedGain, Results
from rewardsmith.measures import over_vs_under_scoring
from rewardsmith.objectives import sampled_preference_loss, thurstone_loss
from rewardsmith.transforms import member_mean, member_quantile, robust_mix
from rewardsmith.transforms.ensemble import member_statistics
from rewardsmith.worlds import HeavyTails, Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.heavy_tails import member_scores
from rewardsmith.worlds.preference_world import Pairs, train_pairs
from rewardsmith.worlds.response_pool import best_of_n
from rewardsmith.worlds.training import adam_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
SHARES = {"loss_of_2_percent": 0.02, "loss_of_10_percent": 0.1}
FLOOR = 0.1  # least σ: without it, likelihoods send σ to 0 and “the surest head” means nothing
DELTA, STRONG, WEAK = 2.0, 0.2, 1.0  # of the bandits, whose rewards are standard normal


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
    """True value of best-of-n by every mixture, and what errors of either sign cost."""
    streams = Streams([seed * world.n_worlds + i for seed in seeds for i in range(world.n_worlds)])
    heavy = HeavyTails.sample(streams, dof=world.dof)
    pairs = heavy.pairs(world.n_pairs, streams=streams, flip=world.flip)
    features = heavy.responses(world.n_prompts, world.n_responses, streams=streams)
    reference = heavy.responses(world.n_reference, streams=streams)
    gold = heavy.gold(features)
    sizes, lead = (pairs.chosen.shape[-1], world.width, world.width), (len(streams), world.n_heads)
    trained = []
    for branch_at in (0, 2):
        heads = GaussianHeads(sizes, lead=lead, streams=streams, branch_at=branch_at, one_seed=broken)
        fit(heads, pairs, world, streams, one_seed=broken)
        trained.append(head_scores(heads, features, reference))
    own, shared = trained
    plain = BatchedMLP((*sizes, 1), lead=lead, streams=streams)  # each with its own seed, on all pairs
    train_pairs(
        plain, pairs, streams=streams, order=range(world.n_heads),
        steps=world.steps, batch_size=world.batch_size, learning_rate=world.learning_rate,
    )  # fmt: skip
    singles = member_scores(plain, features, reference)
    picks = mixtures(own) | {f"shared_trunk_{name}": s for name, s in mixtures(shared).items() if name == "min"}
    curves = {name: best_of_n(scores, gold, NS).mean(1) for name, scores in picks.items()}
    alone = [best_of_n(scores, gold, NS).mean(1) for scores in singles.unbind(-1)]
    curves["single"] = torch.stack(alone).mean(0)
    table = {f"gold_{n}/{arm}": curve[:, i] for arm, curve in curves.items() for i, n in enumerate(NS)}
    for name, scores in {"own_trunks": own.mean, "shared_trunk": shared.mean, "single": singles}.items():
        table[f"correlation/{name}"] = correlation(scores)
    table["std/own_trunks"] = own.std.mean(dim=(1, 2, 3))  # near 0, it would tell no head from another
    rows = [
        {name: float(values.view(len(seeds), -1).mean(1)[place]) for name, values in table.items()}
        for place in range(len(seeds))
    ]
    return [row | scoring_errors(seed, world) for row, seed in zip(rows, seeds, strict=True)]


class Scores(NamedTuple):
    """mean, std: (..., K) or (S, K, B) of each head's N(μ, σ²)."""

    mean: Tensor
    std: Tensor


class GaussianHeads(nn.Module):
    """S·K heads, of which the K of a seed share their first `branch_at` hidden layers.

        h = relu layers,   (μ, s) = W h + b,   σ = softplus(s) + floor

    Yan et al. 2024, arXiv:2409.15360, whose heads are linear on one trunk: `branch_at = len(sizes) − 1`. Such heads
    are almost copies of each other; at `branch_at = 0` nothing is shared, which K LoRA adapters come near.

    Args:
        sizes: widths of the inputs and the hidden layers, such as (10, 48, 48).
        lead: (S, K).
        branch_at: hidden layers that are shared.
        one_seed: start all heads of a seed alike.
    """

    def __init__(
        self, sizes: Sequence[int], *, lead: tuple[int, int], streams: Streams, branch_at: int, one_seed: bool = False
    ) -> None:
        super().__init__()
        check_range("GaussianHeads", "branch_at", branch_at, 0, len(sizes) - 1)
        self.lead = lead
        trunk = (lead[0], 1)
        self.trunk = BatchedMLP(sizes[: branch_at + 1], lead=trunk, streams=streams) if branch_at else None
        heads = BatchedMLP((*sizes[branch_at:], 2), lead=lead, streams=streams)
        self.heads = heads.take([0] * lead[1]) if one_seed else heads

    def forward(self, x: Tensor) -> Scores:
        """(S, K, B) each, of inputs (S, K, B, d), or (S, 1, B, d) that all heads of a seed see."""
        if self.trunk is not None:
            h = self.trunk(x.flatten(1, 2)[:, None])  # one trunk reads what all heads ask
            x = torch.relu(h.unflatten(2, x.shape[1:3])[:, 0])
        mean, raw = self.heads(x).unbind(-1)
        return Scores(mean, F.softplus(raw) + FLOOR)


def fit(models: GaussianHeads, pairs: Pairs, world: World, streams: Streams, *, one_seed: bool = False) -> None:
    """Adam on pairs, in place: every head on its own random subset; a shared trunk gets all their gradients.

        thurstone   −log Φ( (μ⁺ − μ⁻) / √(σ⁺² + σ⁻²) )
        mse_prob    ( 1 − σ_logistic( r⁺ − r⁻ ) )²,   r = μ + σ ε

    Differs from the paper, which fits the trunk first and whose own target could not be read.

    Args:
        one_seed: all heads of a seed see one subset in one order.
    """
    (n_seeds, n_heads), n = models.lead, pairs.chosen.shape[1]
    check_choice("fit", "likelihood", world.likelihood, ("thurstone", "mse_prob"))
    check_range("fit", "subset", world.subset, 1 / n, 1.0)
    apart, size, batch = 1 if one_seed else n_heads, max(1, round(world.subset * n)), world.batch_size
    subset = streams.rand(apart, n).argsort(dim=-1)[..., :size]  # (S, K, size)
    both = torch.stack([pairs.chosen, pairs.rejected], dim=2)  # (S, n, 2, d)
    seed = torch.arange(n_seeds)[:, None, None]
    for _ in adam_steps(models.parameters(), world.steps, learning_rate=world.learning_rate):
        place = (streams.rand(apart, batch) * size).long()
        picks = subset.gather(-1, place).expand(-1, n_heads, -1)
        scores = models(both[seed, picks].flatten(2, 3))
        (mean, rejected_mean), (std, rejected_std) = (s.unflatten(-1, (batch, 2)).unbind(-1) for s in scores)
        if world.likelihood == "thurstone":
            losses = thurstone_loss(mean, rejected_mean, std, rejected_std)
        else:
            noise = streams.randn(apart, batch).expand_as(mean)
            losses = sampled_preference_loss(mean, rejected_mean, std, rejected_std, noise)
        torch.autograd.backward(losses.mean(dim=-1).sum())


@torch.no_grad()
def head_scores(models: GaussianHeads, features: Tensor, reference: Tensor) -> Scores:
    """(S, P, N, K) each of responses (S, P, N, d), every head on its own scale: μ z-scored and σ in the same unit.

        (μ − m_k) / s_k   and   σ / s_k        m_k, s_k those of μ over `reference` (S, R, d)

    A likelihood of comparisons leaves the scale of (μ, σ) free, so heads are not to be compared before this.
    """
    measured = models(reference[:, None]).mean.permute(2, 0, 1).flatten(1)  # (R, S·K)
    center, scale = (statistic.view(models.lead)[:, None, None] for statistic in member_statistics(measured))
    parts = [models(prompt[:, None]) for prompt in features.unbind(1)]
    mean, std = (torch.stack(column, dim=1).transpose(2, 3) for column in zip(*parts, strict=True))
    return Scores((mean - center) / scale, std / scale)


def mixtures(scores: Scores) -> dict[str, Tensor]:
    """(S, P, N) each: what every way to combine the heads makes of their scores."""
    means, std = (column.flatten(0, 2) for column in scores)
    mixed = {name: robust_mix(means, std=std, coef=coef, nominal="min_sigma") for name, coef in MIXES.items()}
    mixed |= {"min": member_quantile(means, level=0.0), "mean": member_mean(means)}
    mixed |= {"max": member_quantile(means, level=1.0), "mean_mix_05": robust_mix(means, coef=0.5)}
    return {name: values.view(scores.mean.shape[:-1]) for name, values in mixed.items()}


def correlation(scores: Tensor) -> Tensor:
    """(S,) mean over pairs of members of the correlation of their scores (S, P, N, K) over the pool."""
    rows = [torch.corrcoef(pool.flatten(0, 1).T) for pool in scores]
    n = scores.shape[-1]
    return torch.stack([(row.sum() - n) / (n * (n - 1)) for row in rows])


def scoring_errors(seed: int, world: World) -> dict[str, float]:
    """What ±2 on a share of the arms costs, under strong pressure and under weak."""
    generator = np.random.default_rng(seed)
    rewards = generator.normal(size=(world.n_bandits, world.n_arms))
    found: dict[str, float] = {}
    for name, share in SHARES.items():
        damage = over_vs_under_scoring(rewards, frac=share, delta=DELTA, beta=STRONG, generator=generator)
        found |= {f"{name}/over": damage.over_loss, f"{name}/under": damage.under_loss}
        found[f"{name}/five_times_under"] = 5 * damage.under_loss
    weak = over_vs_under_scoring(rewards, frac=SHARES["loss_of_2_percent"], delta=DELTA, beta=WEAK, generator=generator)
    return found | {"loss_at_beta_1/over": weak.over_loss, "loss_at_beta_1/under": weak.under_loss}


def figure(results: Results, axes: Axes) -> None:
    """True value of the pick against the number of candidates, from the nominal score down to the lowest."""
    arms = ("single", "nominal", "mix_07", "mix_05", "mix_03", "min", "shared_trunk_min", "max")
    for arm in arms:
        gold = [float(np.mean(results[f"gold_{n}/{arm}"])) for n in NS]
        style: dict[str, Any] = {"linewidth": 2.4} if arm in ("single", "nominal", "min") else {"linewidth": 1.2}
        axes.plot(NS, gold, "o--" if arm in ("max", "shared_trunk_min") else "o-", markersize=4,
                  label=arm.replace("_0", " 0.").replace("_", " "), **style)  # fmt: skip
    axes.axhline(0.0, color="gray", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("n of best-of-n")
    axes.set_ylabel("true value of the pick (standard deviations)")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.16))
