"""Reports on disk."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest
from tests.auditing.render.report_samples import EMPTY, clean_report, curved_report, flawed_report

from rewardsmith.auditing.finding import Example
from rewardsmith.auditing.render.write import report_schema, strict_json, write_report
from rewardsmith.auditing.report import SCHEMA, Estimate


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.slow
@pytest.mark.parametrize("report", [flawed_report(), clean_report(), curved_report()])
@pytest.mark.parametrize("floor", ["info", "medium", "critical"])
def test_a_report_fits_the_published_schema(report, floor):
    record = json.loads(strict_json(report.as_json(floor)), parse_constant=refuse_constant)
    jsonschema.Draft202012Validator.check_schema(report_schema())
    jsonschema.validate(record, report_schema())


def test_the_schema_names_every_field_and_the_version():
    fields = report_schema()["$defs"]["report"]
    whole = replace(curved_report(), provenance=flawed_report().provenance, estimate=Estimate(392, 9.8, 0.784))
    assert set(fields["required"]) == set(clean_report().as_json())
    optional = {"curves", "reliability", "provenance", "estimate"}
    assert set(fields["properties"]) == {*fields["required"], *optional} == set(whole.as_json())
    finding = report_schema()["$defs"]["finding"]
    assert set(finding["properties"]) == set(finding["required"]) == set(EMPTY.as_json())
    assert fields["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize(
    "broken",
    [
        {"verdict": "maybe"},
        {"schema": "rewardsmith.audit/0"},
        {"calls": -1},
        {"extra": 1},
        {"findings": [{"probe": "x"}]},
        {"unscored": {"timeout": "three"}},
    ],
)
def test_the_schema_refuses_what_is_no_report(broken):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**clean_report().as_json(), **broken}, report_schema())


@pytest.mark.slow
def test_one_report_gives_its_own_record_and_a_page(tmp_path):
    paths = write_report(flawed_report(), str(tmp_path / "deep" / "er"), "high")
    record = json.loads(paths.json.read_text())
    jsonschema.validate(record, report_schema())
    assert (record["verdict"], len(record["findings"]), record["fail_on"]) == ("findings", 2, "high")
    assert "2 findings, worst: critical" in paths.html.read_text(encoding="utf-8")


def test_several_reports_give_a_collection(tmp_path):
    paths = write_report([flawed_report(), clean_report()], tmp_path, "medium", title="Two")
    record = json.loads(paths.json.read_text())
    jsonschema.validate(record, report_schema())
    assert [report["verdict"] for report in record["reports"]] == ["findings", "clean"]


def test_what_json_cannot_hold_is_null_and_what_utf8_cannot_hold_is_spelled(tmp_path):
    row = Example("\ud800\u202e", "\x00", float("nan"), float("inf"))
    report = replace(flawed_report(), findings=(replace(EMPTY, value=float("nan"), examples=(row,)),))
    paths = write_report(report, tmp_path)
    record = json.loads(paths.json.read_text(encoding="ascii"), parse_constant=refuse_constant)
    jsonschema.validate(record, report_schema())
    example = record["findings"][0]["examples"][0]
    assert (example["reward"], example["compared_with"], record["findings"][0]["value"]) == (None, None, None)
    assert example["prompt"] == "\ud800\u202e"


def test_a_failed_write_leaves_the_old_report_whole_and_no_rest(tmp_path, monkeypatch):
    before = write_report(clean_report(), tmp_path).html.read_text(encoding="utf-8")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("rewardsmith._disk.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(flawed_report(), tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_half_an_emoji_in_a_row_can_be_written(tmp_path):
    finding = replace(flawed_report().findings[0], message="so \ud83d")
    paths = write_report(replace(flawed_report(), findings=(finding,)), tmp_path)
    assert json.loads(paths.json.read_text())["findings"][0]["message"] == "so \ud83d"
    assert "so " in paths.html.read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
