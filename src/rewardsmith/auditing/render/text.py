"""Print a report in the terminal: the verdict, then the findings, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rewardsmith.auditing.finding import Finding, Severity
from rewardsmith.auditing.render import wording
from rewardsmith.auditing.render.visible import visible

if TYPE_CHECKING:
    from rewardsmith.auditing.comparison import Comparison
    from rewardsmith.auditing.report import Report

COLORS = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "blue",
    "info": "dim",
    "clean": "bold green",
    "unasked": "dim",
}
_STYLES = {"plain": "", "mark": "magenta", "odd": "underline"}


def safe_text(text: str, *, limit: int = 300, style: str = "") -> Text:
    """Return untrusted text for rich on one line, without markup, escape codes or control characters."""
    result = Text(style=style)
    for piece in visible(text, limit=limit, multiline=False):
        result.append(piece.text, style=_STYLES[piece.kind])
    return result


def render_text(report: Report, console: Console, *, floor: Severity = "medium") -> None:
    """Print the verdict at `floor`, the audited reward and the findings; observations are only counted."""
    findings = report.at_least(floor)
    verdict = Text(wording.headline(report, floor=floor), COLORS[wording.tone([report], floor=floor)])
    if left := wording.open_question(report, floor=floor):
        verdict.append(": " if report.not_judged else "; ").append_text(safe_text(left, limit=600))
    console.print(verdict.append("  ").append_text(safe_text(report.target, style="not bold default")))
    facts = [
        f"{report.n_rows:,} rows",
        f"{report.calls:,} completions sent, {wording.duration(report.seconds)} inside the reward",
    ]
    facts += [wording.asked(report, floor=floor)] if report.checks else []
    facts += [f"seed {report.seed}"]
    line = safe_text(wording.kind_of(report)).append(" · ")
    line.append_text(safe_text(report.contract))
    line.append(" · " + " · ".join(facts))
    for reason, count in report.unscored.items():
        line.append(f" · {count:,} unscored: ", "yellow").append_text(safe_text(reason, limit=80))
    line.stylize("dim")
    console.print(line)
    if findings:
        console.print(_findings_table(findings, narrow=console.width < 100))
    for curve in report.curves:
        console.print(safe_text(wording.curve_line(curve)))
    n_rest = len(report.findings) - len(findings)
    if n_rest:
        console.print(Text(f"{n_rest} observation{'s' if n_rest > 1 else ''} below {floor}: see the report.", "dim"))
    reasons: dict[str, list[str]] = {}
    for check in report.checks:
        if check.status == "not run" and check.applies:
            reasons.setdefault(check.note, []).append(check.probe)
    for note, probes in reasons.items():
        line = Text("not run: ", "dim").append_text(safe_text(", ".join(probes)))
        console.print(line.append(": ").append_text(safe_text(note, limit=200)) if note else line)


def text_of(report: Report, *, floor: Severity = "medium") -> str:
    """Return what `render_text` prints, without colors."""
    console = Console(file=StringIO(), width=96, color_system=None)
    render_text(report, console, floor=floor)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def render_comparison(comparison: Comparison, console: Console) -> None:
    """Print the counts with both verdicts, the changes, and the questions asked in one report only."""
    style = COLORS["high"] if comparison.worse else COLORS["clean"]
    console.print(Text(wording.difference(comparison), style))
    for name, report in (("before", comparison.before), ("after", comparison.after)):
        facts = f"{report.target}, {report.n_rows:,} rows, seed {report.seed}"
        left = wording.open_question(report, floor=comparison.floor)
        console.print(Text(f"{name}: ", "dim").append_text(safe_text(f"{facts}; {left}" if left else facts, limit=600)))
    for change in comparison.changes:
        severities, figures = wording.before_and_after(change)
        line = Text(f"{change.what}: ", "bold").append(severities, COLORS[change.finding.severity])
        line.append(" ").append_text(safe_text(change.finding.probe, limit=60))
        console.print(line.append(f" {figures}" if figures else "", "dim"))
        message = safe_text(change.finding.message)
        if also := wording.symptoms(change.finding):
            message.append(" ").append_text(safe_text(also))
        console.print(Padding(message, (0, 0, 0, 4), expand=False))
    for name, checks in (("before", comparison.asked_before), ("after", comparison.asked_after)):
        for check in checks:
            line = Text(f"asked only {name}: ", "dim").append_text(safe_text(check.probe, limit=80))
            console.print(line.append(": ").append_text(safe_text(check.note, limit=200)) if check.note else line)


def render_league(reports: Sequence[Report], console: Console, *, floor: Severity = "medium") -> None:
    """Print the joint verdict and one line per reward, worst first."""
    console.print(Text(wording.joint_headline(reports, floor=floor), COLORS[wording.tone(reports, floor=floor)]))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("reward", overflow="ellipsis", no_wrap=True, max_width=max(20, console.width - 54))
    for heading, width in (("verdict", 8), ("worst finding", 19)):
        table.add_column(heading, no_wrap=True, min_width=width)
    for heading in ("findings", "sent"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for position in wording.league_order(reports, floor=floor):
        report = reports[position]
        findings = report.at_least(floor)
        table.add_row(
            safe_text(report.target, limit=80),
            Text(wording.short_verdict(report, floor=floor), COLORS[wording.tone([report], floor=floor)]),
            safe_text(findings[0].probe, limit=60) if findings else Text(""),
            Text(str(len(findings))),
            Text(f"{report.calls:,}"),
        )
    console.print(table)


def _findings_table(findings: Sequence[Finding], *, narrow: bool) -> Table:
    """Return a table with one row per finding; on a narrow terminal the advice goes below its message."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 1, 0))
    table.add_column("severity", no_wrap=True)
    table.add_column("probe", overflow="fold", max_width=24)
    table.add_column("what was found" if not narrow else "what was found, and what to do", overflow="fold", ratio=3)
    table.add_column("value", justify="right")
    table.add_column("n", justify="right", no_wrap=True)
    if not narrow:
        table.add_column("what to do", overflow="fold", ratio=2)
    for finding in findings:
        said = " ".join(filter(None, (finding.message, finding.why, wording.symptoms(finding))))
        message, advice = safe_text(said, limit=600), safe_text(finding.advice)
        value, interval = wording.measured(finding)
        cells = [
            Text(finding.severity, COLORS[finding.severity]),
            safe_text(finding.probe, limit=60),
            message.append("\n").append_text(Text("→ ", "green")).append_text(advice) if narrow else message,
            Text(value, "bold").append(f"\n{interval}" if interval else "", "not bold dim"),
            Text(f"{finding.n:,}"),
        ]
        table.add_row(*cells, *([] if narrow else [advice]))
    return table
