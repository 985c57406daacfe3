"""Ask of a reward, offline, how it can be gamed, where it is blind, noisy or inconsistent, and what helps."""

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
from rewardsmith.audit.padding import Padding, padding_probe
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
from rewardsmith.audit.report import SCHEMA, Check, Rate, Report
from rewardsmith.audit.run import audit
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
    "BestOfN",
    "Check",
    "ConfidenceBias",
    "ContextBound",
    "ContextSensitivity",
    "ContrastConsistency",
    "Drift",
    "Example",
    "FilterChoice",
    "Finding",
    "FirstErrorF1",
    "InvarianceGap",
    "LabelQuality",
    "Miscalibration",
    "NextPair",
    "Padding",
    "PreferenceGraph",
    "Preferred",
    "Pressure",
    "Rate",
    "Reliability",
    "ReliabilityCurve",
    "Report",
    "RewardBin",
    "ScoringDamage",
    "Section",
    "Severity",
    "Share",
    "StepTotal",
    "StrengthBin",
    "Tradeoff",
    "Underspecification",
    "acc_and_acc_plus",
    "accuracy_gap",
    "aspect_tradeoff",
    "audit",
    "auroc",
    "best_of_n_by",
    "brier_score",
    "choose_filter",
    "confidence_bias",
    "context_error_bound",
    "context_sensitivity",
    "contrast_consistency",
    "expected_calibration_error",
    "first_error_f1",
    "flawed_positive_rate",
    "generalization_gap",
    "invariance_gap",
    "label_quality",
    "miscalibration",
    "over_vs_under_scoring",
    "padding_probe",
    "reliability_curve",
    "render_html",
    "render_league",
    "render_text",
    "report_schema",
    "reward_reliability",
    "shared_hack_drift",
    "short_verdict",
    "sibling_accuracy",
    "solution_score",
    "spurious_shift_accuracy",
    "step_metrics",
    "strict_json",
    "structural_function",
    "underspecification",
    "wilson_interval",
    "write_report",
]
