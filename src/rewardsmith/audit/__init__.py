"""Ask of a reward, offline, how it can be gamed, where it is blind, noisy or inconsistent, and what helps."""

from rewardsmith.audit.figures import HOUSE_STYLE
from rewardsmith.audit.finding import SEVERITIES, Example, Finding, Severity
from rewardsmith.audit.intervals import wilson_interval
from rewardsmith.audit.render_html import Section, render_html
from rewardsmith.audit.render_text import render_league, render_text
from rewardsmith.audit.report import SCHEMA, Check, Rate, Report
from rewardsmith.audit.run import audit
from rewardsmith.audit.write import report_schema, strict_json, write_report

__all__ = [
    "HOUSE_STYLE",
    "SCHEMA",
    "SEVERITIES",
    "Check",
    "Example",
    "Finding",
    "Rate",
    "Report",
    "Section",
    "Severity",
    "audit",
    "render_html",
    "render_league",
    "render_text",
    "report_schema",
    "strict_json",
    "wilson_interval",
    "write_report",
]
