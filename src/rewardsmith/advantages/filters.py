"""Filters as weights: 1 on what is kept, 0 on what is dropped; multiply them to combine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rewardsmith._check import check_groups, check_range, check_shape


def drop_dead_groups(rewards: Tensor, *, group_size: int, tolerance: float = 0.0) -> Tensor:
    """Drop groups whose scored rewards agree: they hold no gradient, only a share of the denominator.

    Yu et al. 2025, arXiv:2503.14476 (DAPO's dynamic sampling, as weights).

    Args:
        rewards: (B,) rewards, a prompt's completions consecutive; NaN and ±inf are unscored.
        tolerance: a spread (largest minus smallest) of at most this is agreement.

    Returns:
        (B,) weights: 1 for every row of a live group, 0 for a dead one. A group with fewer than two scored rows is
        dead. All 0 if every group is.

    >>> drop_dead_groups(torch.tensor([1.0, 1.0, 0.0, 1.0]), group_size=2)
    tensor([0., 0., 1., 1.])
    """
    check_shape("drop_dead_groups", "rewards", rewards, None)
    check_groups("drop_dead_groups", rewards.shape[0], group_size)
    check_range("drop_dead_groups", "tolerance", tolerance, 0.0, math.inf)
    wide = rewards.detach().to(torch.promote_types(rewards.dtype, torch.float32))
    grouped = wide.reshape(-1, group_size)  # (P, G)
    low = torch.where(grouped.isfinite(), grouped, math.inf).amin(dim=1, keepdim=True)
    high = torch.where(grouped.isfinite(), grouped, -math.inf).amax(dim=1, keepdim=True)
    live = high - low > tolerance
    return live.expand_as(grouped).flatten().to(torch.result_type(rewards, 1.0))


def drop_unscored(rewards: Tensor) -> Tensor:
    """Drop rows without a finite reward.

    Args:
        rewards: (B,) rewards; NaN and ±inf are unscored.

    Returns:
        (B,) weights: 1 where scored, 0 where not.

    >>> drop_unscored(torch.tensor([0.0, float("nan"), float("-inf")]))
    tensor([1., 0., 0.])
    """
    check_shape("drop_unscored", "rewards", rewards, None)
    return rewards.detach().isfinite().to(torch.result_type(rewards, 1.0))


__all__ = ["drop_dead_groups", "drop_unscored"]
