"""Ask of a reward, offline, how it can be gamed, where it is blind, noisy or inconsistent, and what helps."""

from rewardsmith.audit.benchmarks import (
    BenchmarkScore,
    SubsetScore,
    TiesScore,
    reward_bench,
    reward_bench_2,
    rm_bench,
    run_benchmark,
    ties_score,
)
from rewardsmith.audit.calibration import (
    ReliabilityCurve,
    auroc,
    brier_score,
    expected_calibration_error,
    reliability_curve,
)
from rewardsmith.audit.contexts import ContextBound, ContextSensitivity, context_error_bound, context_sensitivity
from rewardsmith.audit.contrast import ContrastConsistency, contrast_consistency
from rewardsmith.audit.finding import SEVERITIES, Example, Finding, Severity
from rewardsmith.audit.intervals import wilson_interval
from rewardsmith.audit.label_quality import LabelQuality, StrengthBin, label_quality
from rewardsmith.audit.labels import FirstErrorF1, Share, first_error_f1, flawed_positive_rate
from rewardsmith.audit.members import Drift, Pressure, Underspecification, shared_hack_drift, underspecification
from rewardsmith.audit.onset import Onset, advice, onset
from rewardsmith.audit.overoptimization import Band, OptimizationCurve, best_of_n_curve, tilted_curve
from rewardsmith.audit.padding import Padding, padding_probe
from rewardsmith.audit.pairs.labels import PairCalibration, pair_calibration
from rewardsmith.audit.pairs.lapse import Lapse, fit_lapse
from rewardsmith.audit.pairs.members import Twins, member_twins
from rewardsmith.audit.pairs.order import OrderEffect, order_effect, position_bias
from rewardsmith.audit.pairs.run import audit_pairs
from rewardsmith.audit.preference_graph import NextPair, PreferenceGraph, structural_function
from rewardsmith.audit.probes.confidence import (
    ConfidenceBias,
    Miscalibration,
    Preferred,
    confidence_bias,
    miscalibration,
)
from rewardsmith.audit.rankings import AccPlus, acc_and_acc_plus, sibling_accuracy
from rewardsmith.audit.reliability import (
    FilterChoice,
    Reliability,
    RewardBin,
    choose_filter,
    reward_reliability,
)
from rewardsmith.audit.render.figures import HOUSE_STYLE
from rewardsmith.audit.render.html import Section, render_html
from rewardsmith.audit.render.text import render_league, render_text
from rewardsmith.audit.render.wording import short_verdict
from rewardsmith.audit.render.write import report_schema, strict_json, write_report
from rewardsmith.audit.report import SCHEMA, Bin, Check, Curve, CurvePoint, Rate, Report, Turn
from rewardsmith.audit.run import audit
from rewardsmith.audit.scaling_law import ScalingLaw, scaling_law
from rewardsmith.audit.scoring_errors import ScoringDamage, over_vs_under_scoring
from rewardsmith.audit.shifts import (
    AccuracyGap,
    InvarianceGap,
    accuracy_gap,
    generalization_gap,
    invariance_gap,
    spurious_shift_accuracy,
)
from rewardsmith.audit.step_scores import BestOfN, StepTotal, best_of_n_by, solution_score, step_metrics
from rewardsmith.audit.tradeoff import AspectMean, Tradeoff, aspect_tradeoff

__all__ = [
    "HOUSE_STYLE",
    "SCHEMA",
    "SEVERITIES",
    "AccPlus",
    "AccuracyGap",
    "AspectMean",
    "Band",
    "BenchmarkScore",
    "BestOfN",
    "Bin",
    "Check",
    "ConfidenceBias",
    "ContextBound",
    "ContextSensitivity",
    "ContrastConsistency",
    "Curve",
    "CurvePoint",
    "Drift",
    "Example",
    "FilterChoice",
    "Finding",
    "FirstErrorF1",
    "InvarianceGap",
    "LabelQuality",
    "Lapse",
    "Miscalibration",
    "NextPair",
    "Onset",
    "OptimizationCurve",
    "OrderEffect",
    "Padding",
    "PairCalibration",
    "PreferenceGraph",
    "Preferred",
    "Pressure",
    "Rate",
    "Reliability",
    "ReliabilityCurve",
    "Report",
    "RewardBin",
    "ScalingLaw",
    "ScoringDamage",
    "Section",
    "Severity",
    "Share",
    "StepTotal",
    "StrengthBin",
    "SubsetScore",
    "TiesScore",
    "Tradeoff",
    "Turn",
    "Twins",
    "Underspecification",
    "acc_and_acc_plus",
    "accuracy_gap",
    "advice",
    "aspect_tradeoff",
    "audit",
    "audit_pairs",
    "auroc",
    "best_of_n_by",
    "best_of_n_curve",
    "brier_score",
    "choose_filter",
    "confidence_bias",
    "context_error_bound",
    "context_sensitivity",
    "contrast_consistency",
    "expected_calibration_error",
    "first_error_f1",
    "fit_lapse",
    "flawed_positive_rate",
    "generalization_gap",
    "invariance_gap",
    "label_quality",
    "member_twins",
    "miscalibration",
    "onset",
    "order_effect",
    "over_vs_under_scoring",
    "padding_probe",
    "pair_calibration",
    "position_bias",
    "reliability_curve",
    "render_html",
    "render_league",
    "render_text",
    "report_schema",
    "reward_bench",
    "reward_bench_2",
    "reward_reliability",
    "rm_bench",
    "run_benchmark",
    "scaling_law",
    "shared_hack_drift",
    "short_verdict",
    "sibling_accuracy",
    "solution_score",
    "spurious_shift_accuracy",
    "step_metrics",
    "strict_json",
    "structural_function",
    "ties_score",
    "tilted_curve",
    "underspecification",
    "wilson_interval",
    "write_report",
]
