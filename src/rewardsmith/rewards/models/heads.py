"""GaussianHeads: K heads with a mean and a deviation on one trunk's features. Importing this file loads torch."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Gaussians(NamedTuple):
    """mean, std: (..., K), each head's N(μ, σ²)."""

    mean: Tensor
    std: Tensor


class GaussianHeads(nn.Module):
    """K heads on the features of one trunk, computed in one batched product.

        h_k = own layers of head k (ReLU),   (μ_k, s_k) = W_k h_k + b_k,   σ_k = softplus(s_k) + floor

    Yan et al. 2024, arXiv:2409.15360, whose heads are linear: `depth = 0`. Heads that share all but their last layer
    are almost copies, so report their correlation and give each `depth` layers of its own.

    Args:
        width: d, of the features.
        n_heads: K.
        depth: hidden layers of each head.
        hidden: width of the hidden layers, d if None.
        floor: least σ; without it the likelihood drives σ to 0, and "the surest head" means nothing.
        generator: draws the initial weights.
    """

    def __init__(
        self,
        width: int,
        n_heads: int = 5,
        *,
        depth: int = 0,
        hidden: int | None = None,
        floor: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if n_heads < 1 or depth < 0 or floor <= 0:
            raise ValueError(
                f"GaussianHeads: n_heads={n_heads}, depth={depth}, floor={floor}. "
                "Pass n_heads of at least 1, depth of at least 0 and floor above 0."
            )
        self.options = {"width": width, "n_heads": n_heads, "depth": depth, "hidden": hidden, "floor": floor}
        self.floor = floor
        sizes = [width, *[hidden or width] * depth, 2]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for before, after in itertools.pairwise(sizes):
            weight = torch.randn(n_heads, before, after, generator=generator) * math.sqrt(1 / before)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(n_heads, 1, after)))

    def forward(self, features: Tensor) -> Gaussians:
        """Map (B, d) features of any dtype to means and deviations, (B, K) each, in the heads' dtype."""
        wide = features.to(self.weights[0].dtype)
        h = wide.expand(len(self.weights[0]), *wide.shape)  # (K, B, d)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, torch.relu(h) if layer else h, weight)
        mean, raw = h.permute(1, 0, 2).unbind(dim=-1)  # (B, K)
        return Gaussians(mean, F.softplus(raw) + self.floor)
