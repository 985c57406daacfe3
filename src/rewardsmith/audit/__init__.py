"""Ask of a reward, offline, how it can be gamed, where it is blind, noisy or inconsistent, and what helps."""

from rewardsmith.audit.finding import SEVERITIES, Example, Finding, Severity
from rewardsmith.audit.intervals import wilson_interval
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
    "short_verdict",
    "strict_json",
    "wilson_interval",
    "write_report",
]
