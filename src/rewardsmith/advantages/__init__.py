"""Rewards in, credit out: what each completion, or token, is worth relative to its peers."""

from rewardsmith.advantages.filters import drop_dead_groups, drop_unscored
from rewardsmith.advantages.group import batch_scaled, group_centered, group_zscore, leave_one_out, removes
from rewardsmith.advantages.tokens import broadcast_to_tokens

__all__ = [
    "batch_scaled",
    "broadcast_to_tokens",
    "drop_dead_groups",
    "drop_unscored",
    "group_centered",
    "group_zscore",
    "leave_one_out",
    "removes",
]
