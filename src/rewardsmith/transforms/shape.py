"""Shapes of one row: clip, ceiling, a length penalty, a gate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rewardsmith._check import check_same_shape
from rewardsmith.types import Traits, declares


def _clip_traits(*, low: float = -math.inf, high: float = math.inf, **_: Any) -> Traits:
    bounded = (low, high) if math.isfinite(low) and math.isfinite(high) else None
    return Traits(scope="row", affine=low == -math.inf and high == math.inf, bounded=bounded)


@declares(_clip_traits)
def clip_rewards(rewards: Tensor, *, low: float = -math.inf, high: float = math.inf) -> Tensor:
    """Keep every reward within [low, high].

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
    """Pay nothing beyond `high`: u = min(r, high).

    Fu et al. 2025, arXiv:2502.18770, which tries 3, 4 and 5. Shapes and NaN as in `clip_rewards`.
    """
    return clip_rewards(rewards, high=high)


@declares(Traits(scope="row", affine=False))
def length_penalty(rewards: Tensor, lengths: Tensor, *, per_token: float = 0.01, free_tokens: float = 300) -> Tensor:
    """Charge for every token beyond a free allowance.

        u = r − per_token · max(0, |y| − free_tokens)

    The code of Fu et al. 2025, arXiv:2502.18770 (PorUna-byte/PAR at f054b56), applies this to the raw reward of every
    arm but ODIN's, with 550 free tokens on UltraFeedback and 400 on HH (300 at b8caf40), without a word in the paper;
    here it is a part like any other.

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
    """Pay a reward only where a condition holds, `below` where it fails.

        u = r where condition, else below

    Args:
        rewards: (B,) rewards; where the gate is open, NaN stays NaN and ±inf stays ±inf. Where it is shut, an
            unscored reward stays unscored too: the gate does not invent a verdict.
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
