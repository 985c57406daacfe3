"""The pytest plugin: light while nobody uses it, and a test with it fails as the report says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rewardsmith import pytest_plugin

PLUGIN = "rewardsmith.pytest_plugin"
TESTS = """
ROWS = [{"prompt": f"{n} + {n + 1}?", "answer": str(2 * n + 1)} for n in range(10, 34)]


def contains(completions, answer, **columns):
    return [float(key in text) for text, key in zip(completions, answer)]


def test_exact(reward_audit):
    reward_audit("rewardsmith.rewards:exact_number", ROWS, budget=2400, workers=0).assert_clean()


def test_contains(reward_audit):
    report = reward_audit(contains, ROWS, budget=6000)
    assert report.at_least("medium")
    report.assert_clean()


def test_without_answers(reward_audit):
    rows = [{"prompt": row["prompt"], "answer": None} for row in ROWS]
    reward_audit(contains, rows, budget=600, workers=0).assert_clean()


def test_unused():
    pass
"""


def in_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_unused_it_loads_no_room_and_nothing_that_pytest_does_not():
    """Beside pytest only two files are run, so that it costs a millisecond or two at the start."""
    code = f"import json, sys, pytest; before = set(sys.modules); import {PLUGIN}; "
    loaded = set(in_process(f"{code}print(json.dumps(sorted(set(sys.modules) - before)))"))
    assert {PLUGIN, "rewardsmith"} <= loaded <= {PLUGIN, "rewardsmith", *sys.stdlib_module_names}


def test_the_entry_point_has_the_name_of_the_module_so_that_both_ways_load_it_once():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: pytest_plugin.__name__}


@pytest.mark.slow
def test_a_clean_reward_passes_and_findings_and_no_verdict_fail_with_the_report(tmp_path):
    (tmp_path / "test_reward.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-rA", "--no-header", "."]
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=tmp_path, env=wide, capture_output=True, text=True, check=False)
    said = re.sub(r"\s+", " ", done.stdout)
    outcomes = dict(reversed(found) for found in re.findall(r"(PASSED|FAILED) test_reward\.py::(\w+)", said))
    assert outcomes == {
        "test_exact": "PASSED", "test_unused": "PASSED", "test_contains": "FAILED", "test_without_answers": "FAILED"
    }, done.stdout  # fmt: skip
    assert re.search(r"AssertionError: \d findings?, (worst: )?critical contains", said), done.stdout
    assert "enumeration" in said
    assert re.search(r"AssertionError: Not judged: .*answer", said), done.stdout
    assert "in assert_clean" not in said  # the traceback ends in the test
