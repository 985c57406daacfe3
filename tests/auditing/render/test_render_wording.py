"""The verdict in words, and the order of many."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.auditing.render.report_samples import EMPTY, ENUMERATION, LENGTH, SATURATED, clean_report, flawed_report

from rewardsmith.auditing.render import wording
from rewardsmith.auditing.report import Check


@pytest.mark.parametrize(
    ("findings", "floor", "words", "tone"),
    [
        ((), "medium", "Clean on 11 questions", "clean"),
        ((SATURATED,), "medium", "Clean on 11 questions", "clean"),
        ((EMPTY,), "medium", "1 finding, high", "high"),
        ((ENUMERATION, EMPTY, LENGTH), "medium", "3 findings, worst: critical", "critical"),
        ((ENUMERATION, EMPTY, LENGTH), "critical", "1 finding, critical", "critical"),
        ((LENGTH,), "high", "Clean on 10 questions", "clean"),
    ],
)
def test_the_headline_counts_what_is_at_or_above_the_floor(findings, floor, words, tone):
    report = replace(flawed_report(), findings=findings)
    assert wording.headline(report, floor=floor) == words
    assert wording.tone([report], floor=floor) == tone


def test_a_report_with_a_reason_not_to_judge_is_not_called_clean_and_findings_win():
    report = replace(clean_report(), not_judged="no honest answer could be scored")
    assert wording.headline(report) == "Not judged"
    assert wording.open_question(report) == "no honest answer could be scored"
    assert wording.tone([report]) == "unasked"
    assert wording.short_verdict(report) == "not judged"
    flawed = replace(report, findings=(EMPTY,))
    assert (flawed.verdict(), flawed.verdict("critical")) == ("findings", "not judged")
    assert wording.open_question(flawed) == ""


def test_what_could_escape_is_the_least_sure_of_the_clean_questions():
    checks = [Check("a", "?", "clean", n=9, bound=0.3), Check("b", "?", "finding", n=9, bound=0.9),
              Check("c", "?", "clean", n=9, bound=0.65), Check("d", "?", "clean")]  # fmt: skip
    report = replace(clean_report(), checks=tuple(checks))
    assert (report.escapable, report.summary()["escapable"]) == (0.65, 0.65)
    assert wording.open_question(report) == "a flaw on fewer than 65% of rows could have escaped"
    assert replace(clean_report(), checks=tuple(checks[3:])).escapable is None


def test_a_question_with_milder_findings_than_the_floor_has_observations():
    checks = [Check("a", "?", "finding"), Check("b", "?", "finding"), Check("c", "?", "not run"),
              Check("d", "?", "not run", applies=False)]  # fmt: skip
    found = (replace(EMPTY, probe="b", symptoms=(replace(EMPTY, probe="a", severity="low"),)),)
    report = replace(clean_report(), checks=tuple(checks), findings=found)
    expected = "4 questions: 0 clean, 1 with findings, 1 with observations, 1 not run, 1 not applicable"
    assert wording.asked(report) == expected
    assert list(report.questions("low").values()) == [0, 2, 0, 1, 1]


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
    assert [(check.probe, outcome, worst) for check, outcome, worst in report.outcomes()] == [
        ("empty", "clean", None),
        ("rollouts", "finding", "high"),
    ]


def test_the_joint_headline_counts_rewards():
    assert wording.joint_headline([clean_report(), clean_report()]) == "No findings in 2 rewards"
    assert wording.joint_headline([clean_report(), flawed_report()]) == "1 of 2 rewards has findings, worst: critical"
    unjudged = replace(clean_report(), not_judged="no key")
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
