"""Folders that `train-reward` wrote, and reward models by name where a reward's name is asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.small_models import llama_classifier, mixed_rows, saved, step_classifier, tokenizer

from rewardsmith.data import Row
from rewardsmith.errors import TargetError
from rewardsmith.rewards import RewardEnsemble, SequenceReward, load_reward_model
from rewardsmith.rewards.models.ensemble import MemberScale
from rewardsmith.scoring import load_reward, load_target, score

pytestmark = pytest.mark.slow

PROMPTS, COMPLETIONS = mixed_rows()


@pytest.fixture
def members(tmp_path):
    """Eleven, so that their order as text is not their order as numbers."""
    for k in range(11):
        saved(llama_classifier(seed=k), tmp_path / "rm" / f"member-{k}")
    return tmp_path / "rm"


def table_of(n):
    return np.array([SequenceReward(llama_classifier(seed=k), tokenizer()).score(PROMPTS, COMPLETIONS)
                     for k in range(n)])  # fmt: skip


def test_a_folder_of_members_is_the_mean_of_its_members_as_they_are(members):
    rm = load_reward_model(members, device="cpu")
    assert isinstance(rm, RewardEnsemble)
    assert (rm.name, rm.normalize, len(rm.members)) == ("rm", "none", 11)
    table = table_of(11)
    assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx(list(table.mean(axis=0)), abs=1e-9)
    found = np.array(rm.source_rewards(PROMPTS, COMPLETIONS)).T
    assert np.allclose(found, table, atol=1e-9)  # member-2 comes before member-10


def test_a_row_that_one_member_cannot_score_has_the_mean_of_the_others(members):
    rm = load_reward_model(members, device="cpu", max_length=200)
    rm.members = rm.members[:3]
    rm.members[1] = load_reward_model(members / "member-1", device="cpu", max_length=1)
    table = table_of(3)
    assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx(list(table[[0, 2]].mean(axis=0)), abs=1e-9)


def test_the_aggregate_and_the_scale_are_the_callers_and_all_else_the_members(members):
    scale = MemberScale((1.0,) * 11, (2.0,) * 11, 9)
    rm = load_reward_model(
        members, aggregate=lambda source_rewards: source_rewards.amin(-1), normalize="ref_zscore", scale=scale,
        device="cpu", max_length=77, name="least",
    )  # fmt: skip
    assert {member.max_length for member in rm.members} == {77}
    assert rm.name == "least"
    want = ((table_of(11) - 1) / 2).min(axis=0)
    assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx(list(want), abs=1e-9)


def test_a_member_that_is_not_finished_is_refused(members):
    (members / "member-4" / "config.json").unlink()
    with pytest.raises(TargetError, match=r"member-4 holds no model and tokenizer that can be read"):
        load_reward_model(members)


def test_members_that_score_steps_are_refused(tmp_path):
    saved(step_classifier(), tmp_path / "prm" / "member-0")
    with pytest.raises(TargetError, match=r"the members of .*prm score steps, and an ensemble has one number a row"):
        load_reward_model(tmp_path / "prm")


def test_the_recorded_step_end_is_used_unless_told_otherwise(tmp_path):
    folder = saved(step_classifier(), tmp_path / "prm")
    (folder / "training.json").write_text(json.dumps({"kind": "StepRow", "settings": {"step_end": "=", "seed": 1}}))
    assert load_reward_model(folder, device="cpu").step_end == "="
    assert load_reward_model(folder, device="cpu", step_end="+").step_end == "+"


def test_a_folder_names_its_reward_wherever_a_reward_is_named(tmp_path, members, monkeypatch):
    folder = saved(llama_classifier().float(), tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    target = load_target("one")
    assert (target.name, target.contract, target.spec) == ("one", "trl", str(folder.resolve()))
    assert isinstance(target.reward, SequenceReward)
    assert isinstance(load_reward(str(members)).reward, RewardEnsemble)
    rows = [Row("1+1=", "2"), Row("1+1=", "so 3")]
    monkeypatch.chdir("/")  # a worker process finds it wherever it runs
    here, there = (score(target, rows, workers=workers, timeout=120) for workers in (0, 1))
    assert [r.reward for r in here] == pytest.approx([r.reward for r in there])
    assert all(r.reason is None for r in there)


def test_a_name_on_the_hub_is_looked_for_there(monkeypatch, members):
    asked = []

    def found(name):
        asked.append(name)
        return SequenceReward(llama_classifier(), tokenizer())

    monkeypatch.setattr("rewardsmith.rewards.load_reward_model", found)
    assert load_target("Skywork/Skywork-Reward-V2-0.6B").spec == "Skywork/Skywork-Reward-V2-0.6B"
    assert asked == ["Skywork/Skywork-Reward-V2-0.6B"]
    for name in ("a/b/c", "nothing", "/no/such"):
        with pytest.raises(TargetError, match=r"is not a reward's name\. .*a reward model's folder or `owner/name`"):
            load_target(name)
    assert len(asked) == 1


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(TargetError, match="holds no model and tokenizer that can be read"):
        load_target(str(tmp_path))
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(TargetError, match="holds no model and tokenizer"):
        load_target(str(tmp_path))
