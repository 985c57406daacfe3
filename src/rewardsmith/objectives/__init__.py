"""Losses, unreduced, from scores or log-probabilities. It has those that TRL lacks."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.objectives.agreement import entailment_bce, multi_view_consistency_loss, pairwise_verdict_loss
from rewardsmith.objectives.distillation import extrapolated_logits, token_kl, tv_strength
from rewardsmith.objectives.logps import chunked_token_logps, implicit_reward, per_token_logps, sequence_logps
from rewardsmith.objectives.meta import meta_rm_step
from rewardsmith.objectives.outcomes import implicit_ce_loss, implicit_kto_loss, implicit_nca_loss
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
from rewardsmith.objectives.preference import (
    anchor_nll,
    dpo_loss,
    dynamic_beta,
    ipo_loss,
    length_regularized_margin,
    margin_weight,
    preference_margin,
    slic_loss,
    soft_label_dpo_loss,
)
from rewardsmith.objectives.reward_model import (
    combined_confidence_loss,
    confidence_calibration_loss,
    crossed_confidence_loss,
    ranked_confidence_loss,
)
from rewardsmith.objectives.token_rewards import token_log_ratio, token_reward_regularizer

__all__ = [
    "anchor_nll",
    "binned_rating_loss",
    "bt_loss",
    "centering_loss",
    "chunked_token_logps",
    "combined_confidence_loss",
    "confidence_calibration_loss",
    "crossed_confidence_loss",
    "dpo_loss",
    "dynamic_beta",
    "entailment_bce",
    "extrapolated_logits",
    "implicit_ce_loss",
    "implicit_kto_loss",
    "implicit_nca_loss",
    "implicit_reward",
    "ipo_loss",
    "keep_schedule",
    "length_regularized_margin",
    "margin_weight",
    "meta_rm_step",
    "multi_view_consistency_loss",
    "normalized_weights",
    "pairwise_verdict_loss",
    "peer_review_masks",
    "per_token_logps",
    "preference_margin",
    "ranked_confidence_loss",
    "rating_loss",
    "sequence_logps",
    "simcse_loss",
    "slic_loss",
    "soft_label_dpo_loss",
    "spread_regularizer",
    "squared_tie_loss",
    "thurstone_loss",
    "tie_loss",
    "token_kl",
    "token_log_ratio",
    "token_reward_regularizer",
    "tv_strength",
    "weighted_loss",
]
