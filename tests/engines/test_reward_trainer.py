"""Our RewardTrainer is TRL's until a column asks for more, and each column does what its docstring says."""

import copy
import math

import pytest
import torch
import trl
from datasets import Dataset
from torch.testing import assert_close
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig

from rewardsmith.data import PreferenceRow, to_dataset
from rewardsmith.engines.trl import RewardTrainer
from tests.engines.helpers import logged, on_cpu, parameters

pytestmark = pytest.mark.slow

NAN = float("nan")


@pytest.fixture(scope="module")
def classifier(world):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(world.folder, num_labels=1)


def rows(n=12, **columns):
    generator = torch.Generator().manual_seed(3)
    made = []
    for i in range(n):
        a, b = torch.randint(9, (2,), generator=generator).tolist()
        more = {name: values[i % len(values)] for name, values in columns.items()}
        made.append({"prompt": f"{a}+{b}=", "chosen": str(a + b), "rejected": f"maybe {a} or {b}", **more})
    return Dataset.from_list(made)


def make(trainer_class, world, classifier, dataset, *, config=None, **options):
    settings = {"per_device_train_batch_size": 4, "learning_rate": 1e-3, "max_steps": 3, **(config or {})}
    return trainer_class(
        model=copy.deepcopy(classifier),
        args=RewardConfig(**on_cpu(**settings)),
        train_dataset=dataset,
        processing_class=copy.deepcopy(world.tokenizer),
        **options,
    )


def first_loss(world, classifier, dataset, **options):
    """The loss of one batch with every row, before any step, and the trainer."""
    trainer = make(RewardTrainer, world, classifier, dataset, **options)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(dataset))])
    return float(trainer.compute_loss(trainer.model, batch).detach()), trainer


