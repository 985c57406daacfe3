"""The audit's questions, asked at every training step; nothing here imports a trainer."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.monitors.canaries import canary_rows, count_paid
from rewardsmith.monitors.evidence import evidence
from rewardsmith.monitors.kinds import (
    canary_false_positives,
    dead_group_rate,
    default_monitors,
    flat_gold,
    infinite_rewards,
    kl_budget,
    length_bias,
    proxy_gold_divergence,
    proxy_outcome_divergence,
    unscored_rate,
)
from rewardsmith.monitors.measures import (
    LengthCorrelation,
    Record,
    dead_groups,
    length_correlation,
    measure_batch,
    source_key,
)
from rewardsmith.monitors.monitor import Alarm, Monitor
from rewardsmith.monitors.watch import Watch

__all__ = [
    "Alarm",
    "LengthCorrelation",
    "Monitor",
    "Record",
    "Watch",
    "canary_false_positives",
    "canary_rows",
    "count_paid",
    "dead_group_rate",
    "dead_groups",
    "default_monitors",
    "evidence",
    "flat_gold",
    "infinite_rewards",
    "kl_budget",
    "length_bias",
    "length_correlation",
    "measure_batch",
    "proxy_gold_divergence",
    "proxy_outcome_divergence",
    "source_key",
    "unscored_rate",
]
