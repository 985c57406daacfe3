"""Ask of a reward, offline, how it can be gamed, where it is blind, noisy or inconsistent, and what helps."""

from rewardsmith.audit.finding import SEVERITIES, Example, Finding, Severity
from rewardsmith.audit.intervals import wilson_interval
from rewardsmith.audit.report import SCHEMA, Check, Rate, Report
from rewardsmith.audit.run import audit

__all__ = ["SCHEMA", "SEVERITIES", "Check", "Example", "Finding", "Rate", "Report", "Severity", "audit", "wilson_interval"]
