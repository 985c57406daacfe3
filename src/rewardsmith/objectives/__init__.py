"""Scores or log-probabilities in, unreduced loss out. Losses that TRL has are TRL's; here are those it lacks."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.objectives.logps import implicit_reward, sequence_logps
from rewardsmith.objectives.meta import MetaStep, meta_rm_step
from rewardsmith.objectives.pairwise import (
    RatingKind,
    TieKind,
    normalized_weights,
    pairwise_loss,
    rating_loss,
    sampled_preference_loss,
    simcse_loss,
    spread_regularizer,
    thurstone_loss,
)
from rewardsmith.objectives.peer_review import PeerMasks, keep_schedule, peer_review_masks
from rewardsmith.objectives.preference import (
    OnDisagree,
    WeightOnDisagree,
    dpo_loss,
    dynamic_beta,
    margin_weight,
)
from rewardsmith.objectives.reward_model import (
    combined_confidence_loss,
    confidence_calibration_loss,
    crossed_confidence_loss,
    ranked_confidence_loss,
)
from rewardsmith.objectives.step_labels import step_label_loss

__all__ = [
    "MetaStep",
    "OnDisagree",
    "PeerMasks",
    "RatingKind",
    "TieKind",
    "WeightOnDisagree",
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
    "pairwise_loss",
    "peer_review_masks",
    "ranked_confidence_loss",
    "rating_loss",
    "sampled_preference_loss",
    "sequence_logps",
    "simcse_loss",
    "spread_regularizer",
    "step_label_loss",
    "thurstone_loss",
]
