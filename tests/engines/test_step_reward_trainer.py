"""Process reward models and rating models: what is learned, read and refused."""

import copy
import math

import pytest
import torch
from datasets import Dataset
from torch.testing import assert_close
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    TrainingArguments,
)

from rewardsmith.data import RatedRow, StepRow, encode_steps, to_dataset
from rewardsmith.engines.trl import RatingTrainer, RewardTrainer, StepRewardTrainer
from rewardsmith.engines.trl.rating_trainer import merge_attributes
from rewardsmith.objectives.pairwise import step_label_loss
from tests.engines.helpers import on_cpu, parameters
from tests.engines.test_reward_trainer import make as make_pairwise
from tests.engines.test_reward_trainer import rows as pair_rows

pytestmark = pytest.mark.slow


def arguments(**changes):
    settings = {"per_device_train_batch_size": 8, "learning_rate": 3e-3, "max_steps": 2, "logging_steps": 1000}
    return TrainingArguments(**on_cpu(**settings | changes))


def chains(n=8):
    """Running sums, some of them wrong from a step on."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for _ in range(n):
        a, b, c = torch.randint(1, 9, (3,), generator=generator).tolist()
        slip = int(torch.randint(3, (1,), generator=generator))
        first, second = a + b + (slip == 0), a + b + c + (slip < 2)
        made.append(StepRow(f"{a}+{b}+{c}=", [f"{a}+{b}={first}", str(second)], [float(slip != 0), float(slip == 2)]))
    return to_dataset(made)


def step_trainer(world, *, model=None, dataset=None, args=None, **options):
    torch.manual_seed(0)
    model = model or AutoModelForTokenClassification.from_pretrained(world.folder, num_labels=2)
    return StepRewardTrainer(
        model,
        args or arguments(),
        train_dataset=chains() if dataset is None else dataset,
        processing_class=copy.deepcopy(world.tokenizer),
        **options,
    )


def step_odds(world, model, row):
    """Log-odds of each step, its prefix read alone, in float64."""
    model = copy.deepcopy(model).double().eval()
    found = []
    for k in range(len(row["completions"])):
        text = row["prompt"] + "".join(step + "\n" for step in row["completions"][: k + 1])
        ids = world.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, -1]
        found.append(float(logits[0] if len(logits) == 1 else logits[1] - logits[0]))
    return found


def entropy(z, y):
    return y * math.log1p(math.exp(-z)) + (1 - y) * math.log1p(math.exp(z))


@pytest.mark.parametrize("n_labels", [1, 2])
def test_the_loss_is_that_of_a_slow_loop_over_steps(world, n_labels):
    torch.manual_seed(1)
    model = AutoModelForTokenClassification.from_pretrained(world.folder, num_labels=n_labels)
    dataset = Dataset.from_list([
        {"prompt": "1+2+3=", "completions": ["1+2=3", "6"], "labels": [1.0, 0.25]},
        {"prompt": "4+5=", "completions": ["9", "so 9", "9"], "labels": [1.0, None, 0.0]},
    ])  # fmt: skip
    trainer = step_trainer(world, model=model, dataset=dataset)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    got = float(trainer.compute_loss(trainer.model.eval(), batch).detach())
    losses = [
        entropy(z, y)
        for row in dataset
        for z, y in zip(step_odds(world, model, row), row["labels"], strict=True)
        if y is not None
    ]
    assert len(losses) == 4
    assert got == pytest.approx(sum(losses) / 4, rel=1e-4)


def test_it_learns_the_labels_and_reports_metrics_of_whole_solutions(world):
    seen = []

    def metrics(scores, labels):
        seen.extend(zip(scores, labels, strict=True))
        return {"mine": 7.0}

    dataset = chains(12)
    args = arguments(max_steps=60, per_device_train_batch_size=12, per_device_eval_batch_size=5)
    trainer = step_trainer(world, dataset=dataset, eval_dataset=dataset, args=args, metrics=metrics)
    trainer.train()
    figures = trainer.evaluate()
    assert figures["eval_mine"] == 7.0
    assert figures["eval_accuracy"] >= 0.95
    assert [labels for _, labels in seen] == dataset["labels"]
    for (scores, _), row in zip(seen, dataset, strict=True):
        expected = [1 / (1 + math.exp(-z)) for z in step_odds(world, trainer.model, row)]
        assert scores == pytest.approx(expected, abs=1e-4)


def test_unlabeled_steps_are_none_in_metrics(world):
    seen = []
    dataset = Dataset.from_list([
        {"prompt": "1+2=", "completions": ["3", "so 3"], "labels": [None, 1.0]},
        {"prompt": "1+2=", "completions": ["4"], "labels": [0.5]},
    ])  # fmt: skip
    trainer = step_trainer(world, dataset=dataset, eval_dataset=dataset, metrics=lambda s, y: seen.extend(y) or {})
    assert trainer.evaluate()["eval_loss"] > 0
    assert seen == [[None, 1.0], [0.5]]


def test_head_only_leaves_the_trunk(world):
    trainer = step_trainer(world, head_only=True)
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    changed = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("score" in name or "classifier" in name for name in changed)


def test_a_folder_is_loaded_with_two_labels_and_saved_as_safetensors(world, tmp_path):
    trainer = StepRewardTrainer(str(world.folder), arguments(max_steps=1), train_dataset=chains())
    trainer.train()
    trainer.save_model(tmp_path)
    again = AutoModelForTokenClassification.from_pretrained(tmp_path, use_safetensors=True)
    assert again.config.num_labels == 2
    assert_close(torch.cat([p.flatten() for p in again.parameters()]), parameters(trainer))


def test_long_solutions_lose_their_last_steps_and_rows_without_a_label_are_left_out(world):
    dataset = Dataset.from_list([
        {"prompt": "1+2=", "completions": ["3", "so the answer is 3"], "labels": [1.0, 0.0]},
        {"prompt": "1+2=", "completions": ["so the answer is 3"], "labels": [1.0]},
        {"prompt": "1+2=", "completions": ["3", "4"], "labels": [None, 1.0]},
    ])  # fmt: skip
    trainer = step_trainer(world, dataset=dataset, max_length=7)  # "1+2=" is four tokens, a number and its end two
    assert [[y for y in row["labels"] if y > -100] for row in trainer.train_dataset] == [[1.0]]
    assert len(trainer.train_dataset[0]["input_ids"]) == 6


def test_what_cannot_be_trained_on_is_refused(world):
    with pytest.raises(ValueError, match=r"none of 8 rows has a labeled step within 2 tokens. Raise max_length"):
        step_trainer(world, max_length=2)
    model = AutoModelForTokenClassification.from_pretrained(world.folder, num_labels=3)
    with pytest.raises(ValueError, match=r"StepRewardTrainer: the model has 3 labels, .* num_labels=2"):
        step_trainer(world, model=model)


def test_encoded_steps_end_where_their_prefix_ends():
    def tokenize(text):
        return list(text.encode())

    ids, ends = encode_steps("q", ["ab", "c\n", "d\n\n"], tokenize, first_ids=[0])
    assert bytes(ids[1:]).decode() == "qab\nc\nd\n"
    assert [bytes(ids[1 : end + 1]).decode() for end in ends] == ["qab\n", "qab\nc\n", "qab\nc\nd\n"]
    for k in range(1, 3):
        assert encode_steps("q", ["ab", "c", "d"][:k], tokenize, first_ids=[0]).ids == ids[: ends[k - 1] + 1]
    assert encode_steps("q", ["ab", "c"], tokenize, max_length=4).ends == [3]
    assert encode_steps("q", ["ab"], tokenize, step_end="</s>").ids == tokenize("qab</s>")
    with pytest.raises(ValueError, match=r"encode_steps: step_end '' has no tokens .* Pass another"):
        encode_steps("q", ["a"], tokenize, step_end="")


def test_step_label_loss_is_the_cross_entropy_at_every_extreme():
    inf, nan = math.inf, math.nan
    z = torch.tensor([0.3, -2.0, inf, -inf, inf, 0.7, nan, 800.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([1.0, 0.25, 1.0, 0.0, 0.0, nan, 1.0, 0.0], dtype=torch.float64)
    losses = step_label_loss(z, y)
    expected = [entropy(0.3, 1.0), entropy(-2.0, 0.25), 0.0, 0.0, inf, nan, nan, 800.0]
    assert_close(losses, torch.tensor(expected, dtype=torch.float64), equal_nan=True)
    (gradient,) = torch.autograd.grad(losses[[0, 1, 2, 3, 5, 6, 7]].nansum(), z)
    sigmoid = [1 / (1 + math.exp(-0.3)), 1 / (1 + math.exp(2.0))]
    expected = [sigmoid[0] - 1, sigmoid[1] - 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert_close(gradient, torch.tensor(expected, dtype=torch.float64))
    reference = torch.nn.functional.binary_cross_entropy_with_logits(z[:2], y[:2], reduction="none")
    assert_close(losses[:2], reference)
    half = step_label_loss(torch.tensor([50000.0], dtype=torch.float16), torch.tensor([1.0]))
    assert half.tolist() == [0.0]
    with pytest.raises(ValueError, match=r"step_label_loss: labels holds 2.0, outside \[0.0, 1.0\]. Pass"):
        step_label_loss(torch.zeros(1), torch.tensor([2.0]))
    with pytest.raises(ValueError, match="step_label_loss: arguments must share one shape"):
        step_label_loss(torch.zeros(1), torch.zeros(2))


def rated(n=8):
    generator = torch.Generator().manual_seed(2)
    made = []
    for i in range(n):
        a, b = torch.randint(1, 9, (2,), generator=generator).tolist()
        right = i % 2
        ratings = {"helpfulness": 4.0 * right, "verbosity": 1.0 + right} if i else {"helpfulness": 4.0 * right}
        made.append(RatedRow(f"{a}+{b}=", str(a + b) if right else "maybe", ratings))
    return to_dataset(made)


def test_ratings_are_regressed_on_attribute_by_attribute(world):
    torch.manual_seed(0)
    dataset = rated()
    trainer = RatingTrainer(str(world.folder), arguments(max_steps=80), train_dataset=dataset, eval_dataset=dataset)
    assert trainer.attributes == ["helpfulness", "verbosity"]
    model = copy.deepcopy(trainer.model).double().eval()
    total = 0.0
    for row in dataset:
        ids = world.tokenizer(row["prompt"] + row["completion"] + "<eos>", return_tensors="pt")["input_ids"]
        scores = model(input_ids=ids).logits[0].tolist()
        known = [(s, row["ratings"][n]) for s, n in zip(scores, trainer.attributes, strict=True)]
        errors = [(s - g) ** 2 for s, g in known if g is not None]
        total += sum(errors) / len(errors)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(dataset))])
    assert float(trainer.compute_loss(trainer.model.eval(), batch).detach()) == pytest.approx(total / 8, rel=1e-4)
    trainer.train()
    figures = trainer.evaluate()
    assert figures["eval_mse_helpfulness"] < 0.5  # the variance of the ratings is 4
    assert figures["eval_correlation_helpfulness"] > 0.9
    assert trainer.model.config.id2label == {0: "helpfulness", 1: "verbosity"}


def test_regression_first_and_preferences_second_is_two_trainers(world, tmp_path):
    torch.manual_seed(0)
    first = RatingTrainer(str(world.folder), arguments(max_steps=2), train_dataset=rated(), attributes=["helpfulness"])
    first.train()
    first.save_model(tmp_path)
    second = make_pairwise(RewardTrainer, world, first.model, pair_rows(weight=[1.0, 3.0]))
    assert torch.equal(parameters(second), parameters(first))  # trunk and head
    second.train()
    assert not torch.equal(parameters(second), parameters(first))


@pytest.mark.parametrize("bias", [False, True])
def test_merged_attributes_score_their_weighted_sum(world, bias, tmp_path):
    torch.manual_seed(0)
    names = {0: "helpfulness", 1: "verbosity", 2: "coherence"}
    model = AutoModelForSequenceClassification.from_pretrained(
        world.folder, num_labels=3, id2label=names, label2id={n: i for i, n in names.items()}
    ).eval()
    if bias:
        model.score = torch.nn.Linear(model.score.in_features, 3)
    ids = world.tokenizer(["1+2=3<eos>"], return_tensors="pt")["input_ids"]
    scores = model(input_ids=ids).logits[0].detach()
    merged = merge_attributes(model, {"helpfulness": 1.0, "verbosity": -0.5})
    assert_close(merged(input_ids=ids).logits[0], (scores[0] - 0.5 * scores[1])[None])
    assert merged.config.num_labels == 1
    if not bias:
        merged.save_pretrained(tmp_path)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
        assert_close(again(input_ids=ids).logits, merged(input_ids=ids).logits)


def test_ratings_that_do_not_fit_are_refused(world):
    model = AutoModelForSequenceClassification.from_pretrained(world.folder, num_labels=3)
    with pytest.raises(ValueError, match=r"RatingTrainer: the model has 3 outputs for 2 attributes .* Load it"):
        RatingTrainer(model, arguments(), train_dataset=rated(), processing_class=world.tokenizer)
    empty = Dataset.from_list([{"prompt": "a", "completion": "b", "ratings": {"x": None}}])
    with pytest.raises(ValueError, match=r"RatingTrainer: no row of the training set has a rating. Check"):
        RatingTrainer(model, arguments(), train_dataset=empty, processing_class=world.tokenizer)
    with pytest.raises(ValueError, match=r"merge_attributes: the model has no attribute tact among .* Pass weights"):
        merge_attributes(model, {"tact": 1.0})
