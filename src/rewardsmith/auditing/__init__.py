"""Audit a reward offline: find how it can be gamed, and what it ignores, repeats wrongly or favors."""

from rewardsmith.auditing.comparison import compare_reports
from rewardsmith.auditing.finding import SEVERITIES, Finding
from rewardsmith.auditing.preference_scores import (
    context_sensitivity,
    contrast_consistency,
    generalization_gap,
    invariance_gap,
    spurious_shift_accuracy,
)
from rewardsmith.auditing.probes.confidence import confidence_bias, miscalibration
from rewardsmith.auditing.probes.labels import pair_calibration
from rewardsmith.auditing.probes.members import member_twins
from rewardsmith.auditing.probes.order import position_bias
from rewardsmith.auditing.probes.padding import padding_probe
from rewardsmith.auditing.render.html import Section, render_html
from rewardsmith.auditing.render.junit import render_junit
from rewardsmith.auditing.render.markdown import render_markdown
from rewardsmith.auditing.render.text import render_text
from rewardsmith.auditing.render.write import report_schema, write_report
from rewardsmith.auditing.report import Report
from rewardsmith.auditing.runner import audit, audit_pairs
from rewardsmith.auditing.subjects.self_training import audit_run

__all__ = [
    "SEVERITIES",
    "Finding",
    "Report",
    "Section",
    "audit",
    "audit_pairs",
    "audit_run",
    "compare_reports",
    "confidence_bias",
    "context_sensitivity",
    "contrast_consistency",
    "generalization_gap",
    "invariance_gap",
    "member_twins",
    "miscalibration",
    "padding_probe",
    "pair_calibration",
    "position_bias",
    "render_html",
    "render_junit",
    "render_markdown",
    "render_text",
    "report_schema",
    "spurious_shift_accuracy",
    "write_report",
]
