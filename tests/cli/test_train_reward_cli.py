"""`rewardsmith train-reward` at the shell, on a model of seconds."""

from __future__ import annotations

import json
import math
import os
import shutil
from functools import partial

import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tests.engines.helpers import interrupted
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForSequenceClassification,
)

from rewardsmith.cli import app
from rewardsmith.cli.train_reward import train_reward_command
from rewardsmith.data import PreferenceRow, read_preferences
from rewardsmith.engines.trl import RewardFit, RewardTrainer, fit_reward_model
from rewardsmith.engines.trl.fit import RECORD
from rewardsmith.rewards import ImplicitReward, load_reward_model
from rewardsmith.worlds import ArithmeticLM

pytestmark = pytest.mark.slow

FAST = ["--max-steps", "12", "--learning-rate", "3e-3", "--batch-size", "8"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("start")
    ArithmeticLM.build(folder, generator=torch.Generator().manual_seed(0), steps=6)
    return folder


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(train_reward_command)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def pairs_file(tmp_path):
    records = [
        {"prompt": f"{a}+{b}=", "chosen": str(a + b), "rejected": f"maybe {a} or {b}", "strength": 1 + (a + b) % 3}
        for a in range(7)
        for b in range(7)
    ]
    return jsonl(tmp_path / "pairs.jsonl", records)


def read_json(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_pairs_train_a_reward_model_that_is_tested_on_prompts_it_never_saw(command, start, pairs_file, tmp_path):
    out = tmp_path / "rm"
    result = command(pairs_file, "--model", start, "--out", out, "--held-out", "0.3", *FAST)
    assert result.exit_code == 0, result.output
    assert "49 pairs from 49 records (explicit)" in result.stdout
    assert "accuracy: 1.000" in result.stdout
    assert sorted(p.name for p in out.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", RECORD,
    ]  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert model.config.num_labels == 1
    saved = json.loads((out / RECORD).read_text())
    assert saved["settings"]["max_steps"] == 12
    assert saved["n_rows"] == 34  # 15 = round(0.3 · 49) prompts are held out
    assert saved["settings"]["end_token"] is True


def test_the_same_command_again_trains_nothing_and_other_settings_are_refused(command, start, pairs_file, tmp_path):
    out = tmp_path / "rm"
    arguments = [pairs_file, "--model", start, "--out", out, *FAST]
    first = read_json(command(*arguments, "--json"))
    stamp = (out / "model.safetensors").stat().st_mtime_ns
    assert read_json(command(*arguments, "--json")) == first
    assert (out / "model.safetensors").stat().st_mtime_ns == stamp
    other = command(*arguments, "--seed", "9")
    assert other.exit_code == 2
    assert "holds a model of other" in other.stderr
    assert "settings. Take another folder" in other.stderr


def test_members_have_their_own_rows_heads_and_starts(command, start, pairs_file, tmp_path):
    out = tmp_path / "rm"
    result = read_json(
        command(pairs_file, "--model", start, "--out", out, "--members", 2, "--subset", 0.6, "--json", *FAST)
    )
    assert set(result["figures"]) == {"accuracy of member-0", "accuracy of member-1", "accuracy of their mean"}
    weights = [load_file(out / f"member-{k}" / "model.safetensors") for k in range(2)]
    assert not torch.equal(weights[0]["score.weight"], weights[1]["score.weight"])
    records = [json.loads((out / f"member-{k}" / RECORD).read_text()) for k in range(2)]
    assert records[0]["rows"] != records[1]["rows"]
    assert [record["settings"]["seed"] for record in records] == [0, 1]


def test_members_are_trained_side_by_side_where_that_is_asked_for(command, start, pairs_file, tmp_path):
    out = tmp_path / "rm"
    arguments = [pairs_file, "--model", start, "--out", out, "--members", 2, "--subset", 0.6, "--json", *FAST]
    result = read_json(command(*arguments, "--side-by-side", "stacked"))
    assert result["figures"]["accuracy of their mean"]["value"] == 1.0
    records = [json.loads((out / f"member-{k}" / RECORD).read_text()) for k in range(2)]
    assert [(record["settings"]["seed"], record["settings"]["stacked"]) for record in records] == [(0, 2), (1, 2)]
    assert records[0]["rows"] != records[1]["rows"]
    assert "holds a model of other settings" in command(*arguments).stderr
    assert "side_by_side is 'threads', which is not" in command(*arguments, "--side-by-side", "threads").stderr


def test_steps_train_a_token_classifier(command, start, tmp_path):
    records = [
        {"prompt": f"{a}+{b}=", "completions": [f"{a}+{b}={a + b}", str(a + b + wrong)], "labels": [True, not wrong]}
        for a in range(6)
        for b in range(6)
        for wrong in (0, 1)
    ]
    data, out = jsonl(tmp_path / "steps.jsonl", records), tmp_path / "prm"
    result = read_json(command(data, "--kind", "steps", "--model", start, "--out", out, "--held-out", 0.3, "--json",
                               *FAST))  # fmt: skip
    assert set(result["figures"]) == {"step accuracy", "F1 of the first error"}
    assert result["figures"]["step accuracy"]["n"] == 2 * result["n_held_out"]
    assert result["card"]["labels"] == {"0": 36, "1": 108}
    assert AutoModelForTokenClassification.from_pretrained(out).config.num_labels == 2


def test_ratings_train_a_head_per_attribute(command, start, tmp_path):
    records = [
        {"prompt": f"{a}+{b}=", "response": str(a + b) if k else "maybe", "helpfulness": 4 * k, "correctness": 4 * k,
         "coherence": 2, "complexity": 1, "verbosity": 2 - k}
        for a in range(6) for b in range(6) for k in (0, 1)
    ]  # fmt: skip
    data, out = jsonl(tmp_path / "ratings.jsonl", records), tmp_path / "rm"
    result = read_json(command(data, "--kind", "rating", "--model", start, "--out", out, "--held-out", 0.3, "--json",
                               *FAST))  # fmt: skip
    assert {"correlation with helpfulness", "correlation with verbosity"} <= set(result["figures"])
    assert AutoModelForSequenceClassification.from_pretrained(out).config.id2label[0] == "helpfulness"


def test_the_end_of_a_step_and_how_often_the_state_is_kept_are_options(command, start, tmp_path):
    records = [{"prompt": f"{a}+1=", "completions": [f"{a + 1}", "so"], "labels": [True, a > 2]} for a in range(6)]
    data, out = jsonl(tmp_path / "steps.jsonl", records), tmp_path / "prm"
    common = [data, "--kind", "steps", "--model", start, "--held-out", 0.5, *FAST]
    read_json(command(*common, "--out", out, "--step-end", " or", "--checkpoint-steps", 3, "--json"))
    settings = json.loads((out / RECORD).read_text())["settings"]
    assert (settings["step_end"], settings["checkpoint_steps"]) == (" or", 3)
    assert load_reward_model(out).step_end == " or"
    read_json(command(*common, "--out", tmp_path / "lines", "--step-end", r"\n\n", "--json"))
    assert json.loads((tmp_path / "lines" / RECORD).read_text())["settings"]["step_end"] == "\n\n"


def test_a_start_whose_head_has_another_size_exits_with_2_and_leaves_the_folder_free(
    command, start, pairs_file, tmp_path
):
    first = tmp_path / "one-score"
    read_json(command(pairs_file, "--model", start, "--out", first, "--json", *FAST))
    records = [{"prompt": f"{a}+1=", "completions": [f"{a + 1}"], "labels": [True]} for a in range(6)]
    data, out = jsonl(tmp_path / "steps.jsonl", records), tmp_path / "prm"
    result = command(data, "--kind", "steps", "--model", first, "--out", out, *FAST)
    assert result.exit_code == 2
    assert "one-score has a head or weights of another size: score.weight is (1, " in result.stderr
    assert not out.exists()
    assert command(data, "--kind", "steps", "--model", start, "--out", out, *FAST).exit_code == 0


CODE = """
from transformers import BertConfig, BertForSequenceClassification

class OwnConfig(BertConfig):
    model_type = "own"

class OwnForSequenceClassification(BertForSequenceClassification):
    config_class = OwnConfig
"""


def test_code_that_a_model_brings_runs_only_where_the_command_says_so(command, start, pairs_file, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(start, own)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForSequenceClassification(BertConfig(vocab_size=200, num_labels=1, **sizes)).save_pretrained(own)
    (own / "modeling_own.py").write_text(CODE)
    config = json.loads((own / "config.json").read_text())
    places = {"AutoConfig": "OwnConfig", "AutoModelForSequenceClassification": "OwnForSequenceClassification"}
    config |= {"model_type": "own", "auto_map": {auto: f"modeling_own.{name}" for auto, name in places.items()}}
    (own / "config.json").write_text(json.dumps(config))
    arguments = [pairs_file, "--model", own, "--out", tmp_path / "rm", "--held-out", 0, *FAST]
    refused = command(*arguments)
    assert refused.exit_code == 2
    assert "own brings code of its own, which would run with your rights. Where you trust it, pass" in refused.stderr
    read_json(command(*arguments, "--trust-remote-code", "--json"))
    assert (tmp_path / "rm" / "modeling_own.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{pairs}", "--model", "m", "--out", "o", "--lora-alpha", "8"], "lora_alpha is 8.0 with lora_rank=0. Pass a"),
        (["{pairs}", "--model", "m", "--out", "o", "--epochs", "-1"], "epochs is -1.0, which trains nothing. Pass a"),
        (["{pairs}", "--model", "m", "--out", "o", "--learning-rate", "nan"], "learning_rate is nan, which trains no"),
        (["{pairs}", "--model", "m", "--out", "o", "--max-steps", "0"], "max_steps is 0, outside [1, inf]. Pass a"),
        (["no.jsonl", "--model", "m", "--out", "o"], "there is no file no.jsonl"),
        (["no.jsonl", "--model", "m", "--out", "o", "--kind", "listwise"], "--kind is 'listwise', which is not one of"),
        (["{pairs}", "--model", "m", "--out", "o", "--option", "pairs"], "--option pairs has no value. Write"),
        (["{pairs}", "--model", "m", "--out", "o", "--option", "pairs=all"], "schema explicit has no option pairs"),
        (
            ["{pairs}", "--model", "m", "--out", "o", "--loss", "dpo"],
            "--loss and --beta are of --kind implicit, and this",
        ),
        (["{pairs}", "--model", "m", "--out", "o", "--strength", "twice"], "strength is 'twice', which is not one"),
        (
            ["{pairs}", "--model", "{nowhere}", "--out", "{out}"],
            "nowhere. Give a model's folder, or",
        ),
        (["no.jsonl", "--model", "./nomodel", "--out", "{out}"], "train-reward: there is no folder ./nomodel. Give a"),
        (
            ["{pairs}", "--model", "nomodel", "--out", "{out}"],
            "There is no folder nomodel here, and the",
        ),
        (
            ["{pairs}", "--model", "my/nomodel", "--out", "{out}"],
            "There is no folder my/nomodel here, and",
        ),
    ],
)
def test_what_cannot_be_used_exits_with_2(command, pairs_file, tmp_path, arguments, message):
    places = {"{pairs}": pairs_file, "{nowhere}": tmp_path / "nowhere", "{out}": tmp_path / "out"}
    result = command(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


def rows_of(path):
    return read_preferences(path, duplicates=False).rows


def test_an_interrupted_training_goes_on_to_the_same_model(start, pairs_file, tmp_path, monkeypatch):
    fit = RewardFit(max_steps=6, batch_size=8, learning_rate=1e-3, checkpoint_steps=2)
    rows = rows_of(pairs_file)
    whole = fit_reward_model(rows, start, tmp_path / "whole", fit)

    again = partial(fit_reward_model, rows, start, tmp_path / "halves", fit)
    seen = interrupted(monkeypatch, RewardTrainer, again, at=5)
    assert not (tmp_path / "halves" / RECORD).exists()
    cut_off = tmp_path / "halves" / "checkpoints" / "checkpoint-6"  # what a kill in the middle of saving leaves
    cut_off.mkdir()
    (cut_off / "config.json").write_text("{}")
    halves = again()
    assert seen == [0, 1, 2, 3, 4, 4, 5]  # it goes on from the checkpoint after four steps
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, halves))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_strength_becomes_a_weight_or_a_margin_where_the_row_has_none(start):
    from rewardsmith.engines.trl.fit import written

    row = PreferenceRow("a", "b", "c", strength=3.0)
    assert written(row, RewardFit(strength="weight"), chat=False).weight == 3.0
    assert written(row, RewardFit(strength="margin"), chat=False).margin == 3.0
    assert written(row, RewardFit(), chat=False) == row
    own = PreferenceRow("a", "b", "c", strength=3.0, weight=0.5)
    assert written(own, RewardFit(strength="weight"), chat=False).weight == 0.5
    chatty = written(PreferenceRow("a", "b", "c", context="z"), RewardFit(), chat=True)
    assert "z" in chatty.prompt[0]["content"]
    assert chatty.chosen == [{"role": "assistant", "content": "b"}]


