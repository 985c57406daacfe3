"""`rewardsmith diff` at the shell, and the forms of one result that `audit` prints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from rewardsmith.auditing import Finding, Report, write_report
from rewardsmith.auditing.report import Check
from rewardsmith.cli import app

FINDING = Finding("enumeration", "high", "A \x1b[31mlist scores as well.", 0.9, (0.8, 1.0), 64, "Use exact_number.")
CHECK = Check("enumeration", "Are several answers scored like one?", "finding")
FLAWED = Report("m:f", "trl", "verifier", 64, 0, findings=(FINDING,), checks=(CHECK,))
SOUND = replace(FLAWED, target="m:g", findings=(), checks=(replace(CHECK, status="clean"),))


@pytest.fixture
def diff(tmp_path):
    write_report(FLAWED, tmp_path / "flawed")
    write_report(SOUND, tmp_path / "sound")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text("{}")

    def run(before, after, *options):
        return CliRunner().invoke(app, ["diff", str(tmp_path / before), str(tmp_path / after), *options])

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "options", "code"),
    [
        ("sound", "flawed", (), 1),
        ("flawed", "sound", (), 0),
        ("flawed", "flawed", (), 0),
        ("sound", "flawed", ("--fail-on", "critical"), 0),
        ("sound", "flawed/report.json", ("--json",), 1),
        ("sound", "flawed", ("--markdown",), 1),
        ("sound", "broken", (), 2),
        ("sound", "nowhere", (), 2),
        ("sound", "flawed", ("--fail-on", "grave"), 2),
        ("sound", "flawed", ("--json", "--markdown"), 2),
    ],
)
def test_the_exit_code_says_whether_anything_is_new(diff, before, after, options, code):
    assert diff(before, after, *options).exit_code == code


def test_the_text_says_what_is_new_and_what_was_fixed(diff):
    new, fixed = diff("sound", "flawed").stdout.splitlines(), diff("flawed", "sound").stdout.splitlines()
    assert [new[0], fixed[0]] == [
        "1 new: Clean on 1 question → 1 finding, high", "1 fixed: 1 finding, high → Clean on 1 question"
    ]  # fmt: skip
    assert new[1:4] == [
        "before: m:g, 64 rows, seed 0", "after: m:f, 64 rows, seed 0", "new: high enumeration 90% [80%, 100%]"
    ]  # fmt: skip
    assert new[4].strip() == "A U+001B[31mlist scores as well."
    assert diff("sound", "sound").stdout.startswith("Nothing new: Clean on 1 question → Clean")


def test_json_and_markdown_are_printed_alone(diff):
    record = json.loads(diff("sound", "flawed", "--json").stdout)
    assert (record["schema"], record["worse"], len(record["new"])) == ("rewardsmith.diff/1", True, 1)
    assert diff("sound", "flawed", "--markdown").stdout.startswith("### 1 new: Clean on 1 question → 1 finding, high\n")


def test_what_cannot_be_compared_is_said_in_one_line(diff):
    done = diff("sound", "broken")
    assert done.stdout == ""
    assert done.stderr.startswith("Error: compare_reports: ")
    assert "has the schema None" in done.stderr
