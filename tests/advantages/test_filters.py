"""Filters as weights, and advantages on tokens."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import drop_dead_groups, drop_unscored, group_centered

NAN = math.nan
INF = math.inf


@pytest.mark.parametrize(
    ("group", "live"),
    [
        ([0.0, 1.0, 0.0], True),
        ([1.0, 1.0, 1.0], False),
        ([1.0, NAN, 0.0], True),
        ([1.0, NAN, 1.0], False),
        ([1.0, INF, NAN], False),
        ([INF, -INF, 0.0], False),
        ([NAN, NAN, NAN], False),
    ],
)
def test_a_group_lives_if_two_scored_rows_differ(group, live):
    weights = drop_dead_groups(torch.tensor([*group, 0.0, 1.0, 2.0]), group_size=3)
    assert_close(weights, torch.tensor([float(live)] * 3 + [1.0] * 3))


def test_weights_have_mean_one_over_the_kept_and_drop_only_zero_advantages():
    rewards = (torch.rand(64, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    weights = drop_dead_groups(rewards, group_size=4)
    assert 0 < weights.sum() < 64
    assert weights[weights > 0].mean() == 1
    assert_close(weights * group_centered(rewards, group_size=4), group_centered(rewards, group_size=4))


def test_a_tolerance_counts_close_rewards_as_agreement():
    rewards = torch.tensor([0.0, 0.05, 0.0, 0.5])
    assert_close(drop_dead_groups(rewards, group_size=2, tolerance=0.1), torch.tensor([0.0, 0.0, 1.0, 1.0]))


def test_unscored_rows_weigh_nothing():
    assert_close(drop_unscored(torch.tensor([0.0, NAN, INF, -1.0])), torch.tensor([1.0, 0.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: drop_dead_groups(r, group_size=2), r"drop_dead_groups: 3 rows are not a whole number"),
        (lambda r: drop_dead_groups(r, group_size=3, tolerance=-1.0), r"drop_dead_groups: tolerance is -1.0, outside"),
        (lambda r: drop_dead_groups(r[None], group_size=1), r"drop_dead_groups: rewards must have shape"),
        (lambda r: drop_unscored(r[None]), r"drop_unscored: rewards must have shape"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(3))