def test_no_rows_are_refused(start, tmp_path):
    with pytest.raises(ValueError, match=r"fit_reward_model: there are no rows to train on. Read some"):
        fit_reward_model([], start, tmp_path)


OUTCOMES = [
    {"prompt": f"{a}+{b}=", "completion": text, "label": not k}
    for a in range(6) for b in range(5) for k, text in enumerate([f"so {a + b}", f"maybe {a} or {b}"])
]  # fmt: skip


def test_outcomes_train_a_language_model_that_is_scored_and_audited_by_command(command, start, tmp_path, monkeypatch):
    data, out = jsonl(tmp_path / "outcomes.jsonl", OUTCOMES), tmp_path / "rm"
    asked = ["--kind", "implicit", "--outcomes", data, "--model", start, "--held-out", "0.2", "--beta", 0.5, *FAST]
    found = read_json(command(*asked, "--out", out, "--json"))
    assert found["card"]["labels"] == {"0": 30, "1": 30}
    figures = {name: figure["value"] for name, figure in found["figures"].items()}
    assert figures["accuracy within prompts"] > 0.9  # a form, which carries over to other prompts
    assert figures["mean reward of right completions"] > figures["mean reward of wrong completions"]
    assert figures["cap of the reward of right completions"] == pytest.approx(0.5 * math.log(2))  # half are right
    assert found["figures"]["accuracy within prompts"]["n"] == 6  # 6 of 30 prompts

    reward = load_reward_model(out)
    assert (type(reward), reward.beta) == (ImplicitReward, 0.5)
    monkeypatch.chdir(tmp_path.parent)  # the reference is found from elsewhere
    scored = tmp_path / "scored.jsonl"
    run = partial(CliRunner().invoke, app)
    done = run(["score", str(data), "--reward", str(out), "--out", str(scored), "--workers", "0"])
    assert done.exit_code == 0, done.output
    given = [json.loads(line)["reward"] for line in scored.read_text().splitlines()]
    rows = [[row[name] for row in OUTCOMES] for name in ("prompt", "completion")]
    assert given == pytest.approx(reward.score(*rows), abs=1e-5)
    pairs = [
        {"prompt": right["prompt"], "chosen": right["completion"], "rejected": wrong["completion"]}
        for right, wrong in zip(OUTCOMES[::2], OUTCOMES[1::2], strict=True)
    ]
    report = tmp_path / "report"
    done = run(["audit", str(out), str(jsonl(tmp_path / "p.jsonl", pairs)), "--out", str(report), "--workers", "0"])
    assert done.exit_code in (0, 1), done.output
    assert json.loads((report / "report.json").read_text())["findings"]


def test_outcomes_and_preference_data_are_not_mixed(command, pairs_file, tmp_path):
    given = ["--model", "m", "--out", tmp_path / "o"]
    for arguments in ([pairs_file, "--outcomes", pairs_file], ["--kind", "implicit", pairs_file], []):
        result = command(*arguments, *given)
        assert result.exit_code == 2
        assert "give one source of rows: preference data, or, with --kind implicit," in result.stderr
