"""Rewards in, credit out: what each completion, or token, is worth relative to its peers."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.advantages.aspects import Aspect, combine_aspects
from rewardsmith.advantages.filters import drop_dead_groups, drop_unscored, middle_filter, power_filter, rank_filter
from rewardsmith.advantages.group import batch_scaled, group_centered, group_zscore, leave_one_out, removes
from rewardsmith.advantages.steps import (
    mean_returns,
    min_form_weights,
    min_returns,
    softmin_returns,
    step_credit,
    step_returns,
    token_leave_one_out,
)
from rewardsmith.advantages.tokens import broadcast_to_tokens

__all__ = [
    "Aspect",
    "batch_scaled",
    "broadcast_to_tokens",
    "combine_aspects",
    "drop_dead_groups",
    "drop_unscored",
    "group_centered",
    "group_zscore",
    "leave_one_out",
    "mean_returns",
    "middle_filter",
    "min_form_weights",
    "min_returns",
    "power_filter",
    "rank_filter",
    "removes",
    "softmin_returns",
    "step_credit",
    "step_returns",
    "token_leave_one_out",
]
