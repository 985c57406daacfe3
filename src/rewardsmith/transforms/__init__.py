"""Transforms from rewards to rewards: shape, calibrate, denoise, gate, and combine (B, K) into (B,)."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.transforms.appeals import AppealsEstimator
from rewardsmith.transforms.branches import branched, product
from rewardsmith.transforms.combine import logical_and, logical_or
from rewardsmith.transforms.compose import chain, reads
from rewardsmith.transforms.confidence import ConfidenceAdjusted
from rewardsmith.transforms.contexts import mixture_score
from rewardsmith.transforms.easiest import GRPOLambda
from rewardsmith.transforms.ensemble import (
    mean_minus_std,
    mean_minus_variance,
    member_mean,
    member_quantile,
    reference_statistics,
    robust_mix,
    zscore_members,
)
from rewardsmith.transforms.flaws import flawed_positive_penalty
from rewardsmith.transforms.gates import gated_bonus, gated_step_sum, gated_sum
from rewardsmith.transforms.lengths import length_shaped, overlong_penalty, relative_length_penalty
from rewardsmith.transforms.links import log_sigmoid_shaping, par
from rewardsmith.transforms.noise import backward_correction, forward_weights
from rewardsmith.transforms.noop import cancels, correction_is_noop
from rewardsmith.transforms.principles import combine_principles
from rewardsmith.transforms.running import RunningNorm
from rewardsmith.transforms.schedules import scheduled_scale
from rewardsmith.transforms.scoring_rules import brier_reward
from rewardsmith.transforms.shape import ceiling, clip_rewards, gate, length_penalty, rescale
from rewardsmith.transforms.sources import normalize_sources, scale_sources, weighted_sum
from rewardsmith.transforms.steps import add_outcome, clip_steps, delta_steps, renorm
from rewardsmith.transforms.votes import cross_view_rewards, majority_vote, self_play_winrate

__all__ = [
    "AppealsEstimator",
    "ConfidenceAdjusted",
    "GRPOLambda",
    "RunningNorm",
    "add_outcome",
    "backward_correction",
    "branched",
    "brier_reward",
    "cancels",
    "ceiling",
    "chain",
    "clip_rewards",
    "clip_steps",
    "combine_principles",
    "correction_is_noop",
    "cross_view_rewards",
    "delta_steps",
    "flawed_positive_penalty",
    "forward_weights",
    "gate",
    "gated_bonus",
    "gated_step_sum",
    "gated_sum",
    "length_penalty",
    "length_shaped",
    "log_sigmoid_shaping",
    "logical_and",
    "logical_or",
    "majority_vote",
    "mean_minus_std",
    "mean_minus_variance",
    "member_mean",
    "member_quantile",
    "mixture_score",
    "normalize_sources",
    "overlong_penalty",
    "par",
    "product",
    "reads",
    "reference_statistics",
    "relative_length_penalty",
    "renorm",
    "rescale",
    "robust_mix",
    "scale_sources",
    "scheduled_scale",
    "self_play_winrate",
    "weighted_sum",
    "zscore_members",
]
