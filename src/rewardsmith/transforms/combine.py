"""Several properties into one: the log-probability that all of them hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rewardsmith._check import check_shape
from rewardsmith.transforms.sources import _per_source
from rewardsmith.types import Traits, declares


@declares(Traits(scope="row", affine=False))
def logical_and(source_rewards: Tensor, *, weights: Sequence[float] | Tensor | None = None) -> Tensor:
    """The log-probability that all properties hold, were they independent.

        u = Σ_k w_k log p_k

    Wang et al. 2024, arXiv:2402.00742: with log p_k = log σ(r_k − r_k^ref) a large p of one property cannot pay for
    the failure of another. Center each source per prompt before the log-sigmoid (`log_sigmoid_shaping`); after it,
    centering does nothing, and without it the result is worse than a raw sum. u has no lower bound: clip outliers.

    Args:
        source_rewards: (B, K) log-probabilities log p_k ≤ 0; −inf is an impossible property.
        weights: K emphases ≥ 0, 1 each if None, or (B, K), each row's own; others than 1 leave the probabilistic
            reading. A property of weight 0 is ignored, present or not. A row of zeros or with a NaN is unscored.

    Returns:
        (B,) log-probabilities; NaN where any property of nonzero weight is missing, as a property that nobody judged
        has not been met.

    >>> logical_and(torch.tensor([[0.5, 0.5], [0.5, float("nan")]]).log())
    tensor([-1.3863,     nan])
    """
    check_shape("logical_and", "source_rewards", source_rewards, None, None)
    if bool((source_rewards > 0).any()):
        raise ValueError(
            f"logical_and: source_rewards hold {float(source_rewards.nan_to_num(nan=-math.inf).max())}, but each is a "
            "log-probability, at most 0. Pass rewards through log_sigmoid_shaping or pure_link(link='logsigmoid')."
        )
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    emphasis = wide.new_ones(wide.shape[1]) if weights is None else _per_source("logical_and", weights, wide)
    if bool((emphasis < 0).any()):
        raise ValueError(
            f"logical_and: weights {emphasis.tolist()} hold one below 0, which would reward failing. Use weights >= 0."
        )
    total = (torch.where(emphasis == 0, 0, wide) * emphasis).sum(dim=1)
    asked = (emphasis != 0).any(dim=-1)
    return torch.where(asked, total, math.nan).to(torch.result_type(source_rewards, 1.0))
