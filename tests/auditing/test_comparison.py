"""Two made-up reports whose differences are known, and what cannot be compared."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from rewardsmith.auditing import Finding, Report, compare_reports, write_report
from rewardsmith.auditing.report import SCHEMA, Check, Provenance

PROVENANCE = Provenance("0.1.0", "", "2026-03-01T12:00:00+00:00", {}, "0123", {"": "ab"})


def finding(probe, severity="high", value=0.5, interval=(0.4, 0.6), message="A list scores as well.", **more):
    return Finding(probe, severity, message, value, interval, 64, "Use exact_number.", **more)


def report(*findings, not_run=(), probes=("enumeration", "superset", "empty", "search"), **more):
    checks = [
        Check(probe, f"Is {probe} asked?", "not run", "the rows have no answers")
        if probe in not_run
        else Check(probe, f"Is {probe} asked?", "finding" if any(f.probe == probe for f in findings) else "clean")
        for probe in probes
    ]
    base = Report("m:f", "trl", "verifier", 64, 0, tuple(findings), tuple(checks), provenance=PROVENANCE)
    return replace(base, **more)


def changes(before, after, **options):
    """(what, probe) of every change, and whether the later report is worse."""
    compared = compare_reports(before, after, **options)
    return [(change.what, change.finding.probe) for change in compared.changes], compared.worse


def test_findings_are_new_fixed_or_the_same():
    before = report(finding("enumeration"), finding("superset"))
    after = report(finding("superset"), finding("empty"))
    assert changes(before, after) == ([("new", "empty"), ("fixed", "enumeration")], True)
    assert changes(after, before) == ([("new", "enumeration"), ("fixed", "empty")], True)
    assert changes(before, before) == ([], False)
    assert changes(before, report()) == ([("fixed", "enumeration"), ("fixed", "superset")], False)


@pytest.mark.parametrize(
    ("value", "interval", "severity", "expected", "worse"),
    [
        (0.55, (0.45, 0.65), "high", [], False),  # each inside the other's interval
        (0.61, (0.5, 0.7), "high", [("changed", "empty")], False),  # 0.61 is outside of 0.4 to 0.6
        (0.45, (0.42, 0.48), "high", [("changed", "empty")], False),  # 0.5 is outside of 0.42 to 0.48
        (0.5, (0.4, 0.6), "medium", [("changed", "empty")], False),
        (0.5, (0.4, 0.6), "critical", [("changed", "empty")], True),
        (None, None, "high", [], False),
    ],
)
def test_a_finding_has_changed_in_severity_or_by_more_than_its_interval(value, interval, severity, expected, worse):
    after = report(finding("empty", severity, value, interval))
    assert changes(report(finding("empty")), after) == (expected, worse)


def test_the_floor_decides_what_is_a_finding():
    before, after = report(finding("empty", "low")), report(finding("empty", "medium"))
    assert changes(before, after) == ([("new", "empty")], True)
    assert changes(after, before) == ([("fixed", "empty")], False)
    assert changes(before, after, floor="high") == ([], False)
    assert changes(before, after, floor="low") == ([("changed", "empty")], True)


def test_a_finding_whose_question_is_no_longer_asked_is_not_fixed():
    before = report(finding("empty"), finding("group_signal"), probes=("empty", "rollouts"))
    after = report(not_run=("empty", "rollouts"), probes=("empty", "rollouts"), not_judged="the rows have no answers")
    assert changes(before, after) == ([("not asked", "empty"), ("not asked", "group_signal")], True)
    assert changes(before, report(probes=("empty", "rollouts")))[0] == [("fixed", "empty"), ("fixed", "group_signal")]


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (report(), report(not_judged="no answers"), True),
        (report(finding("empty")), report(not_judged="no answers"), True),
        (report(not_judged="no answers"), report(), False),
        (report(not_judged="no answers"), report(not_judged="no answers"), False),
        (report(not_judged="no answers"), report(finding("empty")), True),
    ],
)
def test_a_reward_that_is_no_longer_judged_is_worse(before, after, worse):
    assert compare_reports(before, after).worse is worse


def test_questions_asked_in_one_report_only_are_listed_with_the_reason_of_the_other():
    compared = compare_reports(report(), report(not_run=("search",), probes=("enumeration", "empty", "search", "tone")))
    assert [(check.probe, check.note) for check in compared.asked_before] == [
        ("superset", "no such question"),
        ("search", "the rows have no answers"),
    ]
    assert [(check.probe, check.note) for check in compared.asked_after] == [("tone", "no such question")]


def test_a_finding_of_another_source_or_another_subject_is_another_finding():
    broken = [finding("failures", message=f"Source {name!r}: 3 of 20 completions get no reward.") for name in "ab"]
    both = [("new", "failures"), ("fixed", "failures")]
    assert changes(report(broken[0]), report(broken[1])) == (both, True)
    forms = [finding("answer_equivalence", message=f"Right answers ({form}) are refused on 33%.") for form in "xyz"]
    later = replace(forms[1], message="Right answers (y) are refused on 40%.")
    refused = [("new", "answer_equivalence"), ("fixed", "answer_equivalence")]
    assert changes(report(*forms[:2]), report(later, forms[2])) == (refused, True)


def test_a_symptom_that_becomes_a_finding_of_its_own_is_not_new_and_a_new_one_goes_with_its_cause():
    symptom = finding("superset", cause="enumeration")
    cause = finding("enumeration", symptoms=(symptom,))
    assert changes(report(cause), report(finding("enumeration"), finding("superset"))) == ([], False)
    assert changes(report(), report(cause)) == ([("new", "enumeration")], True)
    assert changes(report(finding("enumeration")), report(cause)) == ([("new", "superset")], True)


def test_reports_are_read_from_files_and_folders_and_give_a_record(tmp_path):
    infinite = finding("search", value=float("inf"), interval=(0.1, float("inf")))
    before, after = report(finding("empty"), infinite), report(infinite, finding("enumeration"))
    write_report(before, tmp_path / "before")
    write_report(after, tmp_path / "after", "critical")  # its findings stand among the observations
    compared = compare_reports(tmp_path / "before", str(tmp_path / "after" / "report.json"))
    record = json.loads(json.dumps(compared.as_json()))
    assert [entry["after"]["probe"] for entry in record["new"]] == ["enumeration"]
    assert [entry["before"]["probe"] for entry in record["fixed"]] == ["empty"]
    assert (record["worse"], record["changed"], record["not_asked"]) == (True, [], [])
    assert (record["before"]["verdict"], record["after"]["target"]) == ("findings", "m:f")
    assert record["schema"] == "rewardsmith.diff/1"


def test_reports_of_other_rows_or_other_questions_are_refused():
    other = replace(report(), provenance=PROVENANCE._replace(rows_digest="4567"))
    with pytest.raises(ValueError, match=r"different rows \(digests 0123 and 4567\)\. Audit both on the same file\.$"):
        compare_reports(report(), other)
    pairs = report(probes=("accuracy", "length", "failures"), kind="reward model, one score")
    with pytest.raises(
        ValueError, match=r"share no question\. The first is of a 'verifier', the second of a 'reward m"
    ):
        compare_reports(report(probes=("empty", "failures")), pairs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"is not JSON \(Expecting"),
        ("[" * 100_000, "is not JSON"),
        ('"\udcff"', "is not JSON"),
        ("[]", "has the schema None"),
        ('{"schema": "rewardsmith.audit/1"}', f"has the schema 'rewardsmith.audit/1', .*'{SCHEMA}'"),
        ('{"schema": "rewardsmith.audit.collection/1"}', ".* Name the report of one reward"),
        (json.dumps({"schema": SCHEMA}), r"is broken at \$: 'target' is a required property"),
        (json.dumps({**report().as_json(), "calls": "many"}), r"is broken at \$\.calls: 'many'"),
    ],
)
def test_a_file_that_is_no_report_is_named_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=rf"^compare_reports: {re.escape(str(path))} {message}"):
        compare_reports(report(), path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"report\.json'$"):
        compare_reports(tmp_path, report())
