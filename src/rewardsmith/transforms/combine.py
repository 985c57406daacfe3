"""Log-probabilities of several properties combined: that all hold, or that at least one does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rewardsmith._check import check_shape
from rewardsmith.transforms.sources import _per_source
from rewardsmith.types import Traits, declares


def _check_log_probabilities(caller: str, source_rewards: Tensor) -> None:
    check_shape(caller, "source_rewards", source_rewards, None, None)
    if bool((source_rewards > 0).any()):
        raise ValueError(
            f"{caller}: source_rewards hold {float(source_rewards.nan_to_num(nan=-math.inf).max())}, but each is a "
            "log-probability, at most 0. Pass rewards through log_sigmoid_shaping or pure_link(link='logsigmoid')."
        )


@declares(Traits(scope="row", affine=False))
def logical_and(source_rewards: Tensor, *, weights: Sequence[float] | Tensor | None = None) -> Tensor:
    """Return the log-probability that all properties hold, assuming independence.

        u = Σ_k w_k log p_k

    Wang et al. 2024, arXiv:2402.00742: with log p_k = log σ(r_k − r_k^ref) a large p of one property cannot make up
    for the failure of another. Center each source per prompt before the log-sigmoid (`log_sigmoid_shaping`); after it,
    centering does nothing, and without it the result is worse than a raw sum. u has no lower bound: clip outliers.

    Args:
        source_rewards: (B, K) log-probabilities log p_k ≤ 0; −inf is an impossible property.
        weights: K weights ≥ 0, 1 each if None, or (B, K), one set per row; other weights than 1 give up the
            probabilistic reading. A property of weight 0 is ignored. A row of zeros or with a NaN is unscored.

    Returns:
        (B,) log-probabilities; NaN where any property of nonzero weight is missing, because an unscored property
        is not known to hold.

    >>> logical_and(torch.tensor([[0.5, 0.5], [0.5, float("nan")]]).log())
    tensor([-1.3863,     nan])
    """
    _check_log_probabilities("logical_and", source_rewards)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    emphasis = wide.new_ones(wide.shape[1]) if weights is None else _per_source("logical_and", weights, wide)
    if bool((emphasis < 0).any()):
        raise ValueError(
            f"logical_and: weights {emphasis.tolist()} hold one below 0, which would reward failing. Use weights >= 0."
        )
    total = (torch.where(emphasis == 0, 0, wide) * emphasis).sum(dim=1)
    asked = (emphasis != 0).any(dim=-1)
    return torch.where(asked, total, math.nan).to(torch.result_type(source_rewards, 1.0))


def _log_complement(logs: Tensor) -> Tensor:
    """Return log(1 − eˣ) for x ≤ 0 without cancellation in 1 − eˣ and without underflow."""
    near_zero = logs > -math.log(2)
    return torch.where(near_zero, (-torch.expm1(logs)).log(), torch.log1p(-logs.exp()))


def _log_any(logs: Tensor) -> Tensor:
    """Return (B,) log(1 − Π(1 − e^{u_k})), by way of log(−log(1 − p)), in which the smallest p stays finite."""
    small = 0.5 * math.log(torch.finfo(logs.dtype).eps)  # below, log(−log(1 − p)) = log p + p/2 to all digits
    nested = torch.where(logs < small, logs + logs.exp() / 2, (-_log_complement(logs)).log())
    joint = nested.logsumexp(dim=1)
    return torch.where(joint < small, joint - joint.exp() / 2, _log_complement(-joint.exp()))


def _share(logs: Tensor, any_holds: Tensor) -> Tensor:
    """Return (B, K) ∂u/∂u_k = p_k Π_{j≠k}(1 − p_j) / (1 − Π_j (1 − p_j)), in [0, 1]; 0 where it has no value."""
    n = logs.shape[1]
    others = _log_complement(logs)[:, None, :].masked_fill(torch.eye(n, dtype=torch.bool, device=logs.device), 0.0)
    return (logs + others.sum(dim=2) - any_holds[:, None]).exp().nan_to_num(nan=0.0)  # (B, K, K) summed over j


@declares(Traits(scope="row", affine=False))
def logical_or(source_rewards: Tensor) -> Tensor:
    """Return the log-probability that at least one property holds, assuming independence.

        u = log( 1 − Π_k (1 − e^{u_k}) ),  u_k = log p_k

    An extension of Wang et al. 2024, arXiv:2402.00742, which has the conjunction only. Exact in the tails: for small
    p it becomes log Σ p_k, where 1 − p would round to 1.

    Args:
        source_rewards: (B, K) log-probabilities ≤ 0.

    Returns:
        (B,) log-probabilities; NaN where any property is missing.

    >>> logical_or(torch.tensor([[0.5, 0.5], [1.0, 0.1]]).log()).exp()
    tensor([0.7500, 1.0000])
    """
    _check_log_probabilities("logical_or", source_rewards)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    missing = wide.isnan().any(dim=1)
    filled = torch.where(missing[:, None], -1.0, wide)
    logs = filled.detach()
    any_holds = _log_any(logs)
    if filled.requires_grad:  # autograd through the nested logarithms meets 0·inf at p = 0 and p = 1
        moved = torch.where(logs.isfinite(), filled - logs, 0)
        any_holds = any_holds + (_share(logs, any_holds) * moved).sum(dim=1)
    return torch.where(missing, math.nan, any_holds).to(torch.result_type(source_rewards, 1.0))
