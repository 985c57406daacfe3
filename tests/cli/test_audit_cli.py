"""`rewardsmith audit` at the shell; the audit itself is replaced by made-up reports."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from inspect import signature

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

import rewardsmith.auditing
import rewardsmith.scoring
from rewardsmith.auditing.finding import Finding
from rewardsmith.auditing.render.write import report_schema
from rewardsmith.auditing.report import Report
from rewardsmith.cli.audit import audit_command
from rewardsmith.errors import RowsError, TargetError
from rewardsmith.scoring import Target

FINDING = Finding("enumeration", "high", "A list is paid.", 0.9, (0.8, 1.0), 64, "Use exact_number.")
LOADED = Target("m:f", "plain", lambda prompt, completion: 0.0)
REPORT = Report("m:f", "TRL", "verifier", 2, 0, findings=(FINDING,))


@pytest.fixture
def invoke(monkeypatch):
    """Run the command with `outcome` in place of the audit; the calls it got are kept in `invoke.calls`."""
    app = typer.Typer()
    app.command()(audit_command)

    def run(*arguments, outcome=REPORT):
        def fake_audit(target, rows, **options):
            run.calls.append((target, rows, options))
            print("the reward prints this")
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(rewardsmith.auditing, "audit", fake_audit, raising=False)
        monkeypatch.setattr(rewardsmith.scoring, "load_reward", lambda spec: replace(LOADED, name=spec))
        monkeypatch.setattr(rewardsmith.scoring.loading, "target_rows", lambda t, n, seed: [t.name] * n)
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    run.calls = []
    return run


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{k}+1", "answer": str(k + 1)}) + "\n" for k in range(3)))
    return path


@pytest.mark.parametrize(
    ("severity", "fail_on", "code"),
    [
        ("high", "medium", 1),
        ("medium", "medium", 1),
        ("low", "medium", 0),
        ("low", "low", 1),
        ("info", "medium", 0),
        ("high", "critical", 0),
    ],
)
def test_the_exit_code_is_one_exactly_from_the_failing_severity_on(invoke, severity, fail_on, code):
    report = replace(REPORT, findings=(replace(FINDING, severity=severity),))
    assert invoke("m:f", "--fail-on", fail_on, outcome=report).exit_code == code


def test_a_clean_reward_exits_with_zero(invoke):
    done = invoke("m:f", outcome=replace(REPORT, findings=()))
    assert done.exit_code == 0
    assert done.stdout.startswith("Clean")


def test_options_and_rows_reach_the_audit(invoke, rows_file, tmp_path):
    out = tmp_path / "out"
    invoke("m:f", rows_file, "--out", out, "--budget", 7, "--workers", 3, "--timeout", 1.5, "--seed", 5, "--limit", 2)
    [(target, rows, options)] = invoke.calls
    assert target.name == "m:f"
    assert [row.prompt for row in rows] == ["0+1", "1+1"]
    assert callable(options.pop("announce"))  # it prints the estimate
    given = {"budget": 7, "workers": 3, "timeout": 1.5, "seed": 5, "out": out, "progress": False}
    given |= {"max_calls": None, "price": None}
    assert options == {**given, "aggregate": None, "threshold": None, "concurrency": 16, "memory": None}
    invoke("m:f", rows_file, "--aggregate", "clip", "--threshold", 0.25)
    assert (invoke.calls[1][2]["aggregate"], invoke.calls[1][2]["threshold"]) == ("clip", 0.25)
    invoke("m:f", rows_file, "--memory", 1.5, "--concurrency", 3)
    assert (invoke.calls[2][2]["memory"], invoke.calls[2][2]["concurrency"]) == (3 * 2**29, 3)
    invoke("m:f", rows_file, "--max-calls", 400, "--price", 0.01)
    assert (invoke.calls[3][2]["max_calls"], invoke.calls[3][2]["price"]) == (400, 0.01)


def test_without_rows_the_target_brings_them(invoke):
    invoke("reasoning-gym:leg_counting")
    assert invoke.calls[0][1] is None
    invoke("reasoning-gym:leg_counting", "--limit", 2)
    assert invoke.calls[1][1] == ["reasoning-gym:leg_counting"] * 2


def test_the_defaults_are_those_of_the_library():
    ours, theirs = signature(audit_command).parameters, signature(rewardsmith.auditing.audit).parameters
    for name in (
        "budget",
        "max_calls",
        "price",
        "workers",
        "timeout",
        "concurrency",
        "memory",
        "seed",
        "aggregate",
        "threshold",
    ):
        assert ours[name].default == theirs[name].default, name


def test_json_is_the_summary_and_nothing_else_even_if_the_reward_prints(invoke):
    done = invoke("m:f", "--json")
    assert json.loads(done.stdout) == json.loads(json.dumps(REPORT.summary("medium")))
    assert "the reward prints this" in done.stderr


def test_out_holds_both_reports_and_their_place_is_printed(invoke, tmp_path):
    done = invoke("m:f", "--out", tmp_path / "new")
    assert str(tmp_path / "new" / "report.html") in done.stdout.replace("\n", "")
    jsonschema.validate(json.loads((tmp_path / "new" / "report.json").read_text()), report_schema())


@pytest.mark.parametrize(
    "error",
    [TargetError("load_target: no module m. Check it."), RowsError("audit: no rows."), ValueError("audit: bad seed.")],
)
def test_an_unusable_target_is_a_message_without_traceback(invoke, error):
    done = invoke("m:f", outcome=error)
    assert done.exit_code == 2
    assert f"Error: {error}" in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_control_characters_in_an_error_do_not_reach_the_terminal(invoke):
    assert "U+001B[2J" in invoke("m:f", outcome=TargetError("\x1b[2J")).stderr


def test_missing_rows_and_bad_severities_are_usage_errors(invoke, tmp_path):
    missing = invoke("m:f", tmp_path / "none.jsonl")
    assert (missing.exit_code, invoke.calls) == (2, [])
    assert "there is no file" in missing.stderr
    severity = invoke("m:f", "--fail-on", "awful")
    assert severity.exit_code == 2
    assert "--fail-on is 'awful', which is not one of 'info', 'low', 'medium', 'high', 'critical'" in severity.stderr
    assert invoke("m:f", "--workers", -1).exit_code == 2
    assert invoke().exit_code == 2


def test_interrupting_says_how_to_go_on(invoke, tmp_path):
    done = invoke("m:f", "--out", tmp_path, outcome=KeyboardInterrupt())
    assert done.exit_code == 130
    assert "Interrupted: resume with the same command." in done.stderr
    assert "nothing was kept; with --out DIR a run can be resumed" in invoke("m:f", outcome=KeyboardInterrupt()).stderr


@pytest.mark.slow
def test_what_worker_processes_print_stays_off_stdout(tmp_path):
    code = (
        "import subprocess, sys\n"
        "from rewardsmith.cli.shell import stdout_kept_for_the_result\n"
        "with stdout_kept_for_the_result():\n"
        "    print('noise', flush=True)\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"noise\")'])\n"
        "print('result')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert done.stderr.split() == ["noise", "noise"]


def test_a_folder_that_cannot_be_made_is_a_usage_error(invoke, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    done = invoke("m:f", "--out", tmp_path / "taken")
    assert done.exit_code == 2
    assert "File exists" in done.stderr


def test_junit_is_written_beside_any_form_of_the_result(invoke, tmp_path):
    for form in ("--json", "--markdown", "--seed=0"):
        file = tmp_path / f"{form[2:6]}.xml"
        assert invoke("m:f", "--junit", file, form).exit_code == 1
        assert 'type="high" message="A list is paid."' in file.read_text()


def test_markdown_is_printed_alone_and_not_beside_json(invoke):
    assert invoke("m:f", "--markdown").stdout.startswith("### 1 finding, high: `m:f`\n")
    done = invoke("m:f", "--markdown", "--json")
    assert done.exit_code == 2
    assert "rewardsmith audit: --json and --markdown are two forms of one result. Choose one." in done.stderr
