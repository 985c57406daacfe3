"""Ratings, then preferences: the second stage starts from trunk and head of the first."""

import json

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForSequenceClassification

from rewardsmith.data import PreferenceRow, RatedRow
from rewardsmith.engines.trl import RewardFit, fit_reward_model, fit_two_stages

pytestmark = pytest.mark.slow

FIT = RewardFit(max_steps=4, batch_size=4, learning_rate=1e-3)


def ratings(n=12):
    return [
        RatedRow(f"{k}+1=", str(k + 1), {"helpfulness": 4.0, "verbosity": 1.0})
        if k % 2
        else RatedRow(f"{k}+1=", "maybe", {"helpfulness": 0.0})
        for k in range(n)
    ]


def pairs(n=12):
    return [PreferenceRow(f"{k}+2=", str(k + 2), "maybe 7", strength=1.0 + k % 3) for k in range(n)]


def weights(folder):
    return AutoModelForSequenceClassification.from_pretrained(folder).state_dict()


def equal(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_helpfulness_alone_then_scaled_bradley_terry(world, tmp_path):
    out = fit_two_stages(ratings(), pairs(), world.folder, tmp_path / "both", first=FIT)
    helpful = [RatedRow(row.prompt, row.completion, {"helpfulness": row.ratings["helpfulness"]}) for row in ratings()]
    by_hand = fit_reward_model(helpful, world.folder, tmp_path / "one", FIT)
    assert equal(weights(out / "regression"), weights(by_hand))
    second = RewardFit(max_steps=4, batch_size=4, learning_rate=5e-4, strength="weight")
    assert equal(weights(out), weights(fit_reward_model(pairs(), by_hand, tmp_path / "two", second)))
    assert not equal(weights(out), weights(by_hand))
    again = fit_two_stages(ratings(), pairs(), world.folder, tmp_path / "both", first=FIT)  # finds both
    assert again == out
    assert json.loads((out / "training.json").read_text())["settings"]["strength"] == "weight"


def test_several_attributes_are_merged_by_their_weights(world, tmp_path):
    none = RewardFit(max_steps=1, batch_size=4, learning_rate=1e-12)
    both = {"verbosity": -0.5, "helpfulness": 1.0}
    out = fit_two_stages(ratings(), pairs(), world.folder, tmp_path, weights=both, first=FIT, second=none)
    regression = AutoModelForSequenceClassification.from_pretrained(out / "regression").eval()
    merged = AutoModelForSequenceClassification.from_pretrained(out).eval()
    names = regression.config.id2label
    ids = world.tokenizer(["1+2=3<eos>"], return_tensors="pt")["input_ids"]
    scores = dict(zip(names.values(), regression(input_ids=ids).logits[0].tolist(), strict=True))
    assert merged.config.num_labels == 1
    expected = scores["helpfulness"] - 0.5 * scores["verbosity"]
    assert_close(merged(input_ids=ids).logits.item(), expected, rtol=1e-4, atol=1e-5)


def test_ratings_of_other_attributes_are_refused(world, tmp_path):
    with pytest.raises(ValueError, match=r"fit_two_stages: no row has a rating of tact. Pass weights of others"):
        fit_two_stages(ratings(), pairs(), world.folder, tmp_path, weights={"tact": 1.0})
