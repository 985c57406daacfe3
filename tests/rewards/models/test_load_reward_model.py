"""load_reward_model: the class by the config, safetensors alone, offline."""

from __future__ import annotations

import socket

import huggingface_hub
import pytest
import torch
from tests.small_models import llama_classifier, llama_policy, saved, step_classifier, tokenizer

from rewardsmith.data import Row
from rewardsmith.errors import TargetError
from rewardsmith.rewards import ImplicitReward, SequenceReward, StepReward, load_reward_model
from rewardsmith.scoring import load_target, score

pytestmark = pytest.mark.slow


def test_the_config_chooses_the_class_and_the_scores_are_those_of_the_saved_model(tmp_path):
    model = llama_classifier().float()
    rm = load_reward_model(saved(model, tmp_path / "helpful"), device="cpu", max_length=99)
    assert isinstance(rm, SequenceReward)
    assert (rm.__name__, rm.max_length) == ("helpful", 99)
    assert rm.score(["1+1="], ["2"]) == pytest.approx(SequenceReward(model, tokenizer()).score(["1+1="], ["2"]))
    steps = load_reward_model(saved(step_classifier(), tmp_path / "steps"), device="cpu")
    assert isinstance(steps, StepReward)
    policy, start = (saved(llama_policy(seed), tmp_path / f"policy{seed}") for seed in (1, 2))
    implicit = load_reward_model(policy, reference=start, device="cpu", beta=0.2)
    assert isinstance(implicit, ImplicitReward)
    want = ImplicitReward(llama_policy(1), llama_policy(2), tokenizer(), beta=0.2).score(["1+1="], ["2"])
    assert implicit.score(["1+1="], ["2"]) == pytest.approx(want, abs=1e-6)


def test_a_call_of_it_names_a_reward_for_commands(tmp_path):
    folder = saved(llama_classifier().float(), tmp_path / "rm")
    target = load_target(f'rewardsmith.rewards:load_reward_model("{folder}", device="cpu")')
    found = score(target, [Row("1+1=", "2"), Row("1+1=", "so 3")], workers=0)
    want = load_reward_model(folder, device="cpu").score(["1+1=", "1+1="], ["2", "so 3"])
    assert [r.reward for r in found] == pytest.approx(want)


def test_pickled_weights_are_refused_with_the_way_out(tmp_path):
    model = llama_classifier()
    folder = saved(model, tmp_path / "rm")
    (folder / "model.safetensors").unlink()
    with pytest.raises(TargetError, match=r"holds no weights\. Save the model there with save_pretrained"):
        load_reward_model(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(
        TargetError, match=r"holds pytorch_model\.bin and no safetensors\. Pickled weights can run any code"
    ):
        load_reward_model(folder)


def test_a_model_without_its_head_is_refused(tmp_path):
    folder = saved(llama_policy(), tmp_path / "base")
    config = (folder / "config.json").read_text().replace("LlamaForCausalLM", "LlamaForSequenceClassification")
    (folder / "config.json").write_text(config)
    with pytest.raises(TargetError, match=r"lacks score\.weight, so its head would be fresh and score at random"):
        load_reward_model(folder, device="cpu")


def test_what_has_no_head_or_does_not_exist_is_refused(tmp_path):
    folder = saved(llama_policy(), tmp_path / "policy")
    with pytest.raises(TargetError, match="is a LlamaForCausalLM, which has no head that scores"):
        load_reward_model(folder)
    with pytest.raises(TargetError, match="holds no model and tokenizer that can be read"):
        load_reward_model(tmp_path / "nothing")


def test_offline_is_enough(tmp_path, monkeypatch):
    folder = saved(llama_classifier().float(), tmp_path / "rm")

    def refused(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    rewards = load_reward_model(folder)(["1+1="], ["2"])
    assert rewards == pytest.approx(SequenceReward(llama_classifier().float(), tokenizer()).score(["1+1="], ["2"]))
