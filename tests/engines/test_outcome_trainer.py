"""Training on outcomes: the examples of each loss, a training against a plain loop, adapters, what is refused."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import TrainingArguments

from rewardsmith.data import OutcomeRow, read_outcomes
from rewardsmith.engines.trl import OutcomeTrainer, RewardFit, fit_reward_model
from rewardsmith.errors import RowsError
from rewardsmith.rewards import ImplicitReward, load_reward_model
from tests.engines.helpers import on_cpu, parameters

pytestmark = pytest.mark.slow

ROWS = [
    {"prompt": f"{a}+{b}=", "completion": text, "label": label}
    for a, b in [(1, 1), (2, 3), (3, 5)]
    for text, label in [(f"so {a + b}", True), (f"{a} or {b}", False), ("maybe 9", False), (str(a + b), True)]
]
BETA = 0.5


def trainer_on(world, rows=ROWS, *, loss="ce", batch=4, **more):
    settings = {"per_device_train_batch_size": batch, "learning_rate": 1e-2, "lr_scheduler_type": "constant",
                "max_steps": 2, "weight_decay": 0.0, "max_grad_norm": 1e9, "dataloader_drop_last": True}  # fmt: skip
    args = TrainingArguments(**on_cpu(**settings))
    model = world.reload().model.double()
    return OutcomeTrainer(
        model, args, train_dataset=rows, processing_class=world.tokenizer, loss=loss, beta=BETA, **more
    )


def texts_of(trainer):
    """Each example's completions, and its label."""
    tok = trainer.processing_class
    return [
        ([tok.decode(text.ids[text.reads[0] + 1 :], skip_special_tokens=True) for text in example.texts], example.label)
        for example in trainer.train_dataset
    ]


def test_each_loss_has_its_examples(world):
    rows = [*ROWS[:3], {"prompt": "9+9=", "completion": "18", "label": True}]
    assert texts_of(trainer_on(world, rows)) == [(["so 2"], 1), (["1 or 1"], 0), (["maybe 9"], 0), (["18"], 1)]
    pairs = [(["so 2", "1 or 1"], 1), (["so 2", "maybe 9"], 1)]  # the prompt with one kind alone has no pair
    assert texts_of(trainer_on(world, rows, loss="dpo")) == texts_of(trainer_on(world, rows, loss="nca")) == pairs
    moved = trainer_on(world, rows, loss="kto")
    assert texts_of(moved) == [(["so 2", "18"], 1), (["1 or 1", "18"], 0), (["maybe 9", "18"], 0), (["18", "so 2"], 1)]
    other = moved.train_dataset[0].texts[1]  # the other prompt's answer, to this prompt
    assert world.tokenizer.decode(other.ids, skip_special_tokens=True) == "1+1=18"


def plain_rewards(model, reference, tokenizer, texts):
    """β log π/π_ref, without padding or batches."""
    found = []
    for prompt, completion in texts:
        start, ids = (tokenizer(t, return_tensors="pt")["input_ids"] for t in (prompt, prompt + completion + "<eos>"))
        both = []
        for each in (model, reference):
            logps = each(input_ids=ids).logits[0, :-1].log_softmax(-1)
            both.append(logps.gather(-1, ids[0, 1:, None])[start.shape[1] - 1 :].sum())
        found.append(BETA * (both[0] - both[1].detach()))
    return torch.stack(found)


