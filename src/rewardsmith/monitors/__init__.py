"""Monitors of a training run: the audit's questions at every step; nothing here imports a trainer."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.monitors.kinds import (
    canary_false_positives,
    default_monitors,
    flat_gold,
    kl_budget,
    length_bias,
    proxy_gold_divergence,
    proxy_outcome_divergence,
)
from rewardsmith.monitors.measures import measure_batch
from rewardsmith.monitors.monitor import Monitor
from rewardsmith.monitors.watch import Watch

__all__ = [
    "Monitor",
    "Watch",
    "canary_false_positives",
    "default_monitors",
    "flat_gold",
    "kl_budget",
    "length_bias",
    "measure_batch",
    "proxy_gold_divergence",
    "proxy_outcome_divergence",
]
