"""Follow-up likelihood: the page's scores by loops, and what holds by construction."""

import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages import followup_likelihood as page
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import BatchedGPT
from rewardsmith.worlds.prefix_tree import additive_gold, labeled

CELLS = 5  # of 768, in the tests of scores


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(page, "ASKED", page.ASKED[100 : 100 + CELLS])
    return BatchedGPT(page.END + 1, 9, streams=Streams([3, 4]), width=8)


@pytest.mark.slow
def test_scores_are_mean_log_probabilities_of_words_read_one_by_one(model):
    found = page.followup_scores(model)
    words = ["bye", "done", "failed", "helped", "is", "next", "not", "right", "thanks", "that", "this", "well",
             "wrong", "yet"]  # fmt: skip
    for seed in range(2):
        for cell, asked in enumerate(page.ASKED.tolist()):
            logps, raws = [], []
            for text in page.REACTIONS:
                ids = [7 + words.index(word) for word in text.split()]
                logps.append([])
                for k, word in enumerate(ids):
                    logits = model.take([seed])(torch.tensor([[asked + ids[:k]]]))[0, 0, -1].tolist()
                    logps[-1].append(logits[word] - math.log(sum(map(math.exp, logits))))
                last = model.take([seed])(torch.tensor([[asked + ids[:2]]]))[0, 0, -1].tolist()
                raws.append(fmean(last[word] for word in ids))
            means, likely = [fmean(one) for one in logps], [math.exp(sum(one)) for one in logps]
            wanted = {
                "difference": fmean(means[:3]) - fmean(means[3:6]),
                "one_pair": means[0] - means[3],
                "summed": math.log(sum(likely[:3]) / sum(likely[3:6])),
                "positive": fmean(means[:3]),
                "negative": -fmean(means[3:6]),
                "against_neutral": fmean(means[6:]) - fmean(means[3:6]),
                "raw_logit": fmean(raws[:3]) - fmean(raws[3:6]),
            }
            assert {arm: score[seed, cell].item() for arm, score in found.items()} == pytest.approx(wanted)


def test_swapped_banks_reverse_the_difference(model, monkeypatch):
    before = page.followup_scores(model)
    monkeypatch.setattr(page, "BANK", page.BANK[[3, 4, 5, 0, 1, 2, 6, 7, 8]])
    after = page.followup_scores(model)
    for arm in ("difference", "one_pair", "summed", "raw_logit"):
        assert_close(after[arm], -before[arm])


@pytest.mark.slow
def test_a_classifier_learns_the_log_odds_of_praise():
    """Praise is three times as frequent as complaint where the prompt is the first, and as frequent elsewhere."""
    complaint = torch.ones(1, 1, len(page.ASKED))
    praise = torch.where(page.ASKED[:, 0] == 4, 3.0, 1.0).expand_as(complaint)
    streams = Streams([5], dtype=torch.float32)
    found = page.classified(praise, complaint, page.World(classifier_steps=200), streams).view(3, -1).mean(dim=1)
    assert_close(found, torch.tensor([math.log(3.0), 0.0, 0.0]), atol=0.1, rtol=0.0)


@pytest.mark.slow
def test_a_bradley_terry_model_finds_gold_from_many_pairs():
    streams = Streams([6], dtype=torch.float32)
    gold = additive_gold(page.TREE, streams).sum(dim=-1)
    first, second = (streams.randint(256, 1, 3, 2000) for _ in range(2))
    pairs = labeled(50 * gold, first, second, streams)  # nearly without label noise
    found = page.bradley_terry(pairs.chosen, pairs.rejected, 1e-4).view(3, -1)
    for rewards, true in zip(found, gold[0, 0], strict=True):
        assert torch.corrcoef(torch.stack([rewards, true]))[0, 1] > 0.95


def test_arms_with_equal_scores_get_equal_policies_and_reversed_ones_lose_gold():
    streams = Streams([7], dtype=torch.float32)
    gold = additive_gold(page.TREE, streams).sum(dim=-1)
    scores = dict.fromkeys(page.TRAINED, gold) | {"positive": -gold}
    world = replace(page.World(), n_groups=16, policy_steps=10)
    found = {arm: value.item() for arm, value in page.policies(scores, gold, world, streams)["gold"].items()}
    assert found["difference"] == pytest.approx(found["truth"], abs=1e-5)
    assert found["positive"] < found["start"] < found["truth"]
