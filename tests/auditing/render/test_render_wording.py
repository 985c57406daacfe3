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


@pytest.mark.parametrize(
    ("floor", "words"),
    [
        ("info", "12 questions: 7 clean, 4 with findings, 1 not run"),
        ("medium", "12 questions: 7 clean, 3 with findings, 1 with observations, 1 not run"),
        ("high", "12 questions: 7 clean, 2 with findings, 2 with observations, 1 not run"),
    ],
)
def test_a_question_counts_by_the_worst_that_it_found(floor, words):
    """Critical, high, medium, and `info` on a question that was clean before."""
    report = flawed_report()
    findings = (*report.findings[:3], replace(report.findings[3], probe="determinism"))
    assert wording.asked(replace(report, findings=findings), floor=floor) == words


def test_what_given_completions_show_belongs_to_their_one_question():
    checks = (Check("empty", "?", "clean"), Check("rollouts", "?", "finding"))
    found = (replace(EMPTY, probe="group_signal", severity="info"), replace(EMPTY, probe="gold_rates"))
    report = replace(clean_report(), checks=checks, findings=found)
    assert [(check.probe, outcome, worst) for check, outcome, worst in wording.outcomes(report)] == [
        ("empty", "clean", None),
        ("rollouts", "finding", "high"),
    ]


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
