"""Folders that are broken, hostile or of another form: words that name the folder and the cause, and no traceback."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.small_models import bert, llama_classifier, llama_policy, qwen2_policy, step_classifier, tokenizer
from tokenizers.normalizers import Replace
from transformers import (
    AutoTokenizer,
    BertModel,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralForTokenClassification,
    Qwen2ForCausalLM,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from typer.testing import CliRunner

from rewardsmith.cli import app
from rewardsmith.data import Row
from rewardsmith.errors import TargetError
from rewardsmith.rewards import GaussianHeads, GaussianReward, PairwiseReward, load_reward_model
from rewardsmith.scoring import load_target, score

pytestmark = pytest.mark.slow


def saved(model, folder: Path) -> Path:
    model.float().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return saved(llama_classifier(), tmp_path / "rm")


def changed(folder: Path, **config) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 64, None, b'\x08\0\0\0\0\0\0\0{"a": 1'], ids=["empty", "junk", "cut", "header"]
)
def test_broken_weights_are_an_error_with_their_cause(folder, content):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] if content is None else content)
    with pytest.raises(TargetError, match=r"rm cannot be loaded \(SafetensorError: .*Save the model there"):
        load_reward_model(folder)


@pytest.mark.parametrize(
    "config",
    [
        *({"hidden_size": -4}, {"hidden_size": "wide"}, {"num_hidden_layers": None}, {"vocab_size": 0.5}),
        *({"model_type": "nosuch"}, {"hidden_act": "system"}, {"pad_token_id": 10**6}, {"num_attention_heads": 7}),
    ],
)
def test_odd_sizes_are_an_error(folder, config):
    with pytest.raises(TargetError, match=r"rm (cannot be loaded|holds no model|holds weights of other sizes)"):
        load_reward_model(changed(folder, **config))


def test_a_head_of_another_size_is_named_with_both(folder):
    changed(folder, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    why = r"of other sizes than its config.json: score.weight is \(1, 32\), and \(2, 32\) by the config"
    with pytest.raises(TargetError, match=why):
        load_reward_model(folder)
    result = CliRunner().invoke(app, ["audit", str(folder), str(folder / "none.jsonl")])
    assert result.exit_code == 2


@pytest.mark.parametrize("fault", ["ids beyond the embedding", "template that would break out"])
def test_what_fails_at_the_first_row_is_an_error(folder, fault):
    if fault == "ids beyond the embedding":
        weights = load_file(folder / "model.safetensors")
        embedding = weights["model.embed_tokens.weight"][:20].clone()
        save_file(weights | {"model.embed_tokens.weight": embedding}, folder / "model.safetensors", {"format": "pt"})
        changed(folder, vocab_size=20)
    if fault == "template that would break out":
        (folder / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    why = {
        "ids beyond the embedding": r"ValueError: token \d+ is beyond the model's embedding, which has 20",
        "template that would break out": "SecurityError: access to attribute '__class__'",
    }[fault]
    with pytest.raises(TargetError, match=rf"rm cannot score a plain row \({why}.* must fit its weights: save them"):
        load_reward_model(folder, device="cpu", chat="template" in fault)


@pytest.mark.models
def test_padding_by_a_token_that_is_none_is_padding_by_another(folder):
    rows = ["1+1=", "the answer is ", "so ", "2+2=", "the "], ["2", "4", "maybe 5 or 4", "so", ""]
    right = load_reward_model(folder, device="cpu").score(*rows)
    for pad in (-5, -1):
        assert load_reward_model(changed(folder, pad_token_id=pad), device="cpu").score(*rows) == pytest.approx(right)


@pytest.mark.parametrize(
    ("config", "extra", "key"),
    [
        ({"num_hidden_layers": 1}, None, "holds 9 weights .* such as model.layers.1.input_layernorm.weight"),
        ({}, "score.bias", "holds 1 weights .* such as score.bias"),
        ({}, "model.layers.0.self_attn.q_proj.bias", "such as model.layers.0.self_attn.q_proj.bias"),
        ({}, "model.layers.0.self_attn.q_norm.weight", "such as model.layers.0.self_attn.q_norm.weight"),
    ],
)
def test_weights_that_the_config_leaves_out_are_named(folder, config, extra, key):
    weights = load_file(folder / "model.safetensors")
    if extra:
        save_file(weights | {extra: torch.ones(1)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(TargetError, match=f"rm .*{key}.*Correct the config, such as its number of layers"):
        load_reward_model(changed(folder, **config), device="cpu")


def test_weights_of_another_head_and_old_buffers_may_be_left_out(folder):
    weights = load_file(folder / "model.safetensors")
    others = (
        *("lm_head.weight", "v_head.summary.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        *("model.rotary_emb.inv_freq", "model.layers.0.self_attn.bias", "model.layers.0.self_attn.masked_bias"),
        *("model.pooler.dense.weight", "model.position_ids"),
    )
    extra = {name: torch.ones(1) for name in others}
    save_file(weights | extra, folder / "model.safetensors", {"format": "pt"})
    assert None not in scores(load_reward_model(folder, device="cpu"))


def test_a_head_without_a_finite_number_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    broken = weights | {"score.weight": weights["score.weight"] * torch.nan}
    save_file(broken, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(TargetError, match=r"rm gives \[nan\] and no finite number in any of 6 rows. Its weights are"):
        load_reward_model(folder, device="cpu")


def test_a_row_with_a_token_beyond_the_embedding_is_unscored_beside_its_neighbors(folder):
    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"][:-1].clone()
    save_file(weights | {"model.embed_tokens.weight": embedding}, folder / "model.safetensors", {"format": "pt"})
    changed(folder, vocab_size=len(embedding))
    beyond = tokenizer().convert_ids_to_tokens(len(embedding))
    rows = [Row("1+1=", text) for text in ("2", beyond, "3")]
    target, why = load_target(str(folder)), "token 121 is beyond the model's embedding, which has 121"
    found = score(target, rows, workers=0)
    assert [r.reason for r in found] == [None, "none", None]
    assert found[1].detail == why
    direct = target.reward.reasoned([row.prompt for row in rows], [row.completion for row in rows])
    assert direct[1].why == why
    assert direct[::2] == pytest.approx([found[0].reward, found[2].reward], abs=1e-6)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "training.json"])
def test_files_that_are_no_json_or_missing_are_an_error(folder, name):
    (folder / name).write_text('{"settings": ')
    with pytest.raises(TargetError, match="rm holds no model and tokenizer that can be read"):
        load_reward_model(folder)
    (folder / name).unlink()
    if name != "training.json":
        with pytest.raises(TargetError, match="rm holds no model and tokenizer that can be read"):
            load_reward_model(folder)


CODE = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import BertConfig, BertForSequenceClassification
class OwnConfig(BertConfig):
    model_type = "own"
class OwnForSequenceClassification(BertForSequenceClassification):
    config_class = OwnConfig
"""


