"""Monitors of a training run: the audit's questions at every step; nothing here imports a trainer."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.monitors.integrity import FileGuard, TamperedFilesError, file_changes, file_states
from rewardsmith.monitors.kinds import (
    canary_false_positives,
    changed_files,
    default_monitors,
    flat_gold,
    kl_budget,
    length_bias,
    proxy_above_gold,
    proxy_gold_divergence,
    proxy_outcome_divergence,
)
from rewardsmith.monitors.measures import measure_batch
from rewardsmith.monitors.monitor import Monitor
from rewardsmith.monitors.watch import Watch

__all__ = [
    "FileGuard",
    "Monitor",
    "TamperedFilesError",
    "Watch",
    "canary_false_positives",
    "changed_files",
    "default_monitors",
    "file_changes",
    "file_states",
    "flat_gold",
    "kl_budget",
    "length_bias",
    "measure_batch",
    "proxy_above_gold",
    "proxy_gold_divergence",
    "proxy_outcome_divergence",
]
