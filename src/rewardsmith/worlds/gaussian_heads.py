"""Reward models that say how sure they are: K heads with a mean and a deviation each, on more or less of one trunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewardsmith._check import check_choice, check_range
from rewardsmith.objectives import sampled_preference_loss, thurstone_loss
from rewardsmith.transforms.ensemble import member_statistics
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs
from rewardsmith.worlds.streams import Streams


class GaussianScores(NamedTuple):
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
        floor: least σ. Without it, likelihoods send σ to 0 and “the surest head” means nothing.
        one_seed: start all heads of a seed alike.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        lead: tuple[int, int],
        streams: Streams,
        branch_at: int = 0,
        floor: float = 0.1,
        one_seed: bool = False,
    ) -> None:
        super().__init__()
        n_seeds, n_heads = lead
        check_range("GaussianHeads", "branch_at", branch_at, 0, len(sizes) - 1)
        self.lead, self.floor = lead, floor
        shared, own = sizes[: branch_at + 1], (*sizes[branch_at:], 2)
        self.trunk = (
            BatchedMLP(shared, lead=(n_seeds, 1), streams=streams, activation=torch.relu) if branch_at else None
        )
        heads = BatchedMLP(own, lead=lead, streams=streams, activation=torch.relu)
        self.heads = heads.take([0] * n_heads) if one_seed else heads

    def forward(self, x: Tensor) -> GaussianScores:
        """(S, K, B) each, of inputs (S, K, B, d), or (S, 1, B, d) that all heads of a seed see."""
        if self.trunk is not None:
            n, per_head = x.shape[1], x.shape[2]
            h = self.trunk(x.flatten(1, 2)[:, None])  # one trunk reads what all heads ask
            x = torch.relu(h.unflatten(2, (n, per_head))[:, 0])
        mean, raw = self.heads(x).unbind(-1)
        return GaussianScores(mean, F.softplus(raw) + self.floor)


def fit_heads(
    models: GaussianHeads,
    pairs: Pairs,
    *,
    streams: Streams,
    subsets: float = 0.6,
    likelihood: str = "thurstone",
    one_seed: bool = False,
    steps: int = 350,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
) -> GaussianHeads:
    """Adam on pairs, in place: every head on its own random subset; a shared trunk gets all their gradients.

        thurstone   −log Φ( (μ⁺ − μ⁻) / √(σ⁺² + σ⁻²) )
        mse_prob    ( 1 − σ_logistic( r⁺ − r⁻ ) )²,   r = μ + σ ε

    Differs from the paper, which fits the trunk first and whose own target could not be read.

    Args:
        subsets: share of the pairs that a head sees.
        one_seed: all heads of a seed see one subset in one order.
    """
    check_choice("fit_heads", "likelihood", likelihood, ("thurstone", "mse_prob"))
    check_range("fit_heads", "subsets", subsets, 1 / pairs.chosen.shape[1], 1.0)
    (n_seeds, n_heads), n = models.lead, pairs.chosen.shape[1]
    streams_of_data = 1 if one_seed else n_heads
    size = max(1, round(subsets * n))
    subset = streams.rand(streams_of_data, n).argsort(dim=-1)[..., :size]  # (S, K, size)
    both = torch.stack([pairs.chosen, pairs.rejected], dim=2)  # (S, n, 2, d)
    seed = torch.arange(n_seeds)[:, None, None]
    optimizer = torch.optim.Adam(models.parameters(), lr=learning_rate, fused=True)
    for _ in range(steps):
        place = (streams.rand(streams_of_data, batch_size) * size).long()
        picks = subset.gather(-1, place).expand(-1, n_heads, -1)
        scores = models(both[seed, picks].flatten(2, 3))
        (mean, rejected_mean), (std, rejected_std) = (s.unflatten(-1, (batch_size, 2)).unbind(-1) for s in scores)
        if likelihood == "thurstone":
            losses = thurstone_loss(mean, rejected_mean, std, rejected_std)
        else:
            noise = streams.randn(streams_of_data, batch_size).expand_as(mean)
            losses = sampled_preference_loss(mean, rejected_mean, std, rejected_std, noise)
        optimizer.zero_grad()
        torch.autograd.backward(losses.mean(dim=-1).sum())
        optimizer.step()
    return models


@torch.no_grad()
def head_scores(models: GaussianHeads, features: Tensor, reference: Tensor) -> GaussianScores:
    """(S, P, N, K) each of responses (S, P, N, d), every head on its own scale: μ z-scored and σ in the same unit.

        (μ − m_k) / s_k   and   σ / s_k        m_k, s_k those of μ over `reference` (S, R, d)

    A likelihood of comparisons leaves the scale of (μ, σ) free, so heads are not to be compared before this.
    """
    measured = models(reference[:, None]).mean.permute(2, 0, 1).flatten(1)  # (R, S·K)
    center, scale = (statistic.view(models.lead)[:, None, None] for statistic in member_statistics(measured))
    parts = [models(prompt[:, None]) for prompt in features.unbind(1)]
    mean, std = (torch.stack(column, dim=1).transpose(2, 3) for column in zip(*parts, strict=True))
    return GaussianScores((mean - center) / scale, std / scale)
