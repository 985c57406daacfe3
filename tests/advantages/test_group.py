"""Group advantages against slow loops, TRL's own arithmetic, gradcheck and limits."""

import math
import statistics
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.installed import part_of
from torch.testing import assert_close

from rewardsmith.advantages import batch_scaled, group_centered, group_zscore, leave_one_out, removes

NAN = math.nan
INF = math.inf
ESTIMATORS = [group_zscore, group_centered, leave_one_out, batch_scaled]


def slow_group(rewards, advantage):
    """One group, as lists; `advantage` maps the scored rewards and one of their indices to a number."""
    scored = [r for r in rewards if math.isfinite(r)]
    dead = len(scored) < 2 or len(set(scored)) == 1
    values = iter([] if dead else [advantage(scored, i) for i in range(len(scored))])
    return [0.0 if dead or not math.isfinite(r) else next(values) for r in rewards]


def slow(name, rewards, group_size, eps):
    every = [r for r in rewards if math.isfinite(r)]
    batch_std = statistics.stdev(every) if len(every) > 1 else 0.0
    one = {
        "group_zscore": lambda s, i: (s[i] - statistics.mean(s)) / (statistics.stdev(s) + eps),
        "group_centered": lambda s, i: s[i] - statistics.mean(s),
        "leave_one_out": lambda s, i: s[i] - statistics.mean(s[:i] + s[i + 1 :]),
        "batch_scaled": lambda s, i: (s[i] - statistics.mean(s)) / (batch_std + eps),
    }[name]
    groups = [rewards[start : start + group_size] for start in range(0, len(rewards), group_size)]
    return [advantage for group in groups for advantage in slow_group(group, one)]


scores = st.one_of(st.floats(-100, 100).map(lambda x: round(x, 3)), st.sampled_from([NAN, INF, -INF, 0.0, 1.0]))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(rewards=st.lists(scores, min_size=12, max_size=12), group_size=st.sampled_from([1, 2, 3, 4, 12]))
def test_each_estimator_is_its_equation_over_the_scored_rows(rewards, group_size):
    for estimator in ESTIMATORS:
        with_eps = estimator in (group_zscore, batch_scaled)
        got = estimator(
            torch.tensor(rewards, dtype=torch.float64), group_size=group_size, **({"eps": 1e-3} if with_eps else {})
        )
        expected = torch.tensor(slow(estimator.__name__, rewards, group_size, 1e-3), dtype=torch.float64)
        assert_close(got, expected, rtol=1e-8, atol=1e-9)


def binary_and_graded():
    generator = torch.Generator().manual_seed(0)
    graded = torch.randn(32, generator=generator)
    graded[3] = graded[8] = graded[9] = NAN
    binary = torch.rand(32, generator=generator).round()
    return [binary, graded, 10 * graded]


@pytest.mark.slow
@pytest.mark.parametrize("rewards", binary_and_graded(), ids=["binary", "graded", "large"])
def test_advantages_equal_those_of_trl(rewards):
    nanstd = part_of("trl", "trl.trainer.utils").nanstd
    grouped = rewards.view(-1, 8)
    centered = rewards - torch.nanmean(grouped, dim=1).repeat_interleave(8)
    by_group = centered / (nanstd(grouped, dim=1).repeat_interleave(8) + 1e-4)
    by_batch = centered / (nanstd(rewards) + 1e-4)
    siblings = (torch.nansum(grouped, dim=1, keepdim=True) - grouped) / ((~grouped.isnan()).sum(1, keepdim=True) - 1)
    for estimator, theirs in [
        (group_zscore, by_group),
        (group_centered, centered),
        (batch_scaled, by_batch),
        (leave_one_out, rewards - siblings.view(-1)),
    ]:
        assert_close(estimator(rewards, group_size=8), torch.nan_to_num(theirs, nan=0.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_infinite_reward_is_unscored_and_does_not_silence_its_group(estimator):
    with_inf = estimator(torch.tensor([0.0, 1.0, INF, 2.0, -INF, NAN]), group_size=6)
    with_nan = estimator(torch.tensor([0.0, 1.0, NAN, 2.0, NAN, NAN]), group_size=6)
    assert_close(with_inf, with_nan)
    assert with_inf[0] < 0 < with_inf[3]
    assert (with_inf[[2, 4, 5]] == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("rewards", [[0.1, 0.1, 0.1], [NAN, 5.0, NAN], [NAN, NAN, NAN], [INF, 1.0, NAN]])
def test_groups_without_a_comparison_get_exactly_zero(estimator, rewards):
    # The mean of three 0.1 is not 0.1 in floating point; over an eps of 1e-4 its rounding would look like a signal.
    live = [0.0, 1.0, 0.5]
    assert (estimator(torch.tensor(rewards + live), group_size=3)[:3] == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_groups_of_one_get_zero(estimator):
    assert (estimator(torch.tensor([1.0, 2.0, NAN]), group_size=1) == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_empty_batch_stays_empty(estimator):
    assert estimator(torch.zeros(0), group_size=4).shape == (0,)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_huge_finite_rewards_keep_their_order(estimator):
    # 3e38 squared leaves float32; the order 0 < 3e38 must survive.
    got = estimator(torch.tensor([0.0, 3e38, 0.0, 0.0]), group_size=4)
    assert got.isfinite().all()
    assert got[1] > 0 > got[0]


def test_a_group_zscore_of_two_is_one_over_root_two():
    # (±½) / √(½·½·2 / 1) = ±1/√2
    assert_close(group_zscore(torch.tensor([0.0, 1.0]), group_size=2, eps=0.0), torch.tensor([-1.0, 1.0]) / 2**0.5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_agree_with_finite_differences(estimator):
    rewards = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(partial(estimator, group_size=4), (rewards.requires_grad_(),))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_an_estimator_declares_to_remove_it_removes(estimator):
    rewards = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shift = torch.tensor([5.0, -3.0, 0.5]).repeat_interleave(4)
    scale = torch.tensor([2.0, 0.5, 9.0]).repeat_interleave(4)
    plain = estimator(rewards, group_size=4)
    shifted = estimator(rewards + shift, group_size=4)
    ratio = shifted / plain
    assert_close(ratio, ratio[:1].expand_as(ratio))  # one step size for the batch
    scaled = estimator(rewards * scale, group_size=4)
    removed = torch.allclose(scaled, plain, rtol=1e-3)
    assert removed == ("scale" in estimator.__removes__)
    assert "shift" in estimator.__removes__


def test_a_users_estimator_can_declare_what_it_removes():
    @removes("shift")
    def above_best(rewards, *, group_size):
        return rewards - rewards.max()

    assert above_best.__removes__ == {"shift"}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_partial_groups_and_wrong_shapes_are_refused(estimator):
    name = estimator.__name__
    with pytest.raises(ValueError, match=rf"{name}: 5 rows are not a whole number of groups of 4.* num_generations"):
        estimator(torch.zeros(5), group_size=4)
    with pytest.raises(ValueError, match=rf"{name}: rewards must have shape \(any\), got \(2, 2\)"):
        estimator(torch.zeros(2, 2), group_size=2)
