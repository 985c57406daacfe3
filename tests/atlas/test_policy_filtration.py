"""The reward model of page policy_filtration errs where it says, and a policy is worth what a slow loop finds."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.policy_filtration import World
from rewardsmith.worlds import Streams

BAND, HEIGHT = 0.35, 0.24
WORLD = World(steepness=2.4, n_responses=50, noise_std=0.3, band=BAND, height=HEIGHT)


@pytest.fixture(scope="module")
def rm():
    return WORLD.sample(Streams([1, 2]), 40)


def test_the_reward_is_gold_at_both_ends_and_near_the_middle_in_between(rm):
    ends = (rm.gold - 0.5).abs() > BAND
    assert 0.2 < ends.double().mean() < 0.8
    assert torch.equal(rm.rewards[ends], rm.gold[ends])
    assert ((rm.rewards[~ends] - 0.5).abs() <= HEIGHT).all()
    assert rm.rewards[~ends].std() > HEIGHT / 2


def test_in_the_middle_the_reward_likes_what_gold_dislikes(rm):
    inside = (rm.gold - 0.5).abs() <= BAND
    assert torch.corrcoef(torch.stack([rm.gold[inside], rm.rewards[inside]]))[0, 1] < -0.2


def test_log_odds_of_gold_spread_as_declared():
    rm = World(n_responses=100, steepness=1.5).sample(Streams([0]), 100)
    odds = torch.logit(rm.gold)
    assert abs(float(odds.std()) - 1.5) < 5 * 1.5 / math.sqrt(2 * 10_000)  # 5 standard errors of a deviation
    assert abs(float(odds.mean())) < 5 * 1.5 / math.sqrt(10_000)


def test_two_linear_directions_explain_gold_and_the_middle_with_the_declared_angle():
    rm = World(n_responses=60, steepness=2.4, dislike=1.2).sample(Streams([5]), 60)
    features = rm.features[0].flatten(0, 1)
    good = torch.linalg.lstsq(features, torch.logit(rm.gold[0].flatten())[:, None]).solution[:, 0]
    inside = (rm.gold[0].flatten() - 0.5).abs() <= BAND
    slope = torch.atanh((rm.rewards[0].flatten()[inside] - 0.5) / 0.24)
    lure = torch.linalg.lstsq(features[inside], slope[:, None]).solution[:, 0]
    assert_close(lure.norm(), torch.tensor(2.0).double())  # tanh(2 v·φ) with |v| = 1
    cosine = good @ lure / good.norm() / lure.norm()
    assert_close(cosine, torch.tensor(-1.2 / math.sqrt(1 + 1.2**2)).double())


def test_equal_noise_is_independent_of_gold_and_changes_nothing_else(rm):
    noisy = WORLD.equally_noisy(rm, Streams([7, 8]))
    error = noisy.rewards - rm.gold
    assert abs(float(error.std()) - 0.3) < 5 * 0.3 / math.sqrt(2 * error.numel())
    assert abs(float(torch.corrcoef(torch.stack([error.flatten(), rm.gold.flatten()]))[0, 1])) < 5 / math.sqrt(4000)
    assert noisy.gold is rm.gold
    assert noisy.features is rm.features


def test_policy_and_value_are_those_of_a_slow_loop(rm):
    parameters = torch.randn(2, 3, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    some = rm.prompts(10, 14)
    policy = some.policy(parameters)
    value = some.value(policy)
    for s in range(2):
        for a in range(3):
            total = 0.0
            for p in range(4):
                odds = [math.exp(float(parameters[s, a] @ some.features[s, p, n])) for n in range(50)]
                chances = [odd / sum(odds) for odd in odds]
                assert_close(policy[s, a, p], torch.tensor(chances, dtype=torch.float64))
                total += sum(chance * float(gold) for chance, gold in zip(chances, rm.gold[s, 10 + p], strict=True))
            assert float(value[s, a]) == pytest.approx(total / 4)


def test_a_seed_s_world_is_the_same_whoever_stands_beside_it(rm):
    alone = WORLD.sample(Streams([2]), 40)
    for name in ("features", "gold", "rewards"):
        assert torch.equal(getattr(alone, name)[0], getattr(rm, name)[1])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"World: band is 0.6, outside \[0.0, 0.5\]"):
        World(band=0.6).sample(Streams([0]), 2)
    with pytest.raises(ValueError, match=r"World: height is -1, outside"):
        World(height=-1).sample(Streams([0]), 2)
