"""Markdown for GitHub, read by another parser: texts of the reward stay texts, whatever they hold."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.auditing.render.report_samples import clean_report, flawed_report

from rewardsmith.auditing import compare_reports, render_markdown
from rewardsmith.auditing.render.markdown import _code, _prose
from rewardsmith.auditing.render.visible import plain
from rewardsmith.auditing.report import Check

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = [
    "<img src=x onerror=alert(1)> <!-- -->",
    "</details><script>alert(1)</script>",
    "![x](https://example.org/x.png) [y](javascript:alert(1)) https://example.org www.example.org a@example.org",
    "@everyone #1 GH-1 owner/name#2 :tada: $x$ $`x`$",
    "`` ` ``` `a``b``` c` | d |\n|---|\n| e |",
    "\n\n# heading\n\n- list\n\n```\nfence",
    "\\`a\\` ~~a~~ **b** __c__ &lt; &#64;all",
    "\x00\x1b[31m\u202e\ud800\u200b",
    "` @a `b` @c ``d`` @e",
]
ALLOWED = {"text", "code_inline", "strong_open", "strong_close", "softbreak"}
BLOCKS = {"heading_open", "paragraph_open", "bullet_list_open", "list_item_open", "inline"}


def texts_of(markdown):
    """Code and other text of the document; every other kind of inline or block is a failure."""
    code, prose = [], []
    for token in PARSER.parse(markdown):
        assert token.type.replace("_close", "_open") in BLOCKS, token.type
        for child in token.children or ():
            assert child.type in ALLOWED, child.type
            (code if child.type == "code_inline" else prose).append(child.content)
    return code, prose


def acts_on_github(prose):
    """What GitHub itself turns into something in text outside of code: mentions, issues, links, emoji, math, HTML."""
    return re.findall(r"[@#<>$\\`|_~*&]|\w:\w|:\w+:|www\.\w|https?:", prose)


def poisoned(report, text):
    findings = [
        replace(f, message=f"{text} {f.message}", advice=text, probe=f"{f.probe} {text}") for f in report.findings
    ]
    findings[:1] = [replace(f, examples=(replace(f.examples[0], completion=text),)) for f in findings[:1]]
    checks = (*report.checks, Check(text, text, "not run", text))
    return replace(report, target=text, findings=tuple(findings), checks=checks, not_judged=text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_of_a_report_have_no_effect(text):
    flawed, clean = poisoned(flawed_report(), text), poisoned(clean_report(), text)
    nothing = replace(flawed, findings=())
    compared = compare_reports(flawed, nothing), compare_reports(nothing, flawed, floor="info")
    shown = [render_markdown(one, floor="info") for one in (flawed, clean, *compared)]
    for markdown in shown:
        code, prose = texts_of(markdown)
        assert acts_on_github(" ".join(prose)) == []
        assert any(plain(text)[:20].strip() in inside for inside in code)


@pytest.mark.slow
@given(st.text(min_size=1, max_size=60))
def test_code_is_what_was_given_made_visible(text):
    """Of CommonMark: one space is taken off both ends if both have one and the code is not blank."""
    (inline,) = [token for token in PARSER.parse(f"- x {_code(text)}") if token.type == "inline"]
    assert [child.type for child in inline.children] == ["text", "code_inline"]
    assert inline.children[1].content == plain(text)


@pytest.mark.slow
@given(st.text(alphabet="`@<a \\*[]()!#|,.", max_size=80))
def test_no_mixture_of_backticks_lets_a_token_out(text):
    code, prose = texts_of(f"- **x** {_prose(text)}")
    assert acts_on_github(" ".join(prose)) == []
    assert sum(part.count("@") for part in code) == plain(text).count("@")


def test_ordinary_words_stay_words():
    said = "Two answers joined by 'or' score like the right one on 98.5% of 1,024 rows (100% of right minus wrong)."
    assert _prose(said) == said
    assert _prose("Use `rewards.exact_number`, or ask <b>.") == "Use `rewards.exact_number`, or ask `<b>.`"


@pytest.mark.slow
def test_a_long_report_fits_a_comment_and_says_what_is_left_out():
    report = flawed_report()
    many = [replace(report.findings[0], probe=f"probe{k}", message="é\u200b@" * 60) for k in range(150)]
    long = render_markdown(replace(report, findings=tuple(many)))
    assert len(long.encode()) < 65_536
    assert re.search(r"\n\d+ more lines are in the report\.\n$", long)


def test_a_report_begins_with_its_verdict_and_shows_a_row_per_finding():
    lines = render_markdown(flawed_report()).splitlines()
    assert lines[0] == "### 3 findings, worst: critical: `my_rewards.py:number_anywhere`"
    assert [line[:25] for line in lines if line.startswith("- **")] == [
        "- **critical** `enumerati", "- **high** `zero_width` (", "- **medium** `filler_gain"
    ]  # fmt: skip
    assert "  - Example: `70 or 71 or 72 or 73 or 74` scored 1, compared with 0" in lines
    assert lines[-1] == "- not run: `gold_error_rates`: rows hold no `gold`"


def test_a_comparison_begins_with_its_counts_and_both_verdicts():
    before, after = flawed_report(), replace(flawed_report(), findings=flawed_report().findings[1:2])
    assert render_markdown(compare_reports(before, after)).splitlines()[:3] == [
        "### 2 fixed: 3 findings, worst: critical → 1 finding, high", "",
        "Before: `my_rewards.py:number_anywhere`, 64 rows.",
    ]  # fmt: skip
