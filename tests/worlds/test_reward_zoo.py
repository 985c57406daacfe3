"""The zoo of reward models: gold, labels and streams by their definitions, and what holds by construction."""

import numpy as np
import pytest
import torch

from rewardsmith.measures import association
from rewardsmith.worlds import Streams
from rewardsmith.worlds.reward_zoo import Recipes, RewardZoo, recipes, scored


def small(seed=0, n=6):
    streams = Streams([seed])
    zoo = RewardZoo(streams)
    own = recipes(streams, n, log_pairs=(1.5, 2.5), flips=(0.0, 0.2), style_sd=1.0, steps=(5, 20))
    return zoo, own, zoo.trained(own)


def test_gold_is_correctness_and_a_little_quality_and_does_not_see_style():
    zoo = RewardZoo(Streams([0]))
    drawn = zoo.responses(20000)
    assert drawn.correct.mean() == pytest.approx(0.3, abs=0.01)
    part = drawn.gold - 2 * (2 * drawn.correct - 1)  # .3 of a standard normal
    assert (part.mean(), part.std()) == (pytest.approx(0, abs=0.01), pytest.approx(0.3, abs=0.01))
    assert abs(np.corrcoef(drawn.gold, drawn.style)[0, 1]) < 0.03
    assert zoo.responses(4000, style=-1.5).style.mean() == pytest.approx(-1.5, abs=0.1)
    assert zoo.responses(5, correct=1).correct.tolist() == [1.0] * 5


def test_labels_follow_the_annotators_utility_and_flips():
    zoo = RewardZoo(Streams([1]))
    pairs = zoo.responses(20000, 2)
    margin, style = pairs.gold.diff(dim=1).neg()[:, 0], pairs.style.diff(dim=1).neg()[:, 0]
    for weight, flip in ((0.0, 0.0), (1.5, 0.0), (1.5, 0.2)):
        p = torch.sigmoid(margin + weight * style)
        expected = (p * (1 - flip) + (1 - p) * flip).mean()
        first = zoo.labels(pairs, torch.tensor([weight]).double(), flip)[0].double()
        assert first.mean() == pytest.approx(expected.item(), abs=0.01)
        agrees = (first == (p > 0.5).double()).double().mean()
        wanted = torch.maximum(p, 1 - p).mean() * (1 - 2 * flip) + flip
        assert agrees == pytest.approx(wanted.item(), abs=0.01)


def test_a_model_stops_at_its_steps_and_sees_only_its_pairs():
    streams = Streams([2])
    zoo = RewardZoo(streams)
    same = torch.tensor([40.0, 40.0]).double()
    own = Recipes(same, torch.zeros(2).double(), torch.zeros(2).double(), torch.tensor([3, 9]))
    models = zoo.trained(own)
    assert scored(models, zoo.responses(7)).shape == (2, 7)
    again = RewardZoo(Streams([2]))
    short = again.trained(own._replace(steps=torch.tensor([3, 3])))
    for one, other in zip(models.weights, short.weights, strict=True):
        assert torch.equal(one[:, 0], other[:, 0])
        assert not torch.equal(one[:, 1], other[:, 1])


def test_permuted_labels_and_constant_scores_are_at_chance_and_shuffled_models_are_unrelated():
    zoo, _, models = small(n=20)
    sides = (zoo.responses(500, 1, correct=1), zoo.responses(500, 3, correct=0))
    items = torch.cat([scored(models, side) for side in sides], dim=-1)
    slot = torch.randint(4, (500,), generator=torch.Generator().manual_seed(0))
    permuted = (items.argmax(dim=-1) == slot).double().mean(dim=1)
    assert permuted.mean() == pytest.approx(0.25, abs=0.02)
    best, pairs = (items[..., 0] > items[..., 1:].amax(-1)).double(), (items[..., :1] > items[..., 1:]).double()
    assert (best.mean(dim=1) <= pairs.mean(dim=(1, 2)) + 1e-12).all()  # to beat three is to beat each of them
    accuracy = best.mean(dim=1).numpy()
    draw = np.random.default_rng(0)
    others = [association(accuracy, draw.permutation(accuracy), n_resamples=1).pearson.value for _ in range(40)]
    assert abs(np.mean(others)) < 0.1
