"""Statistics on arrays: each returns a NamedTuple with an interval and calls no reward."""

from rewardsmith.measures.associations import association
from rewardsmith.measures.best_of_n import best_of_n_curve
from rewardsmith.measures.calibration import auroc, brier_score, expected_calibration_error, reliability_curve
from rewardsmith.measures.ceilings import ceiling_curve
from rewardsmith.measures.consistency import (
    agreement,
    answer_entropy,
    consistency_to_strength,
    label_length_correlation,
    rank_consistency,
)
from rewardsmith.measures.displacement import (
    chosen_displacement,
    goal_controllability,
    high_quality_unlearning,
    off_support_mass,
)
from rewardsmith.measures.downstream import downstream_study
from rewardsmith.measures.frontier import hypervolume, pareto_front
from rewardsmith.measures.games import exploitability, intransitivity, transitive_fit_error
from rewardsmith.measures.generalization import generalization_matrix
from rewardsmith.measures.intervals import wilson_interval
from rewardsmith.measures.judge_agreement import judge_agreement
from rewardsmith.measures.labels import estimate_noise, first_error_f1, flawed_positive_rate
from rewardsmith.measures.margin_curve import fit_label_noise
from rewardsmith.measures.members import shared_hack_drift, underspecification
from rewardsmith.measures.monotonicity import proxy_gold_monotonicity
from rewardsmith.measures.objective_mismatch import objective_mismatch_report
from rewardsmith.measures.offsets import prompt_offset_sensitivity
from rewardsmith.measures.one_to_many import mrr, one_to_many_accuracy, pairwise_duel_rank
from rewardsmith.measures.overoptimization import early_peak, overoptimization_law
from rewardsmith.measures.preference_graph import structural_function
from rewardsmith.measures.rankings import acc_and_acc_plus, accuracy_gap
from rewardsmith.measures.reliability import choose_filter, reward_reliability
from rewardsmith.measures.soft_values import per_state_equivalence_gap, reward_cap, soft_value_identity_error
from rewardsmith.measures.step_scores import aggregate_steps, solution_score, step_metrics
from rewardsmith.measures.tradeoffs import aspect_tradeoff
from rewardsmith.measures.turning_points import advice, onset
from rewardsmith.measures.uncertainty import conformal_sets, member_uncertainty, risk_coverage
from rewardsmith.measures.wrong_labels import label_quality

__all__ = [
    "acc_and_acc_plus",
    "accuracy_gap",
    "advice",
    "aggregate_steps",
    "agreement",
    "answer_entropy",
    "aspect_tradeoff",
    "association",
    "auroc",
    "best_of_n_curve",
    "brier_score",
    "ceiling_curve",
    "choose_filter",
    "chosen_displacement",
    "conformal_sets",
    "consistency_to_strength",
    "downstream_study",
    "early_peak",
    "estimate_noise",
    "expected_calibration_error",
    "exploitability",
    "first_error_f1",
    "fit_label_noise",
    "flawed_positive_rate",
    "generalization_matrix",
    "goal_controllability",
    "high_quality_unlearning",
    "hypervolume",
    "intransitivity",
    "judge_agreement",
    "label_length_correlation",
    "label_quality",
    "member_uncertainty",
    "mrr",
    "objective_mismatch_report",
    "off_support_mass",
    "one_to_many_accuracy",
    "onset",
    "overoptimization_law",
    "pairwise_duel_rank",
    "pareto_front",
    "per_state_equivalence_gap",
    "prompt_offset_sensitivity",
    "proxy_gold_monotonicity",
    "rank_consistency",
    "reliability_curve",
    "reward_cap",
    "reward_reliability",
    "risk_coverage",
    "shared_hack_drift",
    "soft_value_identity_error",
    "solution_score",
    "step_metrics",
    "structural_function",
    "transitive_fit_error",
    "underspecification",
    "wilson_interval",
]
