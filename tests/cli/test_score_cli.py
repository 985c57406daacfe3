"""`rewardsmith score` at the shell."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys

import pytest
from tests.engines.scoring_jobs import asked, expected, read, reward_file, rows_file
from typer.testing import CliRunner

from rewardsmith.cli import app
from rewardsmith.scoring import load_reward


def score(*arguments):
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def test_it_writes_the_rows_and_sums_them_up(tmp_path):
    rows, spec = rows_file(tmp_path), f"{reward_file(tmp_path)}:remainder"
    result = score(rows, "--reward", spec, "--out", tmp_path / "o.jsonl", "--workers", 0, "--block-size", 50)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("90 of 100 rows scored in ")
    assert "\n  unscored, none: 10\n" in result.stdout
    assert read(tmp_path / "o.jsonl") == expected(rows)
    again = score(rows, "--reward", spec, "--out", tmp_path / "o.jsonl", "--workers", 0, "--block-size", 50)
    assert "  found finished: 100, made on 20" in again.stdout


def test_the_first_detail_of_each_reason_is_printed_and_moves_no_terminal(tmp_path):
    (tmp_path / "r.py").write_text(
        "def pays(prompt, completion):\n    if len(completion) < 9:\n"
        "        raise ValueError('no \\x1b[31mgrader for ' + prompt)\n    return None\n"
    )
    rows = tmp_path / "rows.jsonl"
    given = ["a" * 9, "b", "c"]
    rows.write_text("".join(json.dumps({"prompt": f"p{k}", "completion": text}) + "\n" for k, text in enumerate(given)))
    arguments = (rows, "--reward", f"{tmp_path / 'r.py'}:pays", "--out", tmp_path / "o.jsonl", "--workers", 0)
    result = score(*arguments)
    assert "\n  unscored, exception: 2; the first: ValueError: no U+001B[31mgrader for p1" in result.stdout
    assert "\n  unscored, none: 1\n" in result.stdout
    found = json.loads(score(*arguments, "--json").stdout)  # finished: read from the parts
    assert found["first"]["exception"].startswith("ValueError: no \x1b[31mgrader for p1")
    assert list(found["first"]) == ["exception"]


@pytest.mark.slow
def test_several_rewards_are_listed_one_by_one(tmp_path):
    rows, file = rows_file(tmp_path), reward_file(tmp_path)
    (tmp_path / "short.py").write_text("def short(completions, **columns):\n    return [1.0] * len(completions)\n")
    result = score(rows, "--reward", f"{file}:remainder", "--reward", f"{tmp_path / 'short.py'}:short",
                   "--out", tmp_path / "o.jsonl", "--workers", 0)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "\n  remainder: 90 scored, 10 unscored (none)\n  short: 100 scored\n" in result.stdout


@pytest.mark.slow
def test_json_is_all_that_is_printed_whatever_the_reward_prints(tmp_path):
    (tmp_path / "loud.py").write_text(
        "print('{}')\ndef pays(completions, **columns):\n    print('{}')\n    return [1.0] * len(completions)\n"
    )
    rows = rows_file(tmp_path, 6)
    command = [sys.executable, "-c", "from rewardsmith.cli import main; main()", "score", rows, "--reward",
               f"{tmp_path / 'loud.py'}:pays", "--out", tmp_path / "o.parquet", "--limit", "5", "--workers", "0",
               "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert {**summary, "seconds": 0} == {
        "out": str(tmp_path / "o.parquet"), "n_rows": 5, "n_scored": 5, "unscored": {}, "n_found": 0, "seconds": 0,
        "made": None, "by_reward": None, "first": {},
    }  # fmt: skip


@pytest.mark.slow
def test_exit_code_1_where_no_row_could_be_scored_and_2_where_an_option_is_unusable(tmp_path):
    rows, out = rows_file(tmp_path, 3), tmp_path / "o.jsonl"
    (tmp_path / "none.py").write_text("def knows(completions, **columns):\n    return [None] * len(completions)\n")
    assert score(rows, "--reward", f"{tmp_path / 'none.py'}:knows", "--out", out, "--workers", 0).exit_code == 1
    both = ("--reward", "len_of.py:paid", "--reward", "none.py:knows")
    (tmp_path / "len_of.py").write_text("def paid(completions, **columns):\n    return [1.0] * len(completions)\n")
    both = [f"{tmp_path / name}" if ":" in name else name for name in both]
    assert score(rows, *both, "--out", tmp_path / "both.jsonl", "--workers", 0).exit_code == 1  # none has both
    for arguments, message in (
        ((rows, "--reward", "nothing", "--out", out), "'nothing' is not a reward's name"),
        (
            (rows, "--reward", "a:b", "--out", out, "--engine", "dask"),
            "--engine is 'dask', which is not one of 'local'",
        ),
        ((tmp_path / "no.jsonl", "--reward", "json:dumps", "--out", out), "Error: "),
    ):
        result = score(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr


@pytest.mark.slow
def test_a_recipe_is_scored_by_command_in_worker_processes(tmp_path):
    rows = rows_file(tmp_path, 20)
    (tmp_path / "mine.py").write_text(
        "from rewardsmith.recipes import Recipe, source\n"
        "def size(completions, **columns):\n    return [float(len(c)) for c in completions]\n"
        "async def known(completions, answer, **columns):\n    return [None if a is None else 1.0 for a in answer]\n"
        "recipe = Recipe(source(size) + 0.5 * source(known))\n"
    )
    result = score(rows, "--reward", f"{tmp_path / 'mine.py'}:recipe", "--out", tmp_path / "o.jsonl", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "\n  reward: 20 scored\n  size: 20 scored\n  known: 18 scored, 2 unscored (none)\n" in result.stdout
    table = read(tmp_path / "o.jsonl")
    lengths = [len(str(i)) for i in range(20)]  # the weight of a missing source goes to the other: 1.5 instead of 1
    assert [row["reward"] for row in table] == [n * 1.5 if i % 10 == 9 else n + 0.5 for i, n in enumerate(lengths)]
    assert [row["reward/size"] for row in table] == lengths
    assert [(row["reward/known"], row["reason/known"]) for row in table[8:10]] == [(1.0, None), (None, "none")]


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_names_the_file_and_with_room_the_same_command_goes_on(tmp_path, monkeypatch):
    rows, spec, out = rows_file(tmp_path, 20), f"{reward_file(tmp_path)}:remainder", tmp_path / "o.jsonl"
    command = (rows, "--reward", spec, "--out", out, "--workers", 0, "--batch-size", 4)
    done = {"write": os.write, "fsync": os.fsync}
    for name, ending in (("write", ".journal"), ("fsync", ".json."), ("fsync", ".jsonl.")):  # journal, part, output

        def full(descriptor, *data, name=name, ending=ending):
            if ending in os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")):
                raise OSError(28, "No space left on device")
            return done[name](descriptor, *data)

        with monkeypatch.context() as patched:
            patched.setattr(os, name, full)
            result = score(*command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"Error: {tmp_path}")
        assert (
            "cannot be used (No space left on device). Free some space there, and run the same command" in result.stderr
        )
        assert f"{ending.rstrip('.')} cannot be used" in result.stderr
        assert not out.exists()
    assert score(*command).exit_code == 0
    assert read(out) == expected(rows)
    assert set(asked(tmp_path).values()) <= {1, 2}
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_place_that_cannot_be_written_to_is_an_error_that_names_it(tmp_path):
    rows, spec = rows_file(tmp_path, 3), f"{reward_file(tmp_path)}:remainder"
    result = score(rows, "--reward", spec, "--out", rows / "deep" / "o.jsonl", "--workers", 0)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be used (Not a directory). A part of its path is a file and no folder: name ano" in result.stderr


@pytest.mark.slow
def test_sources_may_have_any_name_and_no_name_becomes_a_path_or_moves_the_terminal(tmp_path):
    rows, names = rows_file(tmp_path, 3), ["../../x", "a/b", "n" * 300, "\x1b[31m", " ", "[x]", "f(x)", "ü:y"]
    body = "from functools import partial\ndef pays(completions, k, **columns):\n    return [k] * len(completions)\n"
    (tmp_path / "mine.py").write_text(
        body + f"SOURCES = {{n: partial(pays, k=float(k)) for k, n in enumerate({names})}}\n"
    )
    before = {path.name for path in tmp_path.iterdir()}
    spec, out = f"{tmp_path / 'mine.py'}:SOURCES", tmp_path / "o.jsonl"
    result = score(rows, "--reward", spec, "--out", out, "--workers", 0)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert {path.name for path in tmp_path.iterdir()} - before - {"__pycache__"} == {"o.jsonl", "o.jsonl.parts"}
    assert read(out)[2] == {**read(rows)[2], **{k: v for n, name in enumerate(names)
                            for k, v in ((f"reward/{name}", float(n)), (f"reason/{name}", None))},
                            "reward": 28.0, "reason": None}  # fmt: skip
    targets = load_reward(spec).targets
    for n, name in enumerate(names):  # as a worker loads it
        assert pickle.loads(pickle.dumps(targets[name])).reward(completions=["c"]) == [float(n)]


def test_ctrl_c_while_modules_load_ends_without_a_traceback():
    code = (
        "import runpy, sys\nclass Finder:\n    def find_spec(self, name, *rest):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\nrunpy.run_module('rewardsmith', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_no_control_sequence_of_a_warning_reaches_the_terminal(tmp_path):
    score(tmp_path / "no.jsonl", "--reward", "a:b", "--out", tmp_path / "o.jsonl")
    record = logging.makeLogRecord({"msg": "%s was\nchanged", "args": ("e\x1b[31m\u202e.jsonl",)})
    assert logging.lastResort.format(record) == "eU+001B[31mU+202E.jsonl was\nchanged"
