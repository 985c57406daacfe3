"""The report in a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from tests.auditing.render.report_samples import ENUMERATION, clean_report, flawed_report

from rewardsmith.auditing.render.text import render_league, render_text, safe_text
from rewardsmith.auditing.report import Check


def printed(render, *arguments, width=140, **options):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    render(*arguments, console, **options)
    return console.file.getvalue()


def test_the_verdict_is_the_first_line_and_findings_follow_worst_first():
    text = printed(render_text, flawed_report())
    assert text.splitlines()[0] == "3 findings, worst: critical  my_rewards.py:number_anywhere"
    assert (
        text.index("critical  enumeration") < text.index("high      zero_width") < text.index("medium    filler_gain")
    )
    assert "[82%, 99%]" in text
    assert "1 observation below medium" in text
    assert "not run: gold_error_rates: rows hold no `gold`" in text
    assert "3 unscored: timeout" in text
    assert "reads: boxed; boxed in a sentence; think, then boxed" in " ".join(text.split())


def test_a_clean_report_prints_no_table_but_what_could_have_escaped():
    text = printed(render_text, clean_report())
    assert text.startswith("Clean on 1 question; a flaw on fewer than 7% of rows could have escaped  ")
    assert "severity" not in text


def test_questions_that_could_not_be_asked_for_one_reason_share_a_line():
    checks = [
        Check(probe, "?", "not run", note) for probe, note in (("a", "no key"), ("b", "no key"), ("c", "no `gold`"))
    ]
    checks.append(Check("d", "?", "not run", "no answers here", applies=False))
    report = replace(clean_report(), checks=tuple(checks), not_judged="a and 1 more could not be asked (no key)")
    text = printed(render_text, report)
    assert text.startswith("Not judged: a and 1 more could not be asked (no key)  ")
    assert "4 questions: 0 clean, 3 not run, 1 not applicable" in " ".join(text.split())
    assert [line for line in text.splitlines() if line.startswith("not run")] == [
        "not run: a, b: no key",
        "not run: c: no `gold`",
    ]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_advice_is_there_at_every_width(width):
    text = " ".join(printed(render_text, flawed_report(), width=width).split())
    assert "Residualize" in text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("[bold red]x[/]", "[bold red]x[/]"),
        ("[link=http://evil]x", "[link=http://evil]x"),
        ("\x1b[2J\x1b]0;title\x07", "U+001B[2JU+001B]0;titleU+0007"),
        ("\u202eevil", "U+202Eevil"),
        ("a\rb\x08", "aU+000DbU+0008"),
        ("\x9b31m", "U+009B31m"),
    ],
)
def test_untrusted_text_is_neither_markup_nor_escape_code(hostile, shown):
    assert safe_text(hostile).plain == shown
    finding = replace(ENUMERATION, message=hostile, advice=hostile, probe=hostile, unit=hostile)
    report = replace(
        flawed_report(), target=hostile, kind=hostile, contract=hostile, findings=(finding,), unscored={hostile: 1}
    )
    text = printed(render_text, report, width=300) + printed(render_league, [report], width=300)
    assert not any(ord(character) < 32 and character != "\n" for character in text)
    assert shown in text


def test_the_league_ranks_the_worst_first():
    text = printed(render_league, [clean_report("calm"), flawed_report()])
    lines = text.splitlines()
    assert lines[0] == "1 of 2 rewards has findings, worst: critical"
    assert lines[2].split()[0] == "my_rewards.py:number_anywhere"
    assert lines[3].split()[0] == "calm"
