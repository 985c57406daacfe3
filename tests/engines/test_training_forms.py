"""The form in which a reward model reads strings in training, recorded with it, and starts that do not fit."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    PreTrainedTokenizerFast,
)
from trl import RewardConfig

from rewardsmith.data import PreferenceRow, RatedRow, StepRow
from rewardsmith.engines.trl import Member, RewardFit, RewardTrainer, fit_members, fit_reward_model
from rewardsmith.engines.trl.fit import RECORD
from rewardsmith.engines.trl.reading import with_adapters
from rewardsmith.rewards import SequenceReward
from tests.engines.helpers import interrupted
from tests.installed import part_of

pytestmark = pytest.mark.slow

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "is", "it", "right", "wrong", "we", "say", "so", "no", "yes"]
SIZES = {
    "vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_labels": 1,
    "num_attention_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip
FAST = RewardFit(max_steps=4, batch_size=8, learning_rate=3e-3, checkpoint_steps=2)
PAIRS = [PreferenceRow(f"is it {word}", "yes it is", "no") for word in ("right", "wrong", "so", "we", "say", "no")]


def folder(tmp_path, kind, *, eos):
    """A small encoder and its tokenizer of words, with or without an end token beside the separator."""
    backend = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.add_special_tokens(WORDS[:4])
    backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
        eos_token="[SEP]" if eos else None,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(**SIZES) if kind is BertForSequenceClassification else DebertaV2Config(**SIZES)
    kind(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "eos", "form"),
    [
        (BertForSequenceClassification, False, [1, 4, 5, 6, 12, 5, 4, 2]),  # [CLS] is it right yes it is [SEP]
        (DebertaV2ForSequenceClassification, True, [1, 4, 5, 6, 12, 5, 4, 2, 2]),  # and [SEP] as the end token
    ],
)
def test_an_encoder_trains_and_its_record_says_the_form_in_which_it_is_to_be_scored(tmp_path, kind, eos, form):
    start = folder(tmp_path / "start", kind, eos=eos)
    rows = [PreferenceRow("is it right", " yes it is", " no"), *PAIRS]
    out = fit_reward_model(rows, start, str(tmp_path / "out"), FAST)
    settings = json.loads((out / RECORD).read_text())["settings"]
    assert settings["end_token"] is eos
    loaded = AutoModelForSequenceClassification.from_pretrained(out).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    trainer = RewardTrainer(
        model=loaded,
        args=RewardConfig(output_dir=str(tmp_path / "again"), report_to="none", use_cpu=True),
        train_dataset=datasets_of(rows),
        processing_class=tokenizer,
    )
    assert list(trainer.train_dataset[0]["chosen_ids"]) == form
    assert "weight" in trainer.train_dataset.column_names  # further columns stay
    reward = SequenceReward(loaded.cpu().eval(), tokenizer, eos=settings["end_token"])
    with torch.no_grad():
        plain = float(loaded(input_ids=torch.tensor([form]), attention_mask=torch.ones(1, len(form))).logits)
    assert reward.score(["is it right"], [" yes it is"]) == pytest.approx([plain], abs=1e-6)


def datasets_of(rows):
    from rewardsmith.data import to_dataset

    return to_dataset(rows).add_column("weight", [1.0] * len(rows))


def test_a_pair_whose_prompt_is_part_of_its_answers_is_read_too(tmp_path):
    from datasets import Dataset

    start = folder(tmp_path / "start", BertForSequenceClassification, eos=False)
    trainer = RewardTrainer(
        model=AutoModelForSequenceClassification.from_pretrained(start),
        args=RewardConfig(output_dir=str(tmp_path / "t"), report_to="none", use_cpu=True, max_length=4),
        train_dataset=Dataset.from_list([
            {"chosen": "yes", "rejected": "no"},
            {"chosen": "yes it is so", "rejected": "no"},
        ]),
        processing_class=PreTrainedTokenizerFast.from_pretrained(start),
    )  # fmt: skip
    assert [list(row["chosen_ids"]) for row in trainer.train_dataset] == [[1, 12, 2]]  # the other is too long


RATED = [RatedRow(f"is it {w}", "yes", {"good": k % 3, "short": k % 2}) for k, w in enumerate(WORDS[4:])]
STEPS = [StepRow(f"is it {w}", ["it is", "so"], [True, k % 2 == 0]) for k, w in enumerate(WORDS[4:])]


@pytest.mark.parametrize(("rows", "outputs"), [(RATED, 2), (STEPS, 2)], ids=["rating", "steps"])
def test_a_head_of_another_size_is_refused_in_words_and_leaves_no_folder(tmp_path, rows, outputs):
    start = folder(tmp_path / "start", BertForSequenceClassification, eos=False)
    out = tmp_path / "out"
    fit = RewardFit(max_steps=2, batch_size=4, step_end="so")
    with pytest.raises(ValueError, match=rf"start has a head or weights of another size: classifier.*\({outputs}"):
        fit_reward_model(rows, start, out, fit)
    assert not out.exists()
    fit_reward_model(PAIRS, start, out, FAST)  # the folder is free for another start


def test_a_start_that_got_no_further_than_its_first_update_does_not_block_the_folder(tmp_path, monkeypatch):
    start = folder(tmp_path / "start", BertForSequenceClassification, eos=False)

    def dies(*_, **__):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(RewardTrainer, "training_step", dies)
        with pytest.raises(RuntimeError, match="out of memory"):
            fit_reward_model(PAIRS, start, tmp_path / "out", FAST)
    smaller = RewardFit(max_steps=2, batch_size=2)
    out = fit_reward_model(PAIRS, start, tmp_path / "out", smaller)
    assert json.loads((out / RECORD).read_text())["settings"]["batch_size"] == 2


def test_adapters_and_a_frozen_trunk_exclude_each_other_and_stacks_have_none(tmp_path, monkeypatch):
    monkeypatch.setattr("rewardsmith.engines.trl.fit.check_adapters", lambda caller: None)
    with pytest.raises(ValueError, match=r"RewardFit: lora_rank=4 trains adapters.*Choose one"):
        RewardFit(lora_rank=4, head_only=True)
    member = Member(PAIRS, "nowhere", tmp_path, RewardFit(lora_rank=4))
    with pytest.raises(ValueError, match=r"stacked members train all their weights, and lora_rank asks.*in processes"):
        fit_members([member, member], side_by_side="stacked")


def test_without_peft_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ImportError, match=r'RewardFit with lora_rank: peft cannot be.*pip install "\.\[lora\]"'):
        RewardFit(lora_rank=4)


@pytest.mark.parametrize("rows", [PAIRS, RATED, STEPS], ids=["pairs", "rating", "steps"])
def test_adapters_become_an_ordinary_model_whose_weights_moved_by_their_rank(tmp_path, rows, world):
    part_of("peft", "peft")
    fit = RewardFit(max_steps=6, batch_size=4, learning_rate=1e-2, lora_rank=2, checkpoint_steps=4, max_length=64)
    out = fit_reward_model(rows, world.folder, tmp_path / "out", fit)
    assert sorted(p.name for p in out.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", RECORD,
    ]  # fmt: skip
    before, after = load_file(world.folder / "model.safetensors"), load_file(out / "model.safetensors")
    moved = 0
    for name, weight in after.items():
        if name.startswith("score"):
            continue  # the head is trained as a whole
        change = weight - before[name]
        linear = "proj" in name and weight.ndim == 2
        assert linear or not change.any(), name
        if linear:
            spectrum = torch.linalg.svdvals(change.double())
            assert spectrum[2] < 1e-4 * spectrum[0].clamp_min(1e-6)  # of rank 2 at most
            moved += int(spectrum[0] > 0)
    assert moved
    assert json.loads((out / RECORD).read_text())["settings"]["lora_rank"] == 2


@pytest.mark.parametrize("kind", [BertForSequenceClassification, DebertaV2ForSequenceClassification])
def test_adapters_of_an_encoder_leave_its_embeddings_and_train_its_whole_head(tmp_path, kind):
    part_of("peft", "peft")
    start = folder(tmp_path / "start", kind, eos=False)
    fit = RewardFit(max_steps=4, batch_size=4, learning_rate=1e-2, lora_rank=2)
    out = fit_reward_model(PAIRS, start, tmp_path / "out", fit)
    before, after = (load_file(each / "model.safetensors") for each in (start, out))
    assert before.keys() == after.keys()
    moved = {name for name in after if bool((after[name] != before[name]).any())}
    assert "classifier.weight" in moved
    assert not [name for name in moved if "embeddings" in name or "LayerNorm" in name]
    assert any(name.startswith(("bert.encoder", "deberta.encoder")) for name in moved)


def test_a_model_that_does_not_name_its_trunk_has_no_adapters():
    part_of("peft", "peft")
    model = BertForSequenceClassification(BertConfig(**SIZES))
    model.base_model_prefix = ""
    with pytest.raises(ValueError, match="with_adapters: BertForSequenceClassification has no base_model_prefix"):
        with_adapters(model, rank=2, alpha=None)


def test_an_interrupted_training_of_adapters_goes_on_to_the_same_model(tmp_path, world, monkeypatch):
    part_of("peft", "peft")
    fit = RewardFit(max_steps=6, batch_size=4, learning_rate=1e-2, lora_rank=2, checkpoint_steps=2, max_length=64)
    whole = fit_reward_model(PAIRS, world.folder, tmp_path / "whole", fit)
    again = partial(fit_reward_model, PAIRS, world.folder, tmp_path / "halves", fit)
    seen = interrupted(monkeypatch, RewardTrainer, again, at=5)
    with pytest.raises(ValueError, match="holds a model of other settings"):
        fit_reward_model(PAIRS, world.folder, tmp_path / "halves", RewardFit(max_steps=3))
    halves = again()
    assert seen == [0, 1, 2, 3, 4, 4, 5]
    record = halves / "training.json"  # of a version that had no setting `beta`
    written = json.loads(record.read_text())
    del written["settings"]["beta"]
    record.write_text(json.dumps(written))
    assert again() == halves
    assert len(seen) == 7
    first, second = (load_file(each / "model.safetensors") for each in (whole, halves))
    assert all(torch.equal(first[name], second[name]) for name in first)
