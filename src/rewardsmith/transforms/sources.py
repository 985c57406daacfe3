"""Several sources into one reward, where a missing source is missing and not a zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_groups, check_shape
from rewardsmith.types import Traits, declares

Missing = Literal["renormalize", "unscored"]


@declares(Traits(scope="row", affine=False))
def weighted_sum(
    source_rewards: Tensor,
    *,
    weights: Sequence[float] | Tensor | None = None,
    normalize: bool = False,
    missing: Missing = "renormalize",
) -> Tensor:
    """Add sources by weight; the weight of a missing source goes to those present.

        u = W / W_present · Σ_{k present} w_k r_k        W = Σ_k |w_k|,  W_present = Σ_{k present} |w_k|

    Args:
        source_rewards: (B, K) rewards of K sources; NaN is missing. +inf and −inf together are NaN.
        weights: K weights, 1 each if None. A source of weight 0 is ignored, present or not.
        normalize: divide by W, which gives a weighted mean.
        missing: "renormalize" as above, or "unscored": a row that misses any source of nonzero weight is NaN.

    Returns:
        (B,) sums; NaN where every source is missing.

    >>> weighted_sum(torch.tensor([[1.0, 0.0], [1.0, float("nan")]]), weights=[1.0, 1.0])
    tensor([1., 2.])
    """
    check_choice("weighted_sum", "missing", missing, get_args(Missing))
    check_shape("weighted_sum", "source_rewards", source_rewards, None, None)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    per_source = wide.new_ones(wide.shape[1]) if weights is None else torch.as_tensor(weights).to(wide)
    _check_weights(per_source, wide.shape[1])
    present = ~wide.isnan() & (per_source != 0)  # (B, K)
    size = per_source.abs()
    found = torch.where(present, size, 0).sum(dim=1)
    total = torch.where(present, wide * per_source, 0).sum(dim=1) / found  # 0/0 is NaN: nothing present
    if missing == "unscored":
        complete = (present | (per_source == 0)).all(dim=1)
        total = torch.where(complete, total, math.nan)
    return (total if normalize else total * size.sum()).to(torch.result_type(source_rewards, 1.0))


def _check_weights(weights: Tensor, n_sources: int) -> None:
    check_shape("weighted_sum", "weights", weights, n_sources)
    if not bool(weights.isfinite().all()) or not bool(weights.any()):
        raise ValueError(
            f"weighted_sum: weights {weights.tolist()} must be finite and not all 0. Give at least one source a weight."
        )


@declares(Traits(scope="prompt", affine=False))
def normalize_sources(source_rewards: Tensor, *, group_size: int, eps: float = 1e-4) -> Tensor:
    """Bring every source to mean 0 and standard deviation 1 within each prompt's group, before they are added.

        z_ik = (r_ik − μ_gk) / (s_gk + eps)        s with Bessel's correction, over the scored rows of group g

    Args:
        source_rewards: (B, K) rewards, a prompt's completions consecutive; NaN stays NaN. ±inf stays ±inf and, like
            NaN, leaves the statistics.

    Returns:
        (B, K) z-scores; 0 where a group has one scored row or all its rows agree.
    """
    check_shape("normalize_sources", "source_rewards", source_rewards, None, None)
    check_groups("normalize_sources", source_rewards.shape[0], group_size)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    grouped = wide.reshape(-1, group_size, wide.shape[1])  # (P, G, K)
    scored = grouped.isfinite()
    finite = torch.where(scored, grouped, 0)
    unit = finite.detach().abs().amax(dim=1, keepdim=True).clamp(min=1)  # squares must not overflow
    count = scored.sum(dim=1, keepdim=True)
    mean = (finite / unit).sum(dim=1, keepdim=True) / count.clamp(min=1)
    gaps = torch.where(scored, finite / unit - mean, 0)
    variance = gaps.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)
    low = torch.where(scored, grouped, math.inf).amin(dim=1, keepdim=True)
    high = torch.where(scored, grouped, -math.inf).amax(dim=1, keepdim=True)
    alive = (high > low) & (variance > 0)  # a rounded mean of equal rewards is no signal; a square may underflow
    std = torch.where(alive, variance, 1).sqrt()
    scores = torch.where(alive, gaps / (std + eps / unit), 0)
    return torch.where(scored, scores, grouped).flatten(0, 1).to(torch.result_type(source_rewards, 1.0))


__all__ = ["normalize_sources", "weighted_sum"]
