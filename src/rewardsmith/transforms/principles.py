"""Log-odds of several principles combined into one reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_shape
from rewardsmith.transforms.sources import Missing, _per_source, weighted_sum
from rewardsmith.types import Traits, declares

How = Literal["sum_logodds", "mean_prob", "min"]


@declares(Traits(scope="row", affine=False))
def combine_principles(
    source_rewards: Tensor,
    *,
    weights: Sequence[float] | Tensor | None = None,
    how: How = "sum_logodds",
    reference: Tensor | None = None,
    missing: Missing = "renormalize",
) -> Tensor:
    """Combine the log-odds that a response keeps to each of several principles.

        z_k = r_k − mean_reference r_k        s_k = sign w_k
        sum_logodds: Σ_k w_k z_k      mean_prob: Σ_k |w_k| σ(s_k z_k) / Σ_k |w_k|      min: min_{k: w_k ≠ 0} s_k z_k

    Wang et al. 2025, arXiv:2509.21319 (RLBFF). A reviewer names a principle mostly where it fails or excels, so r_k
    holds the base rate of principle k. Within one principle it cancels; in "mean_prob" and "min", and where a principle
    is missing, it does not: pass a reference. "mean_prob" rewards few clear successes, "min" the weakest principle.

    Args:
        source_rewards: (B, P) log-odds r, as of `rewards.EntailmentJudge`; NaN is missing.
        weights: P weights, 1 each if None, or (B, P), one set per row; a negative one asks for the opposite. A
            principle of weight 0 is ignored.
        reference: (R, P) log-odds of a fixed set of responses, NaN left out; None does not center.
        missing: as in `weighted_sum`; "min" is NaN in either case, because the missing one may be the least.

    Returns:
        (B,) log-odds, or a mean of probabilities in [0, 1] for "mean_prob".

    >>> combine_principles(torch.tensor([[2.0, -1.0], [2.0, float("nan")]]), how="min")
    tensor([-1., nan])
    >>> combine_principles(torch.tensor([[2.0, -1.0]]), reference=torch.tensor([[1.0, -3.0], [1.0, -1.0]]))
    tensor([2.])
    """
    check_choice("combine_principles", "how", how, get_args(How))
    check_shape("combine_principles", "source_rewards", source_rewards, None, None)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    per_source = wide.new_ones(wide.shape[1]) if weights is None else _per_source("combine_principles", weights, wide)
    if reference is not None:
        check_shape("combine_principles", "reference", reference, None, wide.shape[1])
        center = reference.to(wide).nanmean(dim=0)
        if not bool(center.isfinite().all()):
            raise ValueError(
                f"combine_principles: reference has means {center.tolist()}. Give each principle at least one finite "
                "log-odds, and clip ±inf."
            )
        wide = wide - center
    if how == "sum_logodds":
        total = weighted_sum(wide, weights=per_source, missing=missing)
    elif how == "mean_prob":
        lost = wide.isnan()
        chances = torch.sigmoid(per_source.sign() * wide.masked_fill(lost, 0.0)).masked_fill(lost, math.nan)
        total = weighted_sum(chances, weights=per_source.abs(), normalize=True, missing=missing)
    else:
        used = (per_source != 0).expand_as(wide)
        lost = used & (wide.isnan() | per_source.isnan())
        signed = torch.where(used & ~lost, per_source.sign().nan_to_num() * wide.nan_to_num(), math.inf)
        total = torch.where(lost.any(dim=1) | ~used.any(dim=1), math.nan, signed.amin(dim=1))
    return total.to(torch.result_type(source_rewards, 1.0))
