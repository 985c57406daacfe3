"""Rewards in, rewards out: shape, calibrate, denoise, gate, and combine (B, K) into (B,)."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.transforms.affine import rescale
from rewardsmith.transforms.appeals import AppealsEstimator
from rewardsmith.transforms.combine import logical_and, logical_or
from rewardsmith.transforms.compose import chain, reads
from rewardsmith.transforms.confidence import ConfidenceAdjusted
from rewardsmith.transforms.contexts import context_scale, mixture_score, profile_posterior
from rewardsmith.transforms.easiest import GRPOLambda, grpo_lambda
from rewardsmith.transforms.ensemble import (
    mean_minus_std,
    mean_minus_variance,
    member_mean,
    member_quantile,
    robust_mix,
    zscore_members,
)
from rewardsmith.transforms.flaws import flawed_positive_penalty
from rewardsmith.transforms.gates import gated_step_sum, gated_sum, switch
from rewardsmith.transforms.lengths import length_shaped, overlong_penalty, relative_length_penalty
from rewardsmith.transforms.links import log_sigmoid_shaping, par, pure_link, reference_link
from rewardsmith.transforms.noise import backward_correction, forward_weights
from rewardsmith.transforms.noop import cancels, correction_is_noop
from rewardsmith.transforms.running import RunningNorm
from rewardsmith.transforms.scoring_rules import (
    brier_reward,
    incentive_compatible,
    linear_reward,
    log_score_reward,
    spherical_reward,
)
from rewardsmith.transforms.shape import ceiling, clip_rewards, gate, length_penalty
from rewardsmith.transforms.sources import normalize_sources, scale_sources, weighted_sum
from rewardsmith.transforms.steps import add_outcome, clip_steps, delta_steps, gate_by_outcome, renorm

__all__ = [
    "AppealsEstimator",
    "ConfidenceAdjusted",
    "GRPOLambda",
    "RunningNorm",
    "add_outcome",
    "backward_correction",
    "brier_reward",
    "cancels",
    "ceiling",
    "chain",
    "clip_rewards",
    "clip_steps",
    "context_scale",
    "correction_is_noop",
    "delta_steps",
    "flawed_positive_penalty",
    "forward_weights",
    "gate",
    "gate_by_outcome",
    "gated_step_sum",
    "gated_sum",
    "grpo_lambda",
    "incentive_compatible",
    "length_penalty",
    "length_shaped",
    "linear_reward",
    "log_score_reward",
    "log_sigmoid_shaping",
    "logical_and",
    "logical_or",
    "mean_minus_std",
    "mean_minus_variance",
    "member_mean",
    "member_quantile",
    "mixture_score",
    "normalize_sources",
    "overlong_penalty",
    "par",
    "profile_posterior",
    "pure_link",
    "reads",
    "reference_link",
    "relative_length_penalty",
    "renorm",
    "rescale",
    "robust_mix",
    "scale_sources",
    "spherical_reward",
    "switch",
    "weighted_sum",
    "zscore_members",
]
