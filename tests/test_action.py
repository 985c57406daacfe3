"""`action.yml`: valid for GitHub, and no input of it reaches a shell as code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import part_of

yaml = part_of("PyYAML", "yaml")
FILE = Path(__file__).parents[1] / "action.yml"
GUIDE = FILE.parent / "docs" / "ci.md"
ACTION = yaml.safe_load(FILE.read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
HOSTILE = ["$(touch pwned)", "`touch pwned`", '"; touch pwned; "', "a b", "--json", "*", "'$HOME'"]
RECORD = """#!/bin/sh
printf '%s\\0' "$@" END >> "$RUNNER_TEMP/calls"
command="$1"
for word in "$@"; do
  case "$word" in --out=*) [ "$AUDITED" = 2 ] || echo '{}' > "${word#--out=}/report.json";; esac
done
echo "### $command"
if [ "$command" = diff ]; then exit "$COMPARED"; else exit "$AUDITED"; fi
"""
"""A command that notes its words and ends as it is told."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["actions", "workflows"])
def test_github_takes_the_file_and_the_workflow_of_the_guide(kind, tmp_path):
    part_of("check-jsonschema", "check_jsonschema")
    (workflow,) = re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "workflow.yml").write_text(workflow)
    file = {"actions": FILE, "workflows": tmp_path / "workflow.yml"}[kind]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.github-{kind}", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_input_goes_through_a_variable_and_is_used():
    scripts = [step["run"] for step in STEPS if "run" in step]
    assert len(scripts) == 2
    assert not [script for script in scripts if "${{" in script]
    rest = yaml.safe_dump([{**step, "run": ""} for step in STEPS])
    assert set(re.findall(r"inputs\.([\w-]+)", rest)) == set(ACTION["inputs"])
    for step in STEPS:
        for name in step.get("env", {}):
            assert re.search(rf"\$\{{?{name}\b", step["run"]), name


def test_the_guide_names_every_input():
    table = re.findall(r"^\| `([\w-]+)` \| (.+?) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    defaults = {name: spec.get("default") for name, spec in ACTION["inputs"].items()}
    shown = {None: "required", "": "–"}
    assert dict(table) == {name: shown.get(value, f"`{value}`") for name, value in defaults.items()}


@pytest.fixture
def audit(tmp_path):
    """Run the audit step as GitHub does, with a stand-in for the command; the words that it got, by call."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rewardsmith").write_text(RECORD)
    (tmp_path / "bin" / "rewardsmith").chmod(0o755)
    (step,) = [step for step in STEPS if step.get("id") == "audit"]
    (tmp_path / "script.sh").write_text(step["run"])
    work = tmp_path / "work"
    work.mkdir()

    def run(audited=0, compared=0, **inputs):
        defaults = {name: spec.get("default", "") for name, spec in ACTION["inputs"].items()}
        given = {**defaults, **{name.replace("_", "-"): value for name, value in inputs.items()}}
        values = {name: given[text[len("${{ inputs.") : -len(" }}")]] for name, text in step["env"].items()}
        places = {
            "RUNNER_TEMP": tmp_path,
            "GITHUB_OUTPUT": tmp_path / "output",
            "GITHUB_STEP_SUMMARY": tmp_path / "sum",
        }
        codes = {"AUDITED": audited, "COMPARED": compared}
        environment = {name: str(value) for name, value in {**os.environ, **values, **places, **codes}.items()}
        environment["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}"
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(tmp_path / "script.sh")]
        done = subprocess.run(shell, cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert list(work.iterdir()) == [], done.stderr
        calls = [call.split("\0")[:-1] for call in (tmp_path / "calls").read_text().split("END\0")[:-1]]
        return done.returncode, calls, (tmp_path / "sum").read_text()

    return run


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_inputs_reach_the_command_as_they_are_and_run_nothing(audit, text):
    given = {"reward": text, "rows": text, "baseline": text, "fail_on": text, "options": f"{text}\n\n{text}\n"}
    _, (first, second), _ = audit(**given)
    assert first[:2] == ["audit", "--markdown"]
    assert first[4:] == [f"--fail-on={text}", text, text, "--", text, text]
    assert second[:-1] == ["diff", "--markdown", f"--fail-on={text}", "--", text]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("audited", "compared", "baseline", "code", "summary"),
    [
        (0, 0, "", 0, "### audit\n"),
        (1, 0, "", 1, "### audit\n"),
        (3, 0, "", 3, "### audit\n"),
        (2, 0, "", 2, "### audit\n"),
        (1, 0, "old", 0, "### diff\n### audit\n"),  # findings, and none of them new
        (0, 1, "old", 1, "### diff\n### audit\n"),
        (1, 2, "old", 2, "### diff\n### audit\n"),
        (2, 0, "old", 2, "### audit\n"),  # there is no report to compare
    ],
)
def test_the_job_ends_as_the_audit_or_with_a_baseline_as_the_comparison(
    audit, audited, compared, baseline, code, summary
):
    returned, calls, shown = audit(audited, compared, reward="m:f", baseline=baseline)
    assert (returned, shown) == (code, summary)
    assert calls[0][4:] == ["--fail-on=medium", "--", "m:f"]


@pytest.mark.slow
def test_the_extras_reach_pip_as_one_word(tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    for extras, wanted in (("", "/a b"), ("math,trl", "/a b[math,trl]"), ("x] --pre [y", "/a b[x] --pre [y]")):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EXTRAS": extras, "GITHUB_ACTION_PATH": "/a b"}
        command = ["bash", "-c", STEPS[0]["run"]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == wanted