def gaps(world, classifier, dataset):
    """r(chosen) − r(rejected) and r(chosen) + r(rejected) of each row, one text at a time, in float64."""
    model = copy.deepcopy(classifier).double().eval()
    model.config.pad_token_id = world.tokenizer.pad_token_id

    def score(text):
        ids = world.tokenizer(text + "<eos>", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            return float(model(input_ids=ids).logits)

    pairs = [(score(r["prompt"] + r["chosen"]), score(r["prompt"] + r["rejected"])) for r in dataset]
    return [c - r for c, r in pairs], [c + r for c, r in pairs]


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


@pytest.mark.parametrize(
    ("config", "columns"),
    [({}, {}), ({"center_rewards_coefficient": 0.1}, {"margin": [0.5, 0.0, 2.0]}), ({}, {"unrelated": [1.0]})],
    ids=["plain", "centered margins", "unrelated"],
)
def test_without_our_columns_training_is_trls_bit_for_bit(world, classifier, config, columns):
    theirs = make(trl.RewardTrainer, world, classifier, rows(**columns), config=config)
    ours = make(RewardTrainer, world, classifier, rows(**columns), config=config)
    theirs.train()
    ours.train()
    assert logged(ours, "loss") == logged(theirs, "loss")
    assert logged(ours, "accuracy") == logged(theirs, "accuracy")
    assert torch.equal(parameters(ours), parameters(theirs))
    assert not torch.equal(parameters(ours), torch.cat([p.flatten() for p in classifier.parameters()]))


def test_neutral_columns_change_the_loss_by_rounding_alone(world, classifier):
    plain, _ = first_loss(world, classifier, rows())
    neutral, _ = first_loss(world, classifier, rows(margin=[None], weight=[None], soft_label=[None], is_tie=[None]))
    assert neutral == pytest.approx(plain, rel=1e-6)


def test_every_column_gives_the_loss_of_a_slow_loop(world, classifier):
    columns = {"margin": [0.5, None, 0.0], "weight": [1.0, 2.0, 3.0], "soft_label": [0.0, 0.2, None],
               "is_tie": [False, False, False, True]}  # fmt: skip
    dataset = rows(**columns)
    deltas, sums = gaps(world, classifier, dataset)
    mean = sum(dataset["weight"]) / len(dataset)
    for kind in ("entropy", "squared"):
        total = 0.0
        for row, delta, both in zip(dataset, deltas, sums, strict=True):
            w, m, p = row["weight"] / mean, row["margin"] or 0.0, row["soft_label"] or 0.0
            tied = delta**2 if kind == "squared" else -(log_sigmoid(delta) + log_sigmoid(-delta)) / 2
            strict = -(1 - p) * log_sigmoid(delta - m) - p * log_sigmoid(m - delta)
            total += w * (tied if row["is_tie"] else strict) + 0.1 * both**2
        got, _ = first_loss(world, classifier, dataset, tie_kind=kind, config={"center_rewards_coefficient": 0.1})
        assert got == pytest.approx(total / len(dataset), rel=1e-4)


def test_an_integer_weight_is_that_many_copies_of_the_pair(world, classifier):
    base = rows(3)
    weighted, _ = first_loss(world, classifier, base.add_column("weight", [1.0, 2.0, 3.0]))
    repeated, _ = first_loss(world, classifier, Dataset.from_list([base[i] for i in (0, 1, 1, 2, 2, 2)]))
    assert weighted == pytest.approx(repeated, rel=1e-5)


def test_weights_are_normalized_over_the_training_set_unless_told_not_to(world, classifier):
    one, trainer = first_loss(world, classifier, rows(weight=[1.0, 3.0]))
    many, _ = first_loss(world, classifier, rows(weight=[10.0, 30.0]))
    raw, _ = first_loss(world, classifier, rows(weight=[10.0, 30.0]), normalize_weights=False)
    assert one == pytest.approx(many, rel=1e-6)
    assert raw == pytest.approx(20 * many, rel=1e-6)
    assert trainer.weight_scale == 0.5
    _, neutral = first_loss(world, classifier, rows(weight=[None, 1.0, NAN]))
    assert neutral.weight_scale == 1.0


def test_a_pair_with_nan_does_not_count_and_all_nan_is_no_step(world, classifier):
    kept, _ = first_loss(world, classifier, rows(2))
    for name in ("margin", "weight", "soft_label"):
        dataset = Dataset.from_list([*rows(2).map(lambda r, n=name: {n: None}), rows(3)[2] | {name: NAN}])
        got, _ = first_loss(world, classifier, dataset)
        assert got == pytest.approx(kept, rel=1e-6)
    trainer = make(RewardTrainer, world, classifier, rows(margin=[NAN]))
    trainer.train()
    assert torch.equal(parameters(trainer), torch.cat([p.flatten() for p in classifier.parameters()]))


def test_accuracy_speaks_of_strict_pairs_and_ties_are_logged_apart(world, classifier):
    dataset = rows(4, is_tie=[False, True, False, True])
    deltas, _ = gaps(world, classifier, dataset)
    trainer = make(RewardTrainer, world, classifier, dataset, config={"max_steps": 1, "learning_rate": 0.0})
    trainer.train()
    strict, tied = deltas[0::2], deltas[1::2]
    assert logged(trainer, "accuracy") == [sum(d > 0 for d in strict) / 2]
    assert logged(trainer, "margin")[0] == pytest.approx(sum(strict) / 2, rel=1e-4)
    assert logged(trainer, "tie_gap")[0] == pytest.approx(sum(map(abs, tied)) / 2, rel=1e-4)
    losses = [-(log_sigmoid(d) + log_sigmoid(-d)) / 2 for d in tied]
    assert logged(trainer, "tie_loss")[0] == pytest.approx(sum(losses) / 2, rel=1e-4)
    only = make(RewardTrainer, world, classifier, rows(4, is_tie=[True]), config={"max_steps": 1})
    only.train()
    assert logged(only, "accuracy") == []


def test_ties_draw_scores_together(world, classifier):
    dataset = rows(8, is_tie=[True])
    apart = copy.deepcopy(classifier)
    with torch.no_grad():
        apart.score.weight.mul_(50)
    before, _ = gaps(world, apart, dataset)
    trainer = make(RewardTrainer, world, apart, dataset, tie_kind="squared", config={"max_steps": 12})
    trainer.train()
    after, _ = gaps(world, trainer.model, dataset)
    assert sum(map(abs, after)) < 0.5 * sum(map(abs, before))


def test_rows_of_ours_go_in_and_an_evaluation_reads_the_columns_too(world, classifier):
    made = [PreferenceRow(f"{i}+1=", str(i + 1), "maybe", strength=2.0, weight=1.0 + i, soft_label=0.1,
                          source="me", columns={"kept": i}) for i in range(4)]  # fmt: skip
    dataset = to_dataset(made)
    trainer = make(RewardTrainer, world, classifier, dataset, eval_dataset=dataset)
    batch = trainer.data_collator([trainer.eval_dataset[i] for i in range(4)])
    assert_close(batch["weight"], torch.tensor([1.0, 2.0, 3.0, 4.0]))
    expected = float(trainer.compute_loss(trainer.model.eval(), batch).detach())
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_streamed_set_trains_with_its_weights_as_they_are(world, classifier):
    dataset = rows(weight=[2.0]).to_iterable_dataset()
    trainer = make(RewardTrainer, world, classifier, dataset)
    trainer.train()
    assert trainer.weight_scale == 1.0
    assert len(logged(trainer, "loss")) == 3


def test_an_unknown_kind_of_tie_is_refused(world, classifier):
    with pytest.raises(ValueError, match=r"RewardTrainer: tie_kind is 'hinge', which is not one of .* Choose"):
        make(RewardTrainer, world, classifier, rows(), tie_kind="hinge")
