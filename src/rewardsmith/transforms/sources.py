"""Several sources combined into one reward; a missing source is left out and does not count as zero."""

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
        weights: K weights, 1 each if None; or (B, K), one set per row, for a blend c·v + (1 − c)·m by confidence or
            for routing (one-hot). A source of weight 0 is ignored, present or not. In (B, K) weights a NaN (unknown)
            unscores its row, and so does a row of zeros.
        normalize: divide by W, which gives a weighted mean.
        missing: "renormalize" as above, or "unscored": NaN where any source of nonzero weight is missing.

    Returns:
        (B,) sums; NaN where every source is missing.

    >>> weighted_sum(torch.tensor([[1.0, 0.0], [1.0, float("nan")]]), weights=[1.0, 1.0])
    tensor([1., 2.])
    """
    check_choice("weighted_sum", "missing", missing, get_args(Missing))
    check_shape("weighted_sum", "source_rewards", source_rewards, None, None)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    per_source = wide.new_ones(wide.shape[1]) if weights is None else _per_source("weighted_sum", weights, wide)
    present = ~wide.isnan() & (per_source != 0)  # (B, K)
    size = per_source.abs()
    found = torch.where(present, size, 0).sum(dim=1)
    total = torch.where(present, wide * per_source, 0).sum(dim=1) / found  # 0/0 is NaN: nothing present
    total = torch.where(per_source.isnan().any(dim=-1), math.nan, total)
    if missing == "unscored":
        complete = (present | (per_source == 0)).all(dim=1)
        total = torch.where(complete, total, math.nan)
    return (total if normalize else total * size.sum(dim=-1)).to(torch.result_type(source_rewards, 1.0))


def _per_source(caller: str, weights: Sequence[float] | Tensor, like: Tensor) -> Tensor:
    """Return weights (K,), or (B, K) where each row has its own, checked against the (B, K) rewards `like`."""
    given = weights if isinstance(weights, Tensor) else torch.tensor(weights, dtype=torch.float64)
    tensor = given.to(like)
    if tensor.ndim == 2:
        check_shape(caller, "weights", tensor, *like.shape)
        if bool(tensor.isinf().any()):
            raise ValueError(f"{caller}: weights hold ±inf. Pass finite weights, and NaN where a weight is unknown.")
        return tensor
    check_shape(caller, "weights", tensor, like.shape[1])
    if not bool(tensor.isfinite().all()) or not bool(tensor.any()):
        raise ValueError(
            f"{caller}: weights {tensor.tolist()} must be finite and not all 0. Give at least one source a weight."
        )
    return tensor


@declares(Traits(scope="prompt", affine=False))
def normalize_sources(source_rewards: Tensor, *, group_size: int, eps: float = 1e-4) -> Tensor:
    """Scale every source to mean 0 and standard deviation 1 within each prompt's group, before the sum.

        z_ik = (r_ik − μ_gk) / (s_gk + eps)        s with Bessel's correction, over the scored rows of group g

    Args:
        source_rewards: (B, K) rewards, a prompt's completions consecutive; NaN stays NaN. ±inf stays ±inf and, like
            NaN, is left out of the statistics.

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
    deviations = torch.where(scored, finite / unit - mean, 0)
    variance = deviations.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)
    low = torch.where(scored, grouped, math.inf).amin(dim=1, keepdim=True)
    high = torch.where(scored, grouped, -math.inf).amax(dim=1, keepdim=True)
    alive = (high > low) & (variance > 0)  # a rounded mean of equal rewards is no signal; a square may underflow
    std = torch.where(alive, variance, 1).sqrt()
    scores = torch.where(alive, deviations / (std + eps / unit), 0)
    return torch.where(scored, scores, grouped).flatten(0, 1).to(torch.result_type(source_rewards, 1.0))


@declares(Traits(scope="row", affine=False, bounded=(0.0, 1.0)))
def scale_sources(
    source_rewards: Tensor, *, low: float | Sequence[float] | Tensor, high: float | Sequence[float] | Tensor
) -> Tensor:
    """Scale every source to [0, 1] by a fixed range, so that sources of different units can be added.

        u_ik = clip( (r_ik − low_k) / (high_k − low_k), 0, 1 )

    A binary rule may have a spread of ½ within a group where a cosine has 0.05; in a raw sum only the rule counts.
    Measure the ranges once, on held-out completions. Unlike `normalize_sources` it sees one row, and it does not
    amplify the noise of a group that agrees.

    Args:
        source_rewards: (B, K) rewards; NaN stays NaN, ±inf becomes the end on its side.
        low, high: the ends of each source's range, K numbers or one for all; low < high.

    Returns:
        (B, K) rewards in [0, 1].

    >>> scale_sources(torch.tensor([[0.5, 70.0], [2.0, 90.0]]), low=[0.0, 60.0], high=[1.0, 80.0])
    tensor([[0.5000, 0.5000],
            [1.0000, 1.0000]])
    """
    check_shape("scale_sources", "source_rewards", source_rewards, None, None)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    n_sources = wide.shape[1]
    ends = [torch.as_tensor(end, dtype=wide.dtype, device=wide.device) for end in (low, high)]
    for name, end in zip(("low", "high"), ends, strict=True):
        if end.ndim:
            check_shape("scale_sources", name, end, n_sources)
    start, stop = (end.expand(n_sources) for end in ends)
    if not bool(((start < stop) & (stop - start).isfinite()).all()):
        raise ValueError(
            f"scale_sources: low={start.tolist()} must lie below high={stop.tolist()}, all finite. "
            "Measure each source's range, and drop a source that never varies."
        )
    held = torch.minimum(torch.maximum(wide, start), stop)
    return ((held - start) / (stop - start)).to(torch.result_type(source_rewards, 1.0))
