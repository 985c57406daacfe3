"""A reward model that is trained offline on right and wrong answers, and online beside the policy."""

import copy
import math

import pytest
import torch
from datasets import Dataset
from torch.testing import assert_close
from transformers import AutoModelForSequenceClassification, TrainingArguments
from trl import GRPOTrainer as TRLGRPOTrainer

from rewardsmith.data import corrupt_number
from rewardsmith.engines.trl import GRPOTrainer, OnlineRewardUpdater, ReferenceTrainer
from rewardsmith.engines.trl.reference_trainer import UpdatePair
from rewardsmith.rewards import ReferenceReward, exact_number
from tests.engines.helpers import logged, make, on_cpu

pytestmark = pytest.mark.slow

TEMPLATE = " and {reference} so {response}"


@pytest.fixture
def reward(world):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(world.folder, num_labels=1).eval()
    model.config.pad_token_id = world.tokenizer.pad_token_id
    return ReferenceReward(model, world.tokenizer, template=TEMPLATE)


def holds(completions, answer, **columns):
    """A generous rule, which accepts a barely trained model often."""
    return [float(str(key)[-1] in text) for text, key in zip(completions, answer, strict=True)]


def rows(n=48):
    generator = torch.Generator().manual_seed(3)
    made = []
    for i in range(n):
        a, b = torch.randint(9, (2,), generator=generator).tolist()
        said = a + b if i % 2 else a + b + 1
        made.append({"prompt": f"{a}+{b}=", "completion": str(said), "answer": str(a + b), "label": bool(i % 2)})
    return made


def pairs():
    return [UpdatePair(f"{a}+{b}=", str(a + b), str(a + b + 1), a + b) for a in range(3) for b in range(3)]


def logits(reward, which):
    given = pairs()
    texts = [getattr(pair, which) for pair in given]
    found = reward([pair.prompt for pair in given], texts, answer=[pair.answer for pair in given])
    return torch.tensor(found, dtype=torch.float64).logit()


def test_offline_training_is_cross_entropy_on_what_the_reward_reads(reward, world):
    data = rows()
    args = TrainingArguments(**on_cpu(per_device_train_batch_size=16, learning_rate=2e-3, max_steps=60))
    trainer = ReferenceTrainer(
        copy.deepcopy(reward.model), args, train_dataset=Dataset.from_list(data), eval_dataset=Dataset.from_list(data),
        processing_class=world.tokenizer, template=TEMPLATE,
    )  # fmt: skip
    prompts, completions, answers = ([row[name] for row in data] for name in ("prompt", "completion", "answer"))
    p = torch.tensor(reward(prompts, completions, answer=answers), dtype=torch.float64)
    labels = torch.tensor([float(row["label"]) for row in data], dtype=torch.float64)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(data))])
    loss = trainer.compute_loss(trainer.model.eval(), batch).double().detach()
    assert_close(loss, -(labels * p.log() + (1 - labels) * (1 - p).log()).mean(), rtol=1e-4, atol=1e-5)
    before = trainer.evaluate()["eval_accuracy"]
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > max(0.8, before)
    cut = ReferenceTrainer(trainer.model, args, train_dataset=Dataset.from_list(data), processing_class=world.tokenizer,
                           template=TEMPLATE, max_length=3)  # fmt: skip
    assert len(cut.train_dataset) == 0
    odd = [{**data[0], "label": None}, {**data[0], "label": math.nan}, {**data[0], "answer": None}, data[1]]
    args = (trainer.model, args)
    known = ReferenceTrainer(*args, train_dataset=Dataset.from_list(odd), processing_class=world.tokenizer)
    assert len(known.train_dataset) == 1  # a loss of NaN would spoil the model
    signed = Dataset.from_list([{**data[0], "label": -1}])
    with pytest.raises(ValueError, match=r"ReferenceTrainer: a row has the label -1\. Give 1 where its completion"):
        ReferenceTrainer(*args, train_dataset=signed, processing_class=world.tokenizer)


@pytest.mark.parametrize("loss", ["pairwise", "bce", "both"])
def test_an_update_reports_the_loss_before_it_and_raises_the_right_answers(reward, loss):
    """The losses by hand from the scores of the reward itself."""
    plus, minus = logits(reward, "right"), logits(reward, "wrong")
    expected = {
        "pairwise": -(plus - minus).sigmoid().log().mean(),
        "bce": -(plus.sigmoid().log() + (-minus).sigmoid().log()).mean(),
    }
    expected["both"] = sum(expected.values())
    updater = OnlineRewardUpdater(reward, exact_number, loss=loss, learning_rate=1e-3)
    figures = updater.update(pairs())
    assert figures["loss"] == pytest.approx(float(expected[loss]), rel=1e-4)
    assert figures["skipped"] == 0
    for _ in range(20):
        figures = updater.update(pairs())
    assert figures["loss"] < float(expected[loss])
    assert (logits(reward, "right") - logits(reward, "wrong")).mean() > (plus - minus).mean()
    assert not reward.model.training
    assert updater.update([]) == {"skipped": 0.0}


