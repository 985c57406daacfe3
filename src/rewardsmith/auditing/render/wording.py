"""Words and figures of a report, shared by terminal and page so that both agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rewardsmith.auditing.finding import SEVERITIES, Example, Finding, Severity, worst

if TYPE_CHECKING:
    from rewardsmith.auditing.comparison import Change, Comparison
    from rewardsmith.auditing.report import Curve, Report


def headline(report: Report, *, floor: Severity = "medium") -> str:
    """Return the verdict in a few words: "Clean on 27 questions", "Not judged", "3 findings, worst: critical"."""
    findings, verdict = report.at_least(floor), report.verdict(floor)
    if verdict == "clean":
        n = report.questions(floor)["clean"]
        return f"Clean on {n} question{'s' if n != 1 else ''}" if n else "Clean"  # with observations at most
    if verdict == "not judged":
        return "Not judged"
    if len(findings) == 1:
        return f"1 finding, {findings[0].severity}"
    return f"{len(findings)} findings, worst: {worst(findings)}"


def joint_headline(reports: Sequence[Report], *, floor: Severity = "medium") -> str:
    """Return the verdict over many rewards: how many have findings, and the worst severity."""
    if len(reports) == 1:
        return headline(reports[0], floor=floor)
    flawed = [report for report in reports if report.at_least(floor)]
    if not flawed:
        n_unjudged = sum(report.verdict(floor) == "not judged" for report in reports)
        return f"No findings in {len(reports)} rewards" + (f", {n_unjudged} not judged" if n_unjudged else "")
    severity = worst([finding for report in flawed for finding in report.at_least(floor)])
    verb = "has" if len(flawed) == 1 else "have"
    return f"{len(flawed)} of {len(reports)} rewards {verb} findings, worst: {severity}"


def tone(reports: Sequence[Report], *, floor: Severity = "medium") -> str:
    """Return the worst severity at or above `floor`, "unasked" if nothing was judged, else "clean"."""
    severity = worst([finding for report in reports for finding in report.at_least(floor)])
    if severity is not None:
        return severity
    return "clean" if any(report.verdict(floor) == "clean" for report in reports) or not reports else "unasked"


def league_order(reports: Sequence[Report], *, floor: Severity = "medium") -> list[int]:
    """Return positions of the reports, worst first: by severity, number of findings, name."""

    def key(position: int) -> tuple[int, int, str]:
        findings = reports[position].at_least(floor)
        severity = worst(findings)
        rank = -1 if severity is None else SEVERITIES.index(severity)
        return -rank, -len(findings), reports[position].target

    return sorted(range(len(reports)), key=key)


def number(value: float | None) -> str:
    """Write three significant digits; "unscored" if missing, and ±inf or NaN by name.

    >>> number(0.12345), number(1234567.0), number(None), number(1.0)
    ('0.123', '1,234,567', 'unscored', '1')
    """
    if value is None or math.isnan(value):
        return "unscored"
    if math.isinf(value):
        return "+∞" if value > 0 else "−∞"
    if value and (abs(value) >= 1e9 or abs(value) < 1e-4):
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def measured(finding: Finding) -> tuple[str, str]:
    """Write the value and its interval: shares in percent, seconds as time; "" if there is none."""
    shares, times = finding.unit.startswith("share"), finding.unit.startswith("seconds")
    show: Callable[[float], str] = percent if shares else duration if times else number
    value = "" if finding.value is None else show(finding.value)
    interval = "" if finding.interval is None else f"[{show(finding.interval[0])}, {show(finding.interval[1])}]"
    return value, interval


def scored(example: Example) -> str:
    """Write the reward of a row behind a finding, and what that is compared with."""
    over = "" if example.compared_with is None else f", compared with {number(example.compared_with)}"
    return f"scored {number(example.reward)}{over}"


def percent(share: float) -> str:
    """Write a share in whole percents, but never 0% or 100% unless exact.

    >>> percent(0.934), percent(0.0), percent(0.001), percent(0.999)
    ('93%', '0%', '0.1%', '99.9%')
    """
    if not math.isfinite(share):
        return number(share)
    rounded = f"{share:.0%}"
    return f"{share:.1%}" if rounded in ("0%", "100%") and share not in (0.0, 1.0) else rounded


def duration(seconds: float) -> str:
    """Write a time with a readable unit.

    >>> duration(0.0000024), duration(0.0042), duration(0.0996), duration(3.25), duration(75), duration(7320)
    ('2.4 µs', '4.2 ms', '100 ms', '3.2 s', '1 min 15 s', '2 h 2 min')
    """
    if not math.isfinite(seconds):
        return number(seconds)
    if 0 < seconds < 999.5e-6:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 1:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.0995 else f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def curve_line(curve: Curve) -> str:
    """Describe a curve in one sentence: its range, its gains, and the peak of gold."""
    last = curve.points[-1]
    if not last.kl:
        return f"{curve.name}: not drawn, as it needs more completions to a prompt"
    to = f"{curve.name}, up to {curve.knob} = {number(last.strength)} (KL {number(last.kl)})"
    if last.gold is None:
        return f"{to}: reward {last.rewards:+.2f} standard deviations, gold unknown"
    gains = f"{to}: reward {last.rewards:+.2f}, gold {last.gold:+.2f} standard deviations"
    if curve.turn is None:
        return f"{gains}, gold still rising"
    turn = curve.turn
    peak = f"at {curve.knob} = {number(turn.strength)} (KL {number(turn.kl)} [{number(turn.low)}, {number(turn.high)}])"
    return f"{gains}, gold highest {peak}, {'then falls' if turn.declines else 'but may still rise'}"


def symptoms(finding: Finding) -> str:
    """Name the findings that this one explains: "It explains enumeration and superset.", or ""."""
    names = list(dict.fromkeys(one.probe for one in finding.symptoms))
    listed = " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
    return f"It explains {listed}." if names else ""


def kind_of(report: Report) -> str:
    """Return the kind of reward, with its first four answer formats: "verifier, reads: bare; boxed"."""
    reads = "; ".join((*report.reads[:4], "…") if len(report.reads) > 4 else report.reads)
    return f"{report.kind}, reads: {reads}" if reads else report.kind


def asked(report: Report, *, floor: Severity = "medium") -> str:
    """Count the questions in one line: "31 questions: 25 clean, 3 with findings, 2 with observations, 1 not run"."""
    counts = report.questions(floor)
    words = {"finding": "with findings", "observation": "with observations"}
    parts = [f"{n} {words.get(outcome, outcome)}" for outcome, n in counts.items() if n or outcome == "clean"]
    noun = "question" if len(report.checks) == 1 else "questions"
    return f"{len(report.checks)} {noun}: {', '.join(parts)}"


def open_question(report: Report, *, floor: Severity = "medium") -> str:
    """Return what could have escaped a clean verdict, or the reason why there is none; else ""."""
    verdict = report.verdict(floor)
    if verdict == "clean" and report.escapable is not None:
        return f"a flaw on fewer than {percent(report.escapable)} of rows could have escaped"
    return report.not_judged if verdict == "not judged" else ""


def short_verdict(report: Report, *, floor: Severity = "medium") -> str:
    """Return one word for a table: the worst severity at or above `floor`, "clean" or "not judged"."""
    return worst(report.at_least(floor)) or report.verdict(floor)


def difference(comparison: Comparison) -> str:
    """Count the changes in one line, with the verdicts: "1 new, 2 fixed: Clean on 27 questions → 1 finding, high"."""
    counts = Counter(change.what for change in comparison.changes)
    parts = [f"{n} {what}" for what, n in counts.items()]
    before, after = (headline(side, floor=comparison.floor) for side in (comparison.before, comparison.after))
    return f"{', '.join(parts) or 'Nothing new'}: {before} → {after}"


def before_and_after(change: Change) -> tuple[str, str]:
    """Write the severities and the figures of a change, "low → high" if they differ."""
    known = [finding for finding in (change.before, change.after) if finding is not None]
    severities = dict.fromkeys(finding.severity for finding in known)
    figures = dict.fromkeys(" ".join(measured(finding)).strip() for finding in known)
    return " → ".join(severities), " → ".join(filter(None, figures))
