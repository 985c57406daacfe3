"""The smallest transforms: a factor and an offset, and a yes or no at a threshold."""

from __future__ import annotations

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.types import Traits, declares


@declares(lambda *, scale=1.0, **_: Traits(scope="row", affine=scale > 0))
def rescale(rewards: Tensor, *, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """A factor and an offset: u = scale · r + shift.

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
    scaled = wide * scale if scale else torch.where(wide.isnan(), wide, 0)  # 0 · inf is nothing, not unknown
    return (scaled + shift).to(torch.result_type(rewards, 1.0))


@declares(Traits(scope="row", affine=False, bounded=(0.0, 1.0)))
def is_above(rewards: Tensor, *, threshold: float, strict: bool = True) -> Tensor:
    """1 where a reward exceeds a threshold, else 0: u = 1[r > threshold], or 1[r ≥ threshold] where not `strict`.

    Args:
        rewards: (...) rewards; NaN stays NaN: what is unknown is neither above nor below.

    >>> is_above(torch.tensor([0.2, 0.5, float("nan")]), threshold=0.5, strict=False)
    tensor([0., 1., nan])
    """
    floats = rewards.to(torch.result_type(rewards, 1.0))
    passed = floats > threshold if strict else floats >= threshold
    return torch.where(floats.isnan(), floats, passed.to(floats.dtype))


@declares(Traits(scope="row", affine=False, bounded=(0.0, 1.0)))
def is_below(rewards: Tensor, *, threshold: float, strict: bool = True) -> Tensor:
    """1 where a reward falls short of a threshold, else 0; otherwise as `is_above`.

    >>> is_below(torch.tensor([0.2, 0.5, float("nan")]), threshold=0.5)
    tensor([1., 0., nan])
    """
    return is_above(-rewards, threshold=-threshold, strict=strict)
