"""Ask of a reward, offline, how it can be gamed, where it is blind, noisy or inconsistent, and what helps."""

from rewardsmith.auditing.benchmarks import (
    BenchmarkScore,
    SubsetScore,
    TiesScore,
    reward_bench,
    reward_bench_2,
    rm_bench,
    run_benchmark,
    ties_score,
)
from rewardsmith.auditing.finding import SEVERITIES, Example, Finding, Severity
from rewardsmith.auditing.preference_scores import (
    context_sensitivity,
    contrast_consistency,
    generalization_gap,
    invariance_gap,
    spurious_shift_accuracy,
)
from rewardsmith.auditing.probes.confidence import (
    ConfidenceBias,
    Miscalibration,
    Preferred,
    confidence_bias,
    miscalibration,
)
from rewardsmith.auditing.probes.labels import PairCalibration, pair_calibration
from rewardsmith.auditing.probes.members import Twins, member_twins
from rewardsmith.auditing.probes.order import OrderEffect, order_effect, position_bias
from rewardsmith.auditing.probes.padding import padding_probe
from rewardsmith.auditing.render.figures import HOUSE_STYLE
from rewardsmith.auditing.render.html import Section, render_html
from rewardsmith.auditing.render.text import render_league, render_text
from rewardsmith.auditing.render.wording import short_verdict
from rewardsmith.auditing.render.write import report_schema, strict_json, write_report
from rewardsmith.auditing.report import SCHEMA, Bin, Check, Curve, CurvePoint, Rate, Report, Turn
from rewardsmith.auditing.runner import audit, audit_pairs

__all__ = [
    "HOUSE_STYLE",
    "SCHEMA",
    "SEVERITIES",
    "BenchmarkScore",
    "Bin",
    "Check",
    "ConfidenceBias",
    "Curve",
    "CurvePoint",
    "Example",
    "Finding",
    "Miscalibration",
    "OrderEffect",
    "PairCalibration",
    "Preferred",
    "Rate",
    "Report",
    "Section",
    "Severity",
    "SubsetScore",
    "TiesScore",
    "Turn",
    "Twins",
    "audit",
    "audit_pairs",
    "confidence_bias",
    "context_sensitivity",
    "contrast_consistency",
    "generalization_gap",
    "invariance_gap",
    "member_twins",
    "miscalibration",
    "order_effect",
    "padding_probe",
    "pair_calibration",
    "position_bias",
    "render_html",
    "render_league",
    "render_text",
    "report_schema",
    "reward_bench",
    "reward_bench_2",
    "rm_bench",
    "run_benchmark",
    "short_verdict",
    "spurious_shift_accuracy",
    "strict_json",
    "ties_score",
    "write_report",
]
