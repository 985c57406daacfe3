"""Members trained in one run are the members trained alone, and are saved as ordinary reward models."""

import copy
import json
import os
from functools import partial

import pytest
import torch
import trl
from torch.testing import assert_close
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig

from rewardsmith.data import PreferenceRow, StepRow
from rewardsmith.engines.trl import Member, RewardFit, RewardTrainer, fit_members, fit_reward_model
from rewardsmith.engines.trl.stacked import MembersTrainer, StackedMembers
from rewardsmith.rewards import load_reward_model
from tests.engines.helpers import interrupted, logged, on_cpu
from tests.engines.test_reward_trainer import rows

pytestmark = pytest.mark.slow

NAN = float("nan")
COLUMNS = {"margin": [0.5, None, 0.1], "weight": [1.0, 2.0, 3.0, None], "soft_label": [0.0, 0.2, None],
           "is_tie": [False, False, False, True]}  # fmt: skip
SUBSETS = [[True, False, True], [True, True, False], [False, True, True], [True, False, False], [True, True, False]]


@pytest.fixture(scope="module")
def starts(world):
    """Three trunks and heads, as of three pretraining seeds, in float64."""
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(world.folder, num_labels=1).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02 * seed)
        made.append(model)
    return made


def config(**settings):
    given = {"per_device_train_batch_size": 4, "learning_rate": 1e-3, "max_steps": 5, **settings}
    return RewardConfig(**on_cpu(**given))


def stacked(world, starts, dataset, **settings):
    return MembersTrainer(StackedMembers(starts), config(**settings), train_dataset=dataset,
                          processing_class=copy.deepcopy(world.tokenizer))  # fmt: skip


def alone(trainer_class, world, start, dataset, **settings):
    trainer = trainer_class(model=copy.deepcopy(start), args=config(**settings), train_dataset=dataset,
                            processing_class=copy.deepcopy(world.tokenizer))  # fmt: skip
    trainer.train()
    return trainer


def assert_same_members(stack, models, starts):
    for k, (model, start) in enumerate(zip(models, starts, strict=True)):
        found, before = dict(stack.member(k).named_parameters()), dict(start.named_parameters())
        for name, own in model.named_parameters():
            assert_close(found[name], own, rtol=0, atol=1e-5)
            moved = (own - before[name]).abs().max()
            assert (found[name] - own).abs().max() <= 1e-5 * moved  # not equal for want of training


def only(dataset, k):
    """The same rows in the same order, where those that member k leaves out do not count."""

    def written(row):
        return {"weight": (row.get("weight") or 1.0) if row["kept_by"][k] else NAN}

    return dataset.map(written).remove_columns("kept_by")


def test_members_equal_trls_own_trainings_one_after_the_other(world, starts):
    dataset = rows(20)
    settings = {"weight_decay": 0.1, "max_grad_norm": 0.0, "center_rewards_coefficient": 0.1}
    trainer = stacked(world, starts, dataset, **settings)
    trainer.train()
    singles = [alone(trl.RewardTrainer, world, start, dataset, **settings)
               for start in starts]  # fmt: skip
    assert_same_members(trainer.model, [single.model for single in singles], starts)
    for name in ("loss", "accuracy", "margin"):
        means = [sum(values) / 3 for values in zip(*(logged(single, name) for single in singles), strict=True)]
        assert logged(trainer, name) == pytest.approx(means, rel=1e-4)


def test_each_member_is_clipped_by_its_own_norm(world, starts):
    loud = copy.deepcopy(starts)
    with torch.no_grad():
        loud[1].score.weight.mul_(30)  # gradients of the trunk thirty times as large
    settings = {"max_grad_norm": 0.5, "optim": "sgd", "learning_rate": 0.05}  # Adam would hide a factor
    trainer = stacked(world, loud, rows(20), **settings)
    trainer.train()
    singles = [alone(RewardTrainer, world, start, rows(20), **settings) for start in loud]
    assert_same_members(trainer.model, [single.model for single in singles], loud)
    norms = [logged(single, "grad_norm") for single in singles]
    assert max(norms[1]) > 0.5  # the clip was at work
    assert logged(trainer, "grad_norm") == pytest.approx([sum(n) / 3 for n in zip(*norms, strict=True)], rel=1e-4)


