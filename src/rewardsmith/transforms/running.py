"""Normalizations by all rewards of the run so far."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from rewardsmith._check import check_choice
from rewardsmith.types import Traits

Mode = Literal["meanstd", "clip", "minmax"]


class RunningNorm(nn.Module):
    """Normalization of rewards by the moments or extremes of all rewards of the run.

        meanstd:  u = (r − μ) / s
        clip:     u = min(max(r, μ − s), μ + s)
        minmax:   u = (r − min) / (max − min)

    μ and s (Bessel's correction) are merged batch by batch with Welford's update, so they equal those of all data at
    once; extremes are all-time. Fu et al. 2025, arXiv:2502.18770. In training mode a batch is counted first and
    normalized after; in eval mode statistics are frozen. "minmax" is not stationary: a completion's reward falls when
    the maximum grows.

    Call it on (...) rewards, gathered over processes. NaN stays NaN; NaN and ±inf leave the statistics, and ±inf gives
    the limit of u. A spread of at most `eps` divides by 1; before there are two rewards, "clip" changes nothing.

    Differs: the authors' code (PorUna-byte/PAR at f054b56) divides by n, holds the variance and the range at 1e-8 or
    above where ours divides by 1, and clips from the first reward on.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, *, mode: Mode = "meanstd", eps: float = 1e-8) -> None:
        super().__init__()
        check_choice("RunningNorm", "mode", mode, get_args(Mode))
        self.mode = mode
        self.eps = eps
        # squares is Σ (r − μ)²; float64, because a long run adds small numbers to large ones.
        for name, start in (("count", 0.0), ("mean", 0.0), ("squares", 0.0), ("low", math.inf), ("high", -math.inf)):
            self.register_buffer(name, torch.tensor(start, dtype=torch.float64))

    @property
    def __traits__(self) -> Traits:
        return Traits(scope="run", affine=self.mode != "clip")

    @property
    def std(self) -> Tensor:
        """Standard deviation () of the rewards so far, with Bessel's correction; 0 before there are two."""
        return (self.squares / (self.count - 1).clamp(min=1)).sqrt()

    @torch.no_grad()
    def update(self, rewards: Tensor) -> None:
        """Add a batch of (...) rewards to the statistics; NaN and ±inf are skipped."""
        batch = rewards.detach()[rewards.isfinite()].to(self.mean)
        if not batch.numel():
            return
        total = self.count + batch.numel()
        difference = batch.mean() - self.mean
        spread = (batch - batch.mean()).square().sum()
        self.squares += spread + difference.square() * self.count * batch.numel() / total
        self.mean += difference * batch.numel() / total
        self.count.copy_(total)
        self.low.copy_(torch.minimum(self.low, batch.min()))
        self.high.copy_(torch.maximum(self.high, batch.max()))

    def forward(self, rewards: Tensor) -> Tensor:
        if self.training:
            self.update(rewards)
        shaped = rewards.to(self.mean)
        if self.mode == "clip":
            if bool(self.count > 1):
                shaped = shaped.clamp(self.mean - self.std, self.mean + self.std)
        elif bool(self.count > 0):
            start, spread = (self.mean, self.std) if self.mode == "meanstd" else (self.low, self.high - self.low)
            shaped = (shaped - start) / torch.where(spread > self.eps, spread, 1.0)
        return shaped.to(torch.result_type(rewards, 1.0))

    def extra_repr(self) -> str:
        return f"mode={self.mode!r}"