LOSSES = {
    "ce": lambda r, y: F.binary_cross_entropy_with_logits(r[0], y),
    "dpo": lambda r, y: torch.log1p((r[1] - r[0]).exp()).mean(),
    "nca": lambda r, y: (
        (1 + (-r[0]).exp()).log() + 0.5 * (1 + r[0].exp()).log() + 0.5 * (1 + r[1].exp()).log()
    ).mean(),
    "kto": lambda r, y: (
        1 - torch.sigmoid((2 * y - 1) * (r[0] - r[1].detach().mean().clamp(min=0)))
    ).mean(),
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_two_steps_are_those_of_a_plain_loop(world, loss):
    trainer = trainer_on(world, loss=loss)
    model, reference = (world.reload().model.double() for _ in range(2))
    texts = {tuple(map(int, text.ids)): text for example in trainer.train_dataset for text in example.texts}
    batches = []
    collate = trainer.data_collator
    trainer.data_collator = lambda examples: batches.append(examples) or collate(examples)
    trainer.train()
    assert len(texts) > 8
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    tok = world.tokenizer
    for examples in batches[:2]:
        rewards = []
        for place in range(len(examples[0].texts)):
            asked = []
            for example in examples:
                ids, start = example.texts[place].ids, example.texts[place].reads[0] + 1
                asked.append((tok.decode(ids[:start]), tok.decode(ids[start:], skip_special_tokens=True)))
            rewards.append(plain_rewards(model, reference, tok, asked))
        labels = torch.tensor([example.label for example in examples], dtype=torch.float64)
        LOSSES[loss](rewards, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    expected = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert_close(parameters(trainer), expected, rtol=0, atol=1e-8)
    reward = ImplicitReward(trainer.model, reference, tok, beta=BETA)
    rows = [(row["prompt"], row["completion"]) for row in ROWS]
    with torch.no_grad():
        by_hand = plain_rewards(model, reference, tok, rows)
    found = torch.tensor(reward.score(*map(list, zip(*rows, strict=True))), dtype=torch.float64)
    assert_close(found, by_hand, rtol=0, atol=1e-7)


def test_the_start_has_reward_zero(world):
    trainer = trainer_on(world)
    batch = trainer.data_collator(trainer.train_dataset)
    assert float(trainer.compute_loss(trainer.model, batch).detach()) == pytest.approx(math.log(2), abs=1e-7)


def test_long_rows_are_left_out_and_nothing_to_learn_from_is_refused(world, caplog):
    long = {"prompt": "1+1=", "completion": "so " * 30, "label": True}
    assert len(trainer_on(world, [*ROWS, long], max_length=16).train_dataset) == len(ROWS)
    assert "1 of 13 examples are too long, or unreadable" in caplog.text
    with pytest.raises(ValueError, match=r"none of 1 rows gives an example for loss='dpo' within None tokens. A loss"):
        trainer_on(world, ROWS[:1], loss="dpo")
    with pytest.raises(ValueError, match="OutcomeTrainer: loss is 'bce', which is not one of"):
        trainer_on(world, loss="bce")
    with pytest.raises(ValueError, match="OutcomeTrainer: beta is 0"):
        OutcomeTrainer(world.reload().model, train_dataset=ROWS, beta=0)


def test_adapters_are_merged_and_a_head_is_not_asked_for(world, tmp_path):
    rows = [OutcomeRow(**row) for row in ROWS]
    fit = RewardFit(max_steps=3, batch_size=4, learning_rate=1e-2, lora_rank=2, beta=0.7)
    reward = load_reward_model(fit_reward_model(rows, world.folder, tmp_path / "rm", fit))
    assert isinstance(reward, ImplicitReward)
    assert reward.beta == 0.7
    assert max(map(abs, reward.score([row.prompt for row in rows], [row.completion for row in rows]))) > 1e-3
    with pytest.raises(ValueError, match="head_only trains a head, and a reward from outcomes has none"):
        fit_reward_model(rows, world.folder, tmp_path / "other", RewardFit(head_only=True))
    with pytest.raises(ValueError, match="outcome_loss is 'bce', which is not one of"):
        RewardFit(outcome_loss="bce")


def test_labels_are_true_or_false():
    rows, card = read_outcomes([*ROWS, {"prompt": "1+1=", "completion": "2", "label": 1}])
    assert [row.label for row in rows[-2:]] == [True, True]
    assert "13 outcomes from 13 records (outcomes)" in card.as_text()
    assert card.labels == {"0": 6, "1": 7}
    broken = [{**ROWS[0], "label": 0.5}, {**ROWS[0], "label": None}, {**ROWS[0], "completion": ""}]
    assert read_outcomes([*ROWS * 3, *broken]).card.dropped == {
        "label 0.5 is not true, false, 0 or 1": 1, "no label": 1, "an empty answer": 1,
    }  # fmt: skip
    with pytest.raises(RowsError, match="read_outcomes: columns prompt fit none of the schemas outcomes"):
        read_outcomes([{"prompt": "1+1="}])
    chat = OutcomeRow("1+1=", "2", True).conversational()
    assert (chat.prompt[0]["role"], chat.completion[0]["role"]) == ("user", "assistant")
    assert chat.standard().completion == "2"


@pytest.mark.parametrize("loss", ["ce", "kto"])
def test_labels_that_are_all_one_are_refused(world, loss):
    right = [row for row in ROWS if row["label"]]
    with pytest.raises(
        ValueError, match=r"OutcomeTrainer: all 6 labels are True, so there is nothing to tell apart. Add"
    ):
        trainer_on(world, right, loss=loss)