@pytest.mark.parametrize(
    "columns", [{}, COLUMNS, {"weight": [0.2, 1.0, 1.0, 0.8, 2.0]}], ids=["plain", "all columns", "mean of 1"]
)
def test_each_member_learns_from_its_own_subset(world, starts, columns):
    dataset = rows(20, kept_by=SUBSETS, **columns)
    settings = {"optim": "sgd", "learning_rate": 0.05, "weight_decay": 0.1, "max_grad_norm": 0.0}  # Adam hides a factor
    trainer = stacked(world, starts, dataset, **settings)
    trainer.train()
    singles = [alone(RewardTrainer, world, start, only(dataset, k), **settings)
               for k, start in enumerate(starts)]  # fmt: skip
    assert_same_members(trainer.model, [single.model for single in singles], starts)


def test_a_member_that_keeps_nothing_of_any_batch_does_not_move(world, starts):
    trainer = stacked(world, starts, rows(12, kept_by=[[True, False, True]]))
    trainer.train()
    for name, own in starts[1].named_parameters():
        assert torch.equal(dict(trainer.model.member(1).named_parameters())[name], own)


def test_dropout_differs_between_members(starts):
    twins = [copy.deepcopy(starts[0]) for _ in range(2)]
    for model in twins:
        model.model.layers[0].mlp.down_proj = torch.nn.Sequential(model.model.layers[0].mlp.down_proj,
                                                                  torch.nn.Dropout(0.5))  # fmt: skip
    ids = torch.arange(6)[None]
    torch.manual_seed(0)
    dropped, whole = StackedMembers(twins).train()(input_ids=ids).logits, StackedMembers(twins).eval()(input_ids=ids)
    assert dropped[0, 0] != dropped[0, 1]
    assert whole.logits[0, 0] == whole.logits[0, 1]


def test_evaluation_gives_the_mean_of_the_members(world, starts):
    trainer = stacked(world, starts, rows(12, **COLUMNS))
    singles = [RewardTrainer(model=copy.deepcopy(start), args=config(), train_dataset=rows(12, **COLUMNS),
                             processing_class=copy.deepcopy(world.tokenizer)) for start in starts]  # fmt: skip
    own = [single.evaluate(rows(8, **COLUMNS))["eval_loss"] for single in singles]
    assert trainer.evaluate(rows(8, **COLUMNS))["eval_loss"] == pytest.approx(sum(own) / 3, rel=1e-5)


def test_what_cannot_be_stacked_is_refused(world, starts):
    with pytest.raises(ValueError, match=r"StackedMembers: got 1 members, which is too few to stack. Pass two"):
        StackedMembers(starts[:1])
    wider = copy.deepcopy(starts[0].config)
    wider.intermediate_size *= 2
    other = AutoModelForSequenceClassification.from_config(wider).double()
    with pytest.raises(ValueError, match=r"member 1 is not built like member 0: intermediate_size.* differ. Pass"):
        StackedMembers([starts[0], other])

    class Looking(type(starts[0])):
        def forward(self, **inputs):
            found = super().forward(**inputs)
            return found if float(found.logits.sum()) < 9 else None

    looking = [Looking(starts[0].config) for _ in range(2)]
    with pytest.raises(ValueError, match=r"torch.func.vmap cannot run Looking \(.*Train its members one after the"):
        StackedMembers(looking)
    with pytest.raises(ValueError, match=r"gradient_checkpointing does not work under torch.func.vmap. Set it to"):
        stacked(world, starts, rows(4), gradient_checkpointing=True)
    with pytest.raises(ValueError, match=r"MembersTrainer: kept_by must have shape \(4, 3\), got \(4, 2\). Reshape"):
        stacked(world, starts, rows(4, kept_by=[[True, False]])).train()


PAIRS = [PreferenceRow(f"{a}+{b}=", str(a + b), f"maybe {a}", weight=1.0 + a) for a in range(4) for b in range(4)]
FIT = RewardFit(max_steps=4, batch_size=8, learning_rate=1e-3, checkpoint_steps=2)


def plan(folder, starts, *, fit=FIT, pairs=PAIRS):
    subsets = (pairs[:12], pairs[4:])
    return [Member(subsets[k], starts[k], folder / f"member-{k}", RewardFit(**{**vars(fit), "seed": fit.seed + k}))
            for k in range(2)]  # fmt: skip


