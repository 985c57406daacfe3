"""Advantages from rewards: the credit of each completion, or token, relative to its group."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.advantages.aspects import Aspect, combine_aspects
from rewardsmith.advantages.filters import drop_dead_groups, drop_unscored, power_filter, rank_filter
from rewardsmith.advantages.group import batch_scaled, group_centered, group_zscore, leave_one_out, removes
from rewardsmith.advantages.outliers import advantage_filter, filtered, gated_format
from rewardsmith.advantages.steps import min_returns, softmin_returns, step_credit, step_returns

__all__ = [
    "Aspect",
    "advantage_filter",
    "batch_scaled",
    "combine_aspects",
    "drop_dead_groups",
    "drop_unscored",
    "filtered",
    "gated_format",
    "group_centered",
    "group_zscore",
    "leave_one_out",
    "min_returns",
    "power_filter",
    "rank_filter",
    "removes",
    "softmin_returns",
    "step_credit",
    "step_returns",
]
