"""Statistics on arrays: each returns a NamedTuple with an interval and calls no reward."""

from rewardsmith.measures.best_of_n import best_of_n_curve
from rewardsmith.measures.calibration import auroc, brier_score, expected_calibration_error, reliability_curve
from rewardsmith.measures.intervals import wilson_interval
from rewardsmith.measures.labels import estimate_noise, first_error_f1, flawed_positive_rate
from rewardsmith.measures.margin_curve import fit_label_noise
from rewardsmith.measures.members import shared_hack_drift, underspecification
from rewardsmith.measures.preference_graph import structural_function
from rewardsmith.measures.rankings import acc_and_acc_plus, accuracy_gap
from rewardsmith.measures.reliability import choose_filter, reward_reliability
from rewardsmith.measures.step_scores import solution_score, step_metrics
from rewardsmith.measures.tradeoffs import aspect_tradeoff
from rewardsmith.measures.turning_points import advice, onset
from rewardsmith.measures.wrong_labels import label_quality

__all__ = [
    "acc_and_acc_plus",
    "accuracy_gap",
    "advice",
    "aspect_tradeoff",
    "auroc",
    "best_of_n_curve",
    "brier_score",
    "choose_filter",
    "estimate_noise",
    "expected_calibration_error",
    "first_error_f1",
    "fit_label_noise",
    "flawed_positive_rate",
    "label_quality",
    "onset",
    "reliability_curve",
    "reward_reliability",
    "shared_hack_drift",
    "solution_score",
    "step_metrics",
    "structural_function",
    "underspecification",
    "wilson_interval",
]
