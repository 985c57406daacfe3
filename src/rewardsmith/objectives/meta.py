"""A step of MetaRM: learn preferences at parameters that separate the current policy's answers better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range


class MetaStep(NamedTuple):
    """Scalars: the spread loss before the inner step, and the preference loss after it."""

    spread_loss: Tensor
    pair_loss: Tensor


def meta_rm_step(
    parameters: Iterable[Tensor],
    spread_loss: Callable[[], Tensor],
    pair_loss: Callable[[], Tensor],
    *,
    step_size: float = 0.01,
) -> MetaStep:
    """Write to `.grad` the gradient of the preference loss at parameters moved towards more spread.

        θ′ = θ + η ∇J(θ),      θ.grad += ∇L(θ′)        J = −spread_loss, on answers of the policy as it is now

    Wang, Zheng et al. 2024, arXiv:2401.06080 (MetaRM), first-order: ∇L is taken at θ′ and applied to θ. The caller then
    calls `optimizer.step()`, whose state never sees the inner step. θ is restored before this returns, also where a
    loss raises. Call it between `zero_grad` and `step`, several times for gradient accumulation.

    Args:
        parameters: θ, the trained parameters; those without a gradient stay as they are.
        spread_loss: a scalar, such as the mean of `spread_regularizer`; called once, at θ.
        pair_loss: a scalar, such as the mean of `bt_loss` on the original pairs; called once, at θ′.
        step_size: η ≥ 0; 0 is the ordinary gradient.

    Not reproduced at small scale: on perceptrons it made no difference, while `spread_regularizer`, added to the loss,
    did.
    """
    check_range("meta_rm_step", "step_size", step_size, 0.0, math.inf)
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError("meta_rm_step: no parameter requires a gradient. Pass those that the optimizer trains.")
    spread = spread_loss()
    ascent = torch.autograd.grad(spread, trained, allow_unused=True)
    saved = [parameter.detach().clone() for parameter in trained]
    try:
        with torch.no_grad():
            for parameter, slope in zip(trained, ascent, strict=True):
                if slope is not None:
                    parameter.sub_(slope, alpha=step_size)
        loss = pair_loss()
        slopes = torch.autograd.grad(loss, trained, allow_unused=True)
    finally:
        with torch.no_grad():
            for parameter, value in zip(trained, saved, strict=True):
                parameter.copy_(value)
    for parameter, slope in zip(trained, slopes, strict=True):
        if slope is not None:
            parameter.grad = slope if parameter.grad is None else parameter.grad + slope
    return MetaStep(spread.detach(), loss.detach())
