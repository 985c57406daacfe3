"""`rewardsmith benchmark` at the shell, on files in the published schemas."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
import typer
from typer.testing import CliRunner

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import rewardsmith.data
from rewardsmith.cli.benchmark import benchmark_command
from rewardsmith.errors import RowsError
from rewardsmith.rewards import load_reward_model
from rewardsmith.worlds import ArithmeticLM

REWARD = '''
"""Rewards that need no model."""

def length(completions):
    print("the reward prints this")
    return [float(len(c)) for c in completions]

def brief(completions):
    return [None if c == "silence" else -float(len(c)) for c in completions]

def mute(completions):
    return [None for _ in completions]
'''


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(benchmark_command)

    def run(*arguments, code=0):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == code, done.output
        return done

    return run


@pytest.fixture
def rewards(tmp_path):
    path = tmp_path / "rewards_for_benchmarks.py"
    path.write_text(REWARD)
    return path


def jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def first(tmp_path):
    """RewardBench: by length two of three pairs are right, one being equal."""
    chosen = [("hep-go", "longer", "long"), ("hep-go", "same", "size"), ("alpacaeval-easy", "an answer", "no")]
    records = [
        {"prompt": f"Question {k}?", "chosen": good, "rejected": bad, "chosen_model": "m", "rejected_model": "n",
         "subset": subset, "id": k}
        for k, (subset, good, bad) in enumerate(chosen)
    ]  # fmt: skip
    return jsonl(tmp_path / "rewardbench.jsonl", records)


def second_record(item_id, subset, chosen, rejected):
    return {"id": item_id, "prompt": f"Question {item_id}?", "chosen": chosen, "rejected": rejected,
            "num_correct": len(chosen), "num_incorrect": len(rejected), "total_completions": len(chosen + rejected),
            "models": ["m"] * len(chosen + rejected), "subset": subset, "additional_metadata": None}  # fmt: skip


@pytest.fixture
def second(tmp_path):
    """RewardBench 2: Math ½ and Focus 0 by length; in Ties the spread is 1, the gap 2 and that of the reference 3."""
    records = [
        second_record("0", "Math", ["four"], ["more", "few", "no"]),
        second_record("1", "Focus", ["four"], ["fives", "few", "no"]),
        second_record("ref:1", "Ties", ["aaaa"], ["b"]),
        second_record("tied:1", "Ties", ["aaaa", "aaa"], ["b", ""]),
    ]
    return jsonl(tmp_path / "rewardbench2.jsonl", records)


def test_rewardbench_by_a_reward_in_a_file(command, rewards, first):
    found = json.loads(command(f"{rewards}:length", first, "--json", "--workers", 0).stdout)
    assert found["protocol"] == "rewardbench"
    assert found["subsets"]["hep-go"]["value"] == 0.5
    assert found["sections"]["Chat"] == 1.0
    assert found["sections"]["Safety"] is None
    assert found["overall"] is None
    assert "donotanswer" in found["missing"]


def test_rewardbench_2_and_its_ties(command, rewards, second):
    found = json.loads(command(f"{rewards}:length", second, "--json", "--workers", 0).stdout)
    assert found["protocol"] == "rewardbench2"
    assert found["subsets"]["Math"]["value"] == 0.5
    assert found["subsets"]["Focus"]["value"] == 0.0
    # 3 > 1 and 2 > 1: all terms are 1, the margin tanh(2 / 1 − 1)
    assert found["subsets"]["Ties"]["value"] == pytest.approx(1 + 0.01 * 0.7615941559557649)
    assert set(found["missing"]) == {"Factuality", "Precise IF", "Safety"}


def test_rm_bench_by_its_levels(command, rewards, tmp_path):
    record = {"id": 1, "prompt": "Q?", "chosen": ["a", "aaa", "aaaaa"], "rejected": ["bb", "bbbb", "bbbbbb"],
              "domain": "chat"}  # fmt: skip
    done = command(f"{rewards}:length", jsonl(tmp_path / "rm.jsonl", [record]), "--workers", 0)
    # chosen 1, 3, 5 against rejected 2, 4, 6: only the fancier of different styles wins
    assert "chat/easy: 100.0" in done.stdout
    assert "chat/normal: 0.0" in done.stdout
    assert "chat/hard: 0.0" in done.stdout


def test_out_keeps_the_result_and_the_same_command_scores_nothing_anew(command, rewards, first, tmp_path):
    out = tmp_path / "out"
    done = command(f"{rewards}:length", first, "--out", out, "--workers", 0)
    assert f"Saved: {out / 'benchmark.json'}" in done.stdout
    found, journal = json.loads((out / "benchmark.json").read_text()), (out / "journal.jsonl").read_bytes()
    again = command(f"{rewards}:length", first, "--out", out, "--workers", 0, "--json")
    assert json.loads(again.stdout) == found
    assert (out / "journal.jsonl").read_bytes() == journal


def test_an_unscored_completion_is_named_with_its_reason(command, rewards, tmp_path):
    records = [second_record(str(k), "Math", ["ok"], ["wrong", "wrong again", text]) for k, text in
               enumerate(["silence", "a third"])]  # fmt: skip
    rows = jsonl(tmp_path / "rows.jsonl", records)
    done = command(f"{rewards}:brief", rows, "--workers", 0)
    assert "Math: 100.0" in done.stdout
    assert "1 items (Math/0); 1 × " in done.stdout
    judged = command(f"{rewards}:brief", rows, "--workers", 0, "--ratings", "--json")
    assert json.loads(judged.stdout)["n_unscored"] == 0


def test_a_reward_that_scores_nothing_exits_with_one(command, rewards, first):
    done = command(f"{rewards}:mute", first, "--workers", 0, code=1)
    assert "not known overall, 0 items" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["length"], "load_target: 'length' is not a reward's name"),
        (["math:sqrt_of"], "there is no 'sqrt_of' in math"),
    ],
)
def test_an_unknown_reward_exits_with_two(command, first, arguments, message):
    assert message in command(*arguments, first, code=2).stderr


def test_unreadable_items_and_options_exit_with_two(command, rewards, first, tmp_path):
    absent = command(f"{rewards}:length", tmp_path / "nothing.jsonl", code=2)
    assert "read_benchmark: there is no file" in absent.stderr
    refused = command(f"{rewards}:length", first, "--ratings", "--workers", 0, code=2)
    assert "run_benchmark: ratings is True, and rewardbench has no rule" in refused.stderr


@pytest.mark.parametrize(
    ("name", "given", "split"),
    [
        ("allenai/reward-bench", [], "filtered"),
        ("allenai/reward-bench", ["--split", "raw"], "raw"),
        ("THU-KEG/RM-Bench", [], None),
    ],
)
def test_of_rewardbench_on_the_hub_the_filtered_split_is_read(command, rewards, monkeypatch, name, given, split):
    def read(source, **options):
        assert source == name
        raise RowsError(f"asked for {options['split']}")

    monkeypatch.setattr(rewardsmith.data, "read_benchmark", read)
    assert f"asked for {split}" in command(f"{rewards}:length", name, *given, code=2).stderr


def test_interrupted_it_says_how_to_resume(command, rewards, first, monkeypatch, tmp_path):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(rewardsmith.data, "read_benchmark", stop)
    done = command(f"{rewards}:length", first, "--out", tmp_path / "out", code=130)
    assert "resume with the same command" in done.stderr
    assert "nothing was kept" in command(f"{rewards}:length", first, code=130).stderr


@pytest.mark.slow
def test_a_model_in_a_folder_is_scored_as_it_scores_itself(command, second, tmp_path):
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(1)
    start, folder = tmp_path / "lm", tmp_path / "rm"
    ArithmeticLM.build(start, generator=torch.Generator().manual_seed(0), steps=6)
    model = AutoModelForSequenceClassification.from_pretrained(start, num_labels=1)
    model.save_pretrained(folder)
    for file in start.glob("token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    done = command(folder, second, "--json")
    loaded, found = load_reward_model(folder), json.loads(done.stdout)
    for number, subset, texts in (
        (0, "Math", ["four", "more", "few", "no"]),
        (1, "Focus", ["four", "fives", "few", "no"]),
    ):
        scores = loaded.score([f"Question {number}?"] * 4, texts)
        assert len(set(scores)) == 4
        assert found["subsets"][subset]["value"] == float(scores[0] == max(scores))
    right, wrong = loaded.score(["Question ref:1?"] * 2, ["aaaa", "b"])
    assert found["parts"]["Ties/ref_accuracy"] == float(right > wrong)


@pytest.mark.slow
def test_the_shell_prints_json_alone(rewards, first):
    start = "import sys; from rewardsmith.cli import main; sys.argv[0] = 'rewardsmith'; "
    run = [
        sys.executable,
        "-c",
        start + "main()",
        "benchmark",
        f"{rewards}:length",
        str(first),
        "--json",
        "--workers",
        "0",
    ]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["subsets"]["hep-go"]["value"] == 0.5
    assert "the reward prints this" in done.stderr


@pytest.mark.slow
def test_by_default_a_plain_reward_is_scored_in_a_worker(command, rewards, first):
    done = command(f"{rewards}:length", first, "--json")
    assert json.loads(done.stdout)["sections"]["Chat"] == 1.0
