"""The pool of page lsc: its moments against closed forms, its gold against a slow loop."""

import math

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from rewardsmith.atlas.pages.lsc import World, p_good


def sample(n_prompts=400, n_responses=300, seed=0, **options):
    world = World(n_prompts=n_prompts, n_responses=n_responses, **options)
    return world.pool(torch.Generator().manual_seed(seed))


def test_the_two_properties_correlate_as_declared_within_prompts():
    gold = sample(correlation=-0.3).gold
    within = gold - gold.mean(-1, keepdim=True)
    unit = within / within.std(-1, keepdim=True)
    assert float((unit[0] * unit[1]).mean()) == pytest.approx(-0.3, abs=0.02)


def test_both_properties_share_a_log_normal_spread_over_prompts():
    spread = sample(median_scale=1.5, scale_spread=0.4).gold.std(-1).log()  # (2, P)
    assert float((spread[0] - spread[1]).abs().max()) < 0.35  # one scale, estimated twice from 300 responses
    assert float(spread.mean()) == pytest.approx(math.log(1.5), abs=0.06)
    assert float(spread.std()) == pytest.approx(0.4, abs=0.05)


def test_the_error_is_student_t_around_a_constant_of_the_prompt():
    pool = sample(noise=0.5, offset_std=3.0)
    gap = pool.rewards - pool.gold
    offset = gap.median(-1, keepdim=True).values
    assert float(offset.std()) == pytest.approx(3.0, rel=0.1)
    error = (gap - offset).flatten() / 0.5
    assert stats.kstest(error[::97].numpy(), stats.t(df=3).cdf).pvalue > 1e-4


def test_without_error_and_offset_the_reward_models_are_gold():
    pool = sample(10, 20, noise=0.0, offset_std=0.0)
    assert_close(pool.rewards, pool.gold)


def test_p_good_compares_with_the_prompt_s_own_quantile():
    pool = sample(4, 11)
    good = p_good(pool.gold, quantile=0.7)
    for k in range(2):
        for p in range(4):
            values = pool.gold[k, p].tolist()
            level = sorted(values)[7]  # position 0.7·(11 − 1) = 7 exactly
            slow = [1 / (1 + math.exp(level - value)) for value in values]
            assert_close(good[k, p], torch.tensor(slow, dtype=torch.float64))


def test_references_are_scores_of_one_response_under_both_reward_models():
    pool = sample(5, 7)
    world = World(n_prompts=5, n_responses=7, n_references=50)
    references = world.references(pool, torch.Generator().manual_seed(1))
    assert references.shape == (2, 5, 50)
    for p in range(5):
        pairs = {tuple(pair) for pair in pool.rewards[:, p].T.tolist()}
        assert {tuple(pair) for pair in references[:, p].T.tolist()} <= pairs


def test_a_correlation_beyond_one_is_refused():
    with pytest.raises(ValueError, match=r"World: correlation is 1.5, outside \[-1.0, 1.0\]"):
        sample(2, 2, correlation=1.5)
