"""The verdict in words, and the order of many."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_samples import EMPTY, ENUMERATION, LENGTH, SATURATED, clean_report, flawed_report

from rewardsmith.auditing.render import wording
from rewardsmith.auditing.report import Check


@pytest.mark.parametrize(
    ("findings", "floor", "words", "tone"),
    [
        ((), "medium", "Clean", "clean"),
        ((SATURATED,), "medium", "Clean", "clean"),
        ((EMPTY,), "medium", "1 finding, high", "high"),
        ((ENUMERATION, EMPTY, LENGTH), "medium", "3 findings, worst: critical", "critical"),
        ((ENUMERATION, EMPTY, LENGTH), "critical", "1 finding, critical", "critical"),
        ((LENGTH,), "high", "Clean", "clean"),
    ],
)
def test_the_headline_counts_what_is_at_or_above_the_floor(findings, floor, words, tone):
    report = replace(flawed_report(), findings=findings)
    assert wording.headline(report, floor=floor) == words
    assert wording.tone([report], floor=floor) == tone


def test_a_report_in_which_nothing_could_be_asked_is_not_called_clean():
    report = replace(clean_report(), checks=(Check("empty", "?", "not run", "no honest answer could be scored"),))
    assert wording.headline(report) == "Not judged: no probe could run"
    assert wording.tone([report]) == "unasked"
    assert wording.short_verdict(report) == "not judged"


def test_the_joint_headline_counts_rewards():
    assert wording.joint_headline([clean_report(), clean_report()]) == "No findings in 2 rewards"
    assert wording.joint_headline([clean_report(), flawed_report()]) == "1 of 2 rewards has findings, worst: critical"
    unjudged = replace(clean_report(), checks=(Check("empty", "?", "not run"),))
    assert wording.joint_headline([clean_report(), unjudged]) == "No findings in 2 rewards, 1 not judged"
    assert wording.joint_headline([flawed_report()]) == wording.headline(flawed_report())


def test_the_league_puts_the_worst_first_then_the_most_then_the_name():
    reports = [
        clean_report("b"),
        clean_report("a"),
        replace(flawed_report(), findings=(EMPTY,)),
        replace(flawed_report(), findings=(LENGTH, LENGTH)),
        replace(flawed_report(), findings=(EMPTY, LENGTH)),
    ]
    assert wording.league_order(reports) == [4, 2, 3, 1, 0]


def test_shares_read_as_percent_and_other_units_as_numbers():
    assert wording.measured(ENUMERATION) == ("95%", "[82%, 99%]")  # 61/64 = 0.953
    assert wording.measured(LENGTH) == ("0.0312", "[0.024, 0.038]")
    assert wording.measured(SATURATED) == ("88%", "")
    assert wording.measured(replace(SATURATED, unit="seconds per row", value=0.0042)) == ("4.2 ms", "")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "unscored"),
        (float("nan"), "unscored"),
        (float("inf"), "+∞"),
        (-2.5, "-2.5"),
        (0.0, "0"),
        (1e-7, "1.00e-07"),
    ],
)
def test_a_missing_score_is_never_a_number(value, words):
    assert wording.number(value) == words
