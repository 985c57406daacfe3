"""Write a report or a comparison as Markdown that GitHub shows as it was meant, whatever the reward's texts hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rewardsmith.auditing.finding import Finding, Severity
from rewardsmith.auditing.render import wording
from rewardsmith.auditing.render.visible import plain
from rewardsmith.auditing.report import Report

if TYPE_CHECKING:
    from rewardsmith.auditing.comparison import Comparison

MOST_BYTES = 60_000
"""Length of a text; GitHub takes 65,536 characters in a comment."""
_TOKENS = re.compile(r"`[^`]+`|[^\s`]+|\s+|`")
_HARMLESS = re.compile(  # words, numbers and a few signs, in brackets or quotation marks, with what ends a sentence
    r"""[("'“‘\[]*([A-Za-z]{1,30}([-'’/][A-Za-z]{1,30})*|[+−-]?\d[\d,.]{0,20}%?|[–—→=+·…×])?[)\]"'”’.,;:?!]*"""
)


def render_markdown(shown: Report | Comparison, *, floor: Severity = "medium") -> str:
    """Return Markdown for a pull request or a job summary, at most 60,000 bytes long.

    Words and numbers stay as they are. Everything else, such as a completion, is set as code, so that no HTML, link,
    picture or mention in it takes effect.

    Args:
        floor: mildest severity shown of a report; a comparison has its own.
    """
    return _fitted(_report_lines(shown, floor) if isinstance(shown, Report) else _comparison_lines(shown))


def _report_lines(report: Report, floor: Severity) -> Iterable[str]:
    yield f"### {_prose(wording.headline(report, floor=floor))}: {_code(report.target)}"
    facts = f"{report.n_rows:,} rows, {report.calls:,} completions sent"
    left = wording.open_question(report, floor=floor)
    yield f"{facts}; {_prose(left, 600)}." if left else f"{facts}."
    if report.checks:
        yield f"{_prose(wording.asked(report, floor=floor))}."
    for finding in report.at_least(floor):
        yield _item(finding.severity, finding, " ".join(wording.measured(finding)))
        for example in finding.examples[:1]:
            yield f"  - Example: {_code(example.completion)} {wording.scored(example)}"
    for check in report.checks:
        if check.status == "not run" and check.applies:
            yield f"- not run: {_code(check.probe)}: {_prose(check.note)}"


def _comparison_lines(comparison: Comparison) -> Iterable[str]:
    yield f"### {_prose(wording.difference(comparison))}"
    for name, report in (("Before", comparison.before), ("After", comparison.after)):
        left = wording.open_question(report, floor=comparison.floor)
        facts = f"{name}: {_code(report.target)}, {report.n_rows:,} rows"
        yield f"{facts}; {_prose(left, 600)}." if left else f"{facts}."
    for change in comparison.changes:
        severities, figures = wording.before_and_after(change)
        yield _item(f"{change.what}, {severities}", change.finding, figures)
    for name, checks in (("before", comparison.asked_before), ("after", comparison.asked_after)):
        for check in checks:
            yield f"- asked only {name}: {_code(check.probe)}" + (f": {_prose(check.note)}" if check.note else "")


def _item(what: str, finding: Finding, figures: str) -> str:
    figures = f" ({_prose(figures.strip())}, {finding.n:,} rows)" if figures.strip() else ""
    also = f" It explains {', '.join(_code(one.probe) for one in finding.symptoms)}." if finding.symptoms else ""
    said = f"{_prose(finding.message)}{also} → {_prose(finding.advice, 600)}"
    return f"- **{what}** {_code(finding.probe)}{figures}: {said}"


def _fitted(lines: Iterable[str]) -> str:
    """Join lines, lists apart from paragraphs, up to `MOST_BYTES`; the rest is counted."""
    kept, size, left = list[str](), 0, 0
    for line in lines:
        text = line if kept and kept[-1].lstrip()[:2] == line.lstrip()[:2] == "- " else f"\n{line}"
        size += len(text.encode()) + 1
        if size > MOST_BYTES:
            left += 1
        else:
            kept.append(text)
    return "\n".join([*kept, *([f"\n{left} more lines are in the report."] if left else [])]).strip() + "\n"


def _prose(text: str, limit: int = 300) -> str:
    """Return untrusted text on one line: harmless tokens as they are, and every other one as code."""
    shown = ""
    for token in _TOKENS.findall(plain(text, limit=limit)):
        if token.isspace() or _HARMLESS.fullmatch(token):
            shown += token
        else:  # two runs of backticks side by side would be one
            inside = token[1:-1] if len(token) > 2 and token[0] == token[-1] == "`" else token
            shown += (" " if shown.endswith("`") else "") + _code(inside)
    return shown


def _code(text: str, limit: int = 300) -> str:
    """Return untrusted text as inline code, in more backticks than it holds in a row."""
    text = plain(text, limit=limit) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{space}{text}{space}{fence}"
