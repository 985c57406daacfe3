"""JUnit XML, read back by junitparser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.auditing.render.report_samples import clean_report, flawed_report
from tests.installed import part_of

from rewardsmith.auditing import render_junit
from rewardsmith.auditing.finding import Example
from rewardsmith.auditing.report import Check

junitparser = part_of("junitparser", "junitparser")


def suite_of(report, **options):
    (suite,) = junitparser.JUnitXml.fromstring(render_junit(report, **options).encode())
    return suite


def results_of(suite):
    return {case.name: [type(result).__name__.lower() for result in case.result] for case in suite}


def test_every_question_is_a_test_case():
    report = flawed_report()
    suite = suite_of(report)
    failed = {"enumeration", "zero_width", "filler_gain"}
    assert results_of(suite) == {
        check.probe: ["failure"] if check.probe in failed else ["skipped"] if check.status == "not run" else []
        for check in report.checks
    }
    assert (suite.tests, suite.failures, suite.skipped, suite.errors) == (len(report.checks), 3, 1, 0)
    assert (suite.name, suite.time) == ("my_rewards.py:number_anywhere", 41.73)
    assert {p.name: p.value for p in suite.properties()}["date"] == "2026-03-01T12:00:00+00:00"


def test_a_failure_holds_severity_figure_remedy_and_rows_and_a_skip_its_reason():
    cases = {case.name: case for case in suite_of(flawed_report())}
    (failure,) = cases["enumeration"].result
    assert failure.type == "critical"
    assert failure.message == "Several answers at once score like the right one on 61 of 64 rows."
    for said in ("95% [82%, 99%] share of rows", "n = 64", "Use rewards.exact_number", "70 or 71 or 72 or 73 or 74"):
        assert said in failure.text
    assert cases["gold_error_rates"].result[0].message == "rows hold no `gold`"


def test_the_floor_decides_what_fails():
    assert results_of(suite_of(flawed_report(), floor="high"))["filler_gain"] == []


def test_a_symptom_fails_its_own_question_and_a_finding_of_no_question_has_its_own_case():
    report = flawed_report()
    symptom = replace(report.findings[0], probe="empty", cause="enumeration")
    other = replace(report.findings[1], probe="group_signal")
    grouped = replace(report, findings=(replace(report.findings[0], symptoms=(symptom,)), other))
    results = results_of(suite_of(grouped))
    assert results["empty"] == results["group_signal"] == ["failure"]
    asked = replace(grouped, checks=(*report.checks, Check("rollouts", "Do completions differ?", "clean")))
    assert "group_signal" not in results_of(suite_of(asked))
    assert results_of(suite_of(asked))["rollouts"] == ["failure"]


def test_a_reward_that_was_not_judged_is_an_error_with_the_reason():
    suite = suite_of(replace(clean_report(), not_judged="the rows have no answers"))
    assert results_of(suite)["verdict"] == ["error"]
    assert [case.result[0].message for case in suite if case.name == "verdict"] == ["the rows have no answers"]
    assert (suite.tests, suite.errors) == (2, 1)


HOSTILE = "]]></failure><x/> & < > \" ' \x00\x08\x0b\x1b[31m\x7f\x85\ud800\udfff\ufffe\uffff\u202e\u2028\r\n\t"


@pytest.mark.parametrize("text", [HOSTILE, "]]>", "&#0;", "<!ENTITY x SYSTEM 'file:///etc/passwd'>"])
def test_hostile_texts_are_valid_xml(text):
    report = flawed_report()
    example = Example(text, text, 1.0, 0.0, text)
    found = replace(report.findings[0], probe=text, message=text, advice=text, unit=text, examples=(example,))
    made = report.provenance._replace(command=text)
    checks = (Check(text, text, "not run", text), Check("other", text, "not run", text))
    hostile = replace(
        report, target=text, kind=text, contract=text, findings=(found,), checks=checks, provenance=made,
        not_judged=text,
    )  # fmt: skip
    suite = suite_of(hostile)
    assert (suite.tests, suite.failures, suite.skipped) == (2, 1, 1)
    assert suite_of(replace(hostile, findings=())).errors == 1


@pytest.mark.slow
@given(st.text(max_size=50))
def test_any_text_is_read_back(text):
    finding = replace(flawed_report().findings[0], message=text)
    suite = suite_of(replace(flawed_report(), findings=(finding,)))
    assert results_of(suite)["enumeration"] == ["failure"]
