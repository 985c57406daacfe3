"""Ask of a reward, offline, how it can be gamed, where it is blind, noisy or inconsistent, and what helps."""

from rewardsmith.audit.calibration import (
    ReliabilityCurve,
    auroc,
    brier_score,
    expected_calibration_error,
    reliability_curve,
)
from rewardsmith.audit.finding import SEVERITIES, Example, Finding, Severity
from rewardsmith.audit.intervals import wilson_interval
from rewardsmith.audit.labels import FirstErrorF1, Share, first_error_f1, flawed_positive_rate
from rewardsmith.audit.padding import Padding, padding_probe
from rewardsmith.audit.probes.confidence import (
    ConfidenceBias,
    Miscalibration,
    Preferred,
    confidence_bias,
    miscalibration,
)
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

__all__ = [
    "HOUSE_STYLE",
    "SCHEMA",
    "SEVERITIES",
    "Check",
    "ConfidenceBias",
    "Example",
    "FilterChoice",
    "Finding",
    "FirstErrorF1",
    "Miscalibration",
    "Padding",
    "Preferred",
    "Rate",
    "Reliability",
    "ReliabilityCurve",
    "Report",
    "RewardBin",
    "Section",
    "Severity",
    "Share",
    "audit",
    "auroc",
    "brier_score",
    "choose_filter",
    "confidence_bias",
    "expected_calibration_error",
    "first_error_f1",
    "flawed_positive_rate",
    "miscalibration",
    "padding_probe",
    "reliability_curve",
    "render_html",
    "render_league",
    "render_text",
    "report_schema",
    "reward_reliability",
    "short_verdict",
    "strict_json",
    "wilson_interval",
    "write_report",
]
