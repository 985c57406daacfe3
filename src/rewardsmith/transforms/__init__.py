"""Rewards in, rewards out: shape, calibrate, denoise, gate, and combine (B, K) into (B,)."""

from rewardsmith.transforms.appeals import AppealsEstimator
from rewardsmith.transforms.compose import Chain, Reads, chain, reads
from rewardsmith.transforms.links import log_sigmoid_shaping, par, pure_link, reference_link
from rewardsmith.transforms.noise import NoiseRates, backward_correction, estimate_noise, forward_weights
from rewardsmith.transforms.noop import Cancellation, cancels, correction_is_noop
from rewardsmith.transforms.running import RunningNorm
from rewardsmith.transforms.shape import ceiling, clip_rewards, gate, length_penalty
from rewardsmith.transforms.sources import normalize_sources, weighted_sum

__all__ = [
    "AppealsEstimator",
    "Cancellation",
    "Chain",
    "NoiseRates",
    "Reads",
    "RunningNorm",
    "backward_correction",
    "cancels",
    "ceiling",
    "chain",
    "clip_rewards",
    "correction_is_noop",
    "estimate_noise",
    "forward_weights",
    "gate",
    "length_penalty",
    "log_sigmoid_shaping",
    "normalize_sources",
    "par",
    "pure_link",
    "reads",
    "reference_link",
    "weighted_sum",
]