BOTH = """
import sys
from pathlib import Path
from rewardsmith.errors import TargetError
from rewardsmith.scoring import load_target
folder, mark = sys.argv[1:]
try:
    load_target(folder)
except TargetError as error:
    print(error)
assert not Path(mark).exists()
load_target(folder, trust_remote_code=True)
"""


def test_code_of_a_folder_runs_where_it_is_asked_for_and_nobody_is_asked(tmp_path):
    folder, mark = saved(bert(), tmp_path / "rm"), tmp_path / "ran"
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.OwnForSequenceClassification"}
    changed(folder, auto_map=own, model_type="own", architectures=["OwnForSequenceClassification"])
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")}
    command = [sys.executable, "-c", BOTH, str(folder), str(mark)]
    done = subprocess.run(command, input="y\n" * 9, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "comes with its own Python code, which is not run by default" in done.stdout
    assert mark.exists()


def test_code_of_a_tokenizer_does_not_run_either(folder, tmp_path):
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    file = folder / "tokenizer_config.json"
    own = {"auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}, "tokenizer_class": "OwnTokenizer"}
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    with pytest.raises(
        TargetError, match=r"rm comes with its own Python code, .*pass trust_remote_code=True, or --trust"
    ):
        load_reward_model(folder)
    assert not (tmp_path / "ran").exists()


def gaussian(folder: Path) -> None:
    heads = GaussianHeads(32, 2, generator=torch.Generator().manual_seed(0))
    GaussianReward(bert().float(), heads, tokenizer()).save(folder)


RESTLESS = {
    LlamaForSequenceClassification: (
        lambda folder: saved(llama_classifier(), folder),
        "LlamaForSequenceClassification",
    ),
    MistralForTokenClassification: (lambda folder: saved(step_classifier(), folder), "MistralForTokenClassification"),
    BertModel: (gaussian, "BertForSequenceClassification"),
    LlamaForCausalLM: (lambda folder: saved(llama_policy(), folder), "LlamaForCausalLM"),
    Qwen2ForCausalLM: (lambda folder: saved(llama_policy(), folder), "Qwen2ForCausalLM"),  # the reference's
}


@pytest.mark.models
@pytest.mark.parametrize("kind", RESTLESS)
def test_a_model_whose_scores_are_not_those_of_its_own_forward_is_refused(kind, tmp_path, monkeypatch):
    save, named = RESTLESS[kind]
    save(tmp_path / "rm")
    causal = {"reference": saved(qwen2_policy(), tmp_path / "reference")} if "CausalLM" in named else {}
    load_reward_model(tmp_path / "rm", device="cpu", **causal)
    own, calls = kind.forward, itertools.count()

    def restless(self, *arguments, **options):
        found = own(self, *arguments, **options)
        field = "logits" if "logits" in found else "last_hidden_state"
        found[field] = found[field] * (1 + math.sin(next(calls)))
        return found

    monkeypatch.setattr(kind, "forward", restless)
    with pytest.raises(TargetError, match=rf"rm scores a row of \d+ tokens .* difference of .*Please report {named} "):
        load_reward_model(tmp_path / "rm", device="cpu", **causal)


def test_a_tokenizer_that_reads_otherwise_than_its_file_is_named(folder, monkeypatch, caplog):
    load_reward_model(folder, device="cpu")
    assert "tokenizer.json" not in caplog.text
    other = tokenizer()
    other.backend_tokenizer.normalizer = Replace("1", "2")
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *arguments, **options: other)
    load_reward_model(folder, device="cpu")
    assert "whose tokens for '1 + 2 = ' differ from its tokenizer.json. Its scores may be wrong" in caplog.text


@pytest.mark.models
def test_a_head_over_all_positions_padding_too_is_loaded_and_read_alone(folder, monkeypatch):
    def largest(self, input_ids, attention_mask=None, **options):
        states = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        return SequenceClassifierOutput(logits=self.score(states).max(dim=1).values)

    monkeypatch.setattr(LlamaForSequenceClassification, "forward", largest)
    rm = load_reward_model(folder, device="cpu")
    rows = ["1+1=", "the answer is ", "so ", "2+2=", "the "], ["2", "4", "maybe 5 or 4", "so", ""]
    ids = [tokenizer()(p + c + "<eos>", return_tensors="pt")["input_ids"] for p, c in zip(*rows, strict=True)]
    with torch.inference_mode():
        assert rm.score(*rows) == pytest.approx([largest(rm.model, row).logits.item() for row in ids], abs=1e-5)
    assert rm.scanner.max_rows == 1


def scores(reward):
    return reward.score(["1+1=", "the answer is "], ["2", "4"])


def test_strings_end_as_the_training_has_recorded_else_as_trl_trains(folder, caplog):
    with caplog.at_level(logging.WARNING):
        usual = load_reward_model(folder, device="cpu")
    assert "rm does not record its training format, so strings end with '<eos>', as in TRL's" in caplog.text
    caplog.clear()
    for recorded in (True, False):
        (folder / "training.json").write_text(json.dumps({"settings": {"end_token": recorded}}))
        with caplog.at_level(logging.WARNING):
            assert load_reward_model(folder, device="cpu").eos is recorded
        assert load_reward_model(folder, device="cpu", eos=not recorded).eos is not recorded
    assert not caplog.text
    assert usual.eos
    assert scores(usual) != scores(load_reward_model(folder, device="cpu"))


def test_pairs_and_gaussian_heads_keep_the_form_they_were_fitted_in(folder, tmp_path, caplog):
    tok = tokenizer()
    PairwiseReward(llama_classifier().float(), tok, eos=False).save(tmp_path / "pair")
    heads = GaussianHeads(32, 2, generator=torch.Generator().manual_seed(0))
    GaussianReward(bert().float(), heads, tok, eos=False).save(tmp_path / "heads")
    for name in ("pair", "heads"):
        assert load_reward_model(tmp_path / name, device="cpu").eos is False
    assert not caplog.text


def test_options_of_a_model_reach_workers_and_the_commands(folder, tmp_path):
    target = load_target(str(folder), eos=False)
    assert pickle.loads(pickle.dumps(target)).reward.eos is False
    with pytest.raises(TargetError, match=r"eos is only for a reward model, and 'json:dumps' is no folder or hub name"):
        load_target("json:dumps", eos=False)
    steps = saved(step_classifier(), tmp_path / "steps")
    with pytest.raises(
        TargetError, match=r"ForTokenClassification, and only a …ForSequenceClassification has a choice of end"
    ):
        load_target(str(steps), eos=True)
    rows, found = tmp_path / "rows.jsonl", {}
    rows.write_text(json.dumps({"prompt": "1+1=", "completion": "2"}) + "\n")
    for flag in ("--end-token", "--no-end-token"):
        out = tmp_path / f"{flag}.jsonl"
        result = CliRunner().invoke(app, ["score", str(rows), "--reward", str(folder), "--out", str(out), flag])
        assert result.exit_code == 0, result.output
        found[flag] = json.loads(out.read_text())["reward"]
    for command in (
        ["audit", "json:dumps", str(rows)],
        ["score", str(rows), "--reward", "json:dumps", "--out", "o.jsonl"],
    ):
        result = CliRunner().invoke(app, [*command, "--trust-remote-code"])
        assert result.exit_code == 2
        assert "trust_remote_code is only for a reward model" in " ".join(result.stderr.split())
    for flag, eos in (("--end-token", True), ("--no-end-token", False)):
        assert found[flag] == pytest.approx(
            load_target(str(folder), eos=eos).reward.score(["1+1="], ["2"])[0], abs=1e-5
        )


def test_a_trunk_of_another_size_is_refused_under_gaussian_heads_too(tmp_path):
    heads = GaussianHeads(32, 2, generator=torch.Generator().manual_seed(0))
    GaussianReward(bert().float(), heads, tokenizer()).save(tmp_path / "heads")
    weights = load_file(tmp_path / "heads" / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    save_file(weights | {name: weights[name][:-1].clone()}, tmp_path / "heads" / "model.safetensors", {"format": "pt"})
    with pytest.raises(TargetError, match=r"holds weights of other sizes than its config.json"):
        load_reward_model(tmp_path / "heads")
