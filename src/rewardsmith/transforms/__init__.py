"""Rewards in, rewards out: shape, calibrate, denoise, gate, and combine (B, K) into (B,)."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.transforms.affine import is_above, is_below, rescale
from rewardsmith.transforms.appeals import AppealsEstimator
from rewardsmith.transforms.combine import logical_and, logical_or
from rewardsmith.transforms.compose import Chain, Reads, chain, reads
from rewardsmith.transforms.confidence import ConfidenceAdjusted
from rewardsmith.transforms.contexts import ContextScale, context_scale, mixture_score, profile_posterior
from rewardsmith.transforms.easiest import GRPOLambda, easiest_prompts, grpo_lambda
from rewardsmith.transforms.ensemble import MemberStatistics, aggregate, member_statistics, zscore_members
from rewardsmith.transforms.flaws import flawed_advantage, flawed_positive_penalty
from rewardsmith.transforms.gates import GatedSteps, gated_step_sum, gated_sum, priority_gates, switch
from rewardsmith.transforms.lengths import length_shaped, overlong_penalty, relative_length_penalty
from rewardsmith.transforms.links import log_sigmoid_shaping, par, pure_link, reference_link
from rewardsmith.transforms.noise import NoiseRates, backward_correction, estimate_noise, forward_weights
from rewardsmith.transforms.noop import Cancellation, cancels, correction_is_noop
from rewardsmith.transforms.running import RunningNorm
from rewardsmith.transforms.scoring_rules import Incentive, incentive_compatible, scoring_rule_reward
from rewardsmith.transforms.shape import ceiling, clip_rewards, gate, length_penalty
from rewardsmith.transforms.sources import normalize_sources, scale_sources, weighted_sum
from rewardsmith.transforms.steps import clip_steps, combine_process_outcome, delta_steps, renorm

__all__ = [
    "AppealsEstimator",
    "Cancellation",
    "Chain",
    "ConfidenceAdjusted",
    "ContextScale",
    "GRPOLambda",
    "GatedSteps",
    "Incentive",
    "MemberStatistics",
    "NoiseRates",
    "Reads",
    "RunningNorm",
    "aggregate",
    "backward_correction",
    "cancels",
    "ceiling",
    "chain",
    "clip_rewards",
    "clip_steps",
    "combine_process_outcome",
    "context_scale",
    "correction_is_noop",
    "delta_steps",
    "easiest_prompts",
    "estimate_noise",
    "flawed_advantage",
    "flawed_positive_penalty",
    "forward_weights",
    "gate",
    "gated_step_sum",
    "gated_sum",
    "grpo_lambda",
    "incentive_compatible",
    "is_above",
    "is_below",
    "length_penalty",
    "length_shaped",
    "log_sigmoid_shaping",
    "logical_and",
    "logical_or",
    "member_statistics",
    "mixture_score",
    "normalize_sources",
    "overlong_penalty",
    "par",
    "priority_gates",
    "profile_posterior",
    "pure_link",
    "reads",
    "reference_link",
    "relative_length_penalty",
    "renorm",
    "rescale",
    "scale_sources",
    "scoring_rule_reward",
    "switch",
    "weighted_sum",
    "zscore_members",
]
