"""Losses, unreduced, from scores or log-probabilities. It has those that TRL lacks."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.objectives.logps import implicit_reward, sequence_logps
from rewardsmith.objectives.meta import meta_rm_step
from rewardsmith.objectives.pairwise import (
    binned_rating_loss,
    bt_loss,
    centering_loss,
    normalized_weights,
    rating_loss,
    simcse_loss,
    spread_regularizer,
    squared_tie_loss,
    thurstone_loss,
    tie_loss,
    weighted_loss,
)
from rewardsmith.objectives.peer_review import keep_schedule, peer_review_masks
from rewardsmith.objectives.preference import dpo_loss, dynamic_beta, margin_weight
from rewardsmith.objectives.reward_model import (
    combined_confidence_loss,
    confidence_calibration_loss,
    crossed_confidence_loss,
    ranked_confidence_loss,
)

__all__ = [
    "binned_rating_loss",
    "bt_loss",
    "centering_loss",
    "combined_confidence_loss",
    "confidence_calibration_loss",
    "crossed_confidence_loss",
    "dpo_loss",
    "dynamic_beta",
    "implicit_reward",
    "keep_schedule",
    "margin_weight",
    "meta_rm_step",
    "normalized_weights",
    "peer_review_masks",
    "ranked_confidence_loss",
    "rating_loss",
    "sequence_logps",
    "simcse_loss",
    "spread_regularizer",
    "squared_tie_loss",
    "thurstone_loss",
    "tie_loss",
    "weighted_loss",
]
