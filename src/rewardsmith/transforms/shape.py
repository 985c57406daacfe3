"""Transforms of one row: factor and offset, threshold, clip, ceiling, length penalty, gate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_same_shape
from rewardsmith.types import Traits, declares


@declares(lambda *, scale=1.0, **_: Traits(scope="row", affine=scale > 0))
def rescale(rewards: Tensor, *, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """Multiply by a factor and add an offset: u = scale · r + shift.

    Args:
        rewards: (...) rewards; NaN stays NaN, ±inf keeps the sign that `scale` gives it.

    Returns:
        (...) rewards. Under a group z-score scale > 0 and shift cancel; under group centering the shift does.

    >>> rescale(torch.tensor([0.0, 1.0]), scale=2.0, shift=-1.0)
    tensor([-1.,  1.])
    """
    for name, value in (("scale", scale), ("shift", shift)):
        check_range("rescale", name, value, -torch.finfo(torch.float64).max, torch.finfo(torch.float64).max)
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    scaled = wide * scale if scale else torch.where(wide.isnan(), wide, 0)  # 0 · inf is 0 here and not unknown
    return (scaled + shift).to(torch.result_type(rewards, 1.0))


@declares(Traits(scope="row", affine=False, bounded=(0.0, 1.0)))
def is_above(rewards: Tensor, *, threshold: float, strict: bool = True) -> Tensor:
    """Return 1 where a reward exceeds a threshold, else 0: u = 1[r > threshold], or 1[r ≥ threshold] if not `strict`.

    Args:
        rewards: (...) rewards; NaN stays NaN, as an unknown reward is neither above nor below.

    >>> is_above(torch.tensor([0.2, 0.5, float("nan")]), threshold=0.5, strict=False)
    tensor([0., 1., nan])
    """
    floats = rewards.to(torch.result_type(rewards, 1.0))
    passed = floats > threshold if strict else floats >= threshold
    return torch.where(floats.isnan(), floats, passed.to(floats.dtype))


@declares(Traits(scope="row", affine=False, bounded=(0.0, 1.0)))
def is_below(rewards: Tensor, *, threshold: float, strict: bool = True) -> Tensor:
    """Return 1 where a reward is below a threshold, else 0; otherwise as `is_above`.

    >>> is_below(torch.tensor([0.2, 0.5, float("nan")]), threshold=0.5)
    tensor([1., 0., nan])
    """
    return is_above(-rewards, threshold=-threshold, strict=strict)


def _clip_traits(*, low: float = -math.inf, high: float = math.inf, **_: Any) -> Traits:
    bounded = (low, high) if math.isfinite(low) and math.isfinite(high) else None
    return Traits(scope="row", affine=low == -math.inf and high == math.inf, bounded=bounded)


@declares(_clip_traits)
def clip_rewards(rewards: Tensor, *, low: float = -math.inf, high: float = math.inf) -> Tensor:
    """Clip rewards to [low, high].

        u = min( max(r, low), high )

    Args:
        rewards: (...) rewards; NaN stays NaN, ±inf becomes the bound on its side.

    Returns:
        (...) clipped rewards.

    >>> clip_rewards(torch.tensor([-2.0, 0.5, float("inf"), float("nan")]), low=-1, high=1)
    tensor([-1.0000,  0.5000,  1.0000,     nan])
    """
    if not low <= high:
        raise ValueError(f"clip_rewards: low={low} is above high={high}, so no reward fits. Swap them.")
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    return wide.clamp(low, high).to(torch.result_type(rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def ceiling(rewards: Tensor, *, high: float = 4.0) -> Tensor:
    """Limit rewards to at most `high`: u = min(r, high).

    Fu et al. 2025, arXiv:2502.18770, which tries 3, 4 and 5. Shapes and NaN as in `clip_rewards`.
    """
    return clip_rewards(rewards, high=high)


@declares(Traits(scope="row", affine=False))
def length_penalty(rewards: Tensor, lengths: Tensor, *, per_token: float = 0.01, free_tokens: float = 300) -> Tensor:
    """Subtract a penalty for every token beyond a free allowance.

        u = r − per_token · max(0, |y| − free_tokens)

    The code of Fu et al. 2025, arXiv:2502.18770 (PorUna-byte/PAR at f054b56), applies this to the raw reward of every
    arm except ODIN's, with 550 free tokens on UltraFeedback and 400 on HH (300 at b8caf40). The paper does not mention
    it.

    Args:
        rewards: (B,) rewards; NaN stays NaN, ±inf stays ±inf.
        lengths: (B,) completion lengths in tokens; NaN (unknown) makes the row unscored.

    Returns:
        (B,) rewards less the penalty.
    """
    check_same_shape("length_penalty", rewards, lengths)
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    excess = (lengths.to(wide) - free_tokens).clamp(min=0)
    return (wide - per_token * excess).to(torch.result_type(rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def gate(rewards: Tensor, *, condition: Tensor, below: float = 0.0) -> Tensor:
    """Keep a reward only where a condition holds, and return `below` where it fails.

        u = r where condition, else below

    Args:
        rewards: (B,) rewards; where the gate is open, NaN stays NaN and ±inf stays ±inf. Where it is shut, an
            unscored reward stays unscored too.
        condition: (B,) bool, or numbers of which 0 fails and NaN is unknown; an unknown gate makes the row NaN.

    Returns:
        (B,) gated rewards.

    >>> gate(torch.tensor([0.7, 0.7, 0.7]), condition=torch.tensor([1.0, 0.0, float("nan")]))
    tensor([0.7000, 0.0000,    nan])
    """
    check_same_shape("gate", rewards, condition)
    floats = rewards.to(torch.result_type(rewards, 1.0))
    unknown = condition.isnan() | rewards.isnan()
    gated = torch.where(condition != 0, floats, below)
    return torch.where(unknown, math.nan, gated).to(floats.dtype)