def test_a_gradient_that_is_not_finite_changes_no_weight(reward):
    updater = OnlineRewardUpdater(reward, exact_number)
    with torch.no_grad():
        reward.model.score.weight[0, 0] = math.nan
    before = {name: weight.clone() for name, weight in reward.model.named_parameters()}
    assert updater.update(pairs())["skipped"] == 1.0
    assert all(torch.equal(before[name], weight) for name, weight in list(reward.model.named_parameters())[:-1])


def test_a_pair_is_the_first_verified_answer_and_a_negative_that_the_rule_tells_from_it(reward):
    """Four prompts in pairs: right second; none right; a maker that needs three tries; one that never succeeds."""
    tries = {"c": iter(["4", None, "five is 5"]), "d": iter(["4", "4.0", "8/2", "5"])}

    async def maker(question, answer, rng):
        return next(tries[question]) if question in tries else corrupt_number(question, answer, rng)

    updater = OnlineRewardUpdater(reward, exact_number, negatives=maker)
    prompts = [name for name in "abcd" for _ in range(2)]
    completions = ["5", "The answer is 4.", "5", "6", "4", "so 4", "4", "4"]
    ruled = exact_number(completions, ["4"] * 8)
    found = updater.pairs(prompts, completions, ruled, {"answer": ["4"] * 8, "other": list("12345678")}, 2)
    assert [(pair.prompt, pair.right) for pair in found] == [("a", "The answer is 4."), ("c", "4")]
    assert {pair.answer for pair in found} == {"4"}
    assert found[0].wrong.startswith("The answer is ")
    assert found[0].wrong != "The answer is 4."
    assert found[1].wrong == "five is 5"


def test_no_verdict_on_the_negative_is_no_negative(reward):
    """The rule reads keys of numbers only: against y⁺ "four" it has no verdict, against the key 4 it has."""

    def verdict(text, key):
        return float(text in (key, "four")) if str(key).isdigit() else None

    def rule(completions, answer, **columns):
        return [verdict(*row) for row in zip(completions, answer, strict=True)]

    updater = OnlineRewardUpdater(reward, rule, negatives=lambda question, answer, rng: "5")
    given = (["q"], ["four"], [1.0])
    assert updater.pairs(*given, {"answer": ["4"]}, 1) == [UpdatePair("q", "four", "5", "4")]
    assert updater.pairs(*given, {"answer": ["iv"]}, 1) == []
    sure = OnlineRewardUpdater(reward, rule, negatives=lambda question, answer, rng: "four")
    assert sure.pairs(*given, {"answer": ["4"]}, 1) == []


def test_rewards_of_a_step_are_those_before_its_update_and_the_figures_are_logged(reward, world):
    seen = []

    class Spy(ReferenceReward):
        def score(self, prompts, completions, **columns):
            seen.append((prompts, completions, columns["answer"]))
            return super().score(prompts, completions, **columns)

    spy = Spy(reward.model, reward.tokenizer, template=TEMPLATE)
    frozen = copy.deepcopy(spy)
    updater = OnlineRewardUpdater(spy, holds, learning_rate=1e-3)
    trainer = make(GRPOTrainer, world, spy, steps=2, callbacks=[updater])
    trainer.train()
    first, second = seen[:2]
    rewards = [frozen.score(prompts, texts, answer=answer) for prompts, texts, answer in (first, second)]
    assert logged(trainer, "reward")[0] == pytest.approx(sum(rewards[0]) / len(rewards[0]), abs=1e-5)
    assert logged(trainer, "reward")[1] != pytest.approx(sum(rewards[1]) / len(rewards[1]), abs=1e-5)
    right = holds(first[1], first[2])
    groups = [right[i : i + 4] for i in range(0, len(right), 4)]
    verified = sum(any(group) for group in groups) / len(groups)
    assert 0 < logged(trainer, "reward_model/valid_rate")[0] <= verified  # a negative may hold the key too
    wrong = [score for score, verdict in zip(rewards[0], right, strict=True) if not verdict]
    assert logged(trainer, "reward_model/score_on_wrong")[0] == pytest.approx(sum(wrong) / len(wrong), abs=1e-5)
    assert logged(trainer, "reward_model/skipped") == [0.0, 0.0]


def test_what_cannot_work_is_refused(reward, world):
    with pytest.raises(ValueError, match=r"OnlineRewardUpdater: loss is 'hinge'"):
        OnlineRewardUpdater(reward, exact_number, loss="hinge")
    for name in ("epochs", "tries"):
        with pytest.raises(ValueError, match=rf"OnlineRewardUpdater: {name} is 0, outside"):
            OnlineRewardUpdater(reward, exact_number, **{name: 0})
    trainer = make(TRLGRPOTrainer, world, reward, callbacks=[OnlineRewardUpdater(reward, exact_number)])
    with pytest.raises(RuntimeError, match=r"OnlineRewardUpdater: this trainer does not pass on its batches"):
        trainer.train()