def weights(folder):
    return dict(load_reward_model(folder).model.named_parameters())


def test_saved_members_score_like_the_stack_and_are_found_again(world, starts, tmp_path, monkeypatch):
    stacks = []
    run = MembersTrainer.train
    monkeypatch.setattr(MembersTrainer, "train", lambda self, **k: (stacks.append(self.model), run(self, **k)))
    planned = plan(tmp_path, [world.folder] * 2)
    folders = fit_members(planned, side_by_side="stacked")
    assert folders == [tmp_path / "member-0", tmp_path / "member-1"]
    prompts, completions = ["1+2=", "3+3=", "2+0="], ["3", "maybe 3 or 3", "2"]
    for k, folder in enumerate(folders):
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training.json",
        ]  # fmt: skip
        scores = load_reward_model(folder).score(prompts, completions)
        ids = [world.tokenizer(p + c + "<eos>", return_tensors="pt")["input_ids"]
               for p, c in zip(prompts, completions, strict=True)]  # fmt: skip
        with torch.no_grad():
            expected = [float(stacks[0].eval()(input_ids=row).logits[0, k]) for row in ids]
        assert scores == pytest.approx(expected, abs=1e-5)
        assert json.loads((folder / "training.json").read_text())["n_rows"] == 12
    assert not torch.equal(weights(folders[0])["score.weight"], weights(folders[1])["score.weight"])
    assert fit_members(planned, side_by_side="stacked") == folders
    assert len(stacks) == 1
    with pytest.raises(ValueError, match=r"holds a model of other settings"):
        fit_members(planned)


def test_an_interrupted_stack_goes_on_to_the_same_members(world, tmp_path, monkeypatch):
    whole = fit_members(plan(tmp_path / "whole", [world.folder] * 2), side_by_side="stacked")
    again = partial(fit_members, plan(tmp_path / "halves", [world.folder] * 2), side_by_side="stacked")
    seen = interrupted(monkeypatch, MembersTrainer, again, at=4)
    folders = again()
    assert seen == [0, 1, 2, 3, 2, 3]
    for one, two in zip(whole, folders, strict=True):
        found, other = weights(one), weights(two)
        assert all(torch.equal(found[name], other[name]) for name in found)


def test_members_in_processes_are_those_trained_one_after_the_other(world, tmp_path):
    apart = fit_members(plan(tmp_path / "apart", [world.folder] * 2), side_by_side="processes", n_processes=2)
    for folder, member in zip(apart, plan(tmp_path / "turn", [world.folder] * 2), strict=True):
        found, own = weights(folder), weights(fit_reward_model(*member))
        assert all(torch.allclose(found[name], own[name], rtol=0, atol=1e-5) for name in own)


class Deadly:
    """Ends the process that receives it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_killed_process_is_reported(world, tmp_path):
    planned = [member._replace(rows=[Deadly()]) for member in plan(tmp_path, [world.folder] * 2)]
    with pytest.raises(RuntimeError, match=r"fit_members: one of 2 processes was killed.*Finished members are kept"):
        fit_members(planned, side_by_side="processes", n_processes=2)


def test_members_that_one_run_cannot_train_are_refused(world, tmp_path):
    planned = plan(tmp_path, [world.folder] * 2)
    with pytest.raises(ValueError, match=r"side_by_side is 'threads', which is not one of"):
        fit_members(planned, side_by_side="threads")
    steps = [StepRow("a", ["b"], [True])]
    with pytest.raises(ValueError, match=r"only members with pairs to learn from can be stacked. Train"):
        fit_members([planned[0], planned[1]._replace(rows=steps)], side_by_side="stacked")
    with pytest.raises(
        ValueError, match=r"settings of stacked members differ by more than the seed. Train them one after"
    ):
        fit_members([planned[0], planned[1]._replace(fit=RewardFit(batch_size=2))], side_by_side="stacked")
    other = copy.deepcopy(world.tokenizer)
    other.add_tokens(["<other>"])
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"starts have different tokenizers, so no batch fits all. Train"):
        fit_members([planned[0], planned[1]._replace(model=tmp_path / "other")], side_by_side="stacked")
