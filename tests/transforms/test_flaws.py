"""The flawed-positive penalty against a table, and its closed-form advantage against group means."""

import math
from functools import partial
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import drop_dead_groups, group_centered, group_zscore
from rewardsmith.transforms import flawed_positive_penalty
from rewardsmith.transforms.flaws import flawed_advantage
from rewardsmith.types import traits_of

NAN = math.nan


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_every_combination_of_verdicts_earns_what_the_table_says(lam):
    table = {  # (z, f): reward; a silent detector accuses nobody
        (1.0, 0.0): 1.0,
        (1.0, 1.0): 1.0 - lam,
        (1.0, NAN): 1.0,
        (0.0, 0.0): -1.0,
        (0.0, 1.0): -1.0,
        (0.0, NAN): -1.0,
        (NAN, 0.0): NAN,
        (NAN, 1.0): NAN,
        (NAN, NAN): NAN,
    }
    rewards, flawed = torch.tensor(list(table), dtype=torch.float64).unbind(dim=1)
    expected = torch.tensor(list(table.values()), dtype=torch.float64)
    assert_close(flawed_positive_penalty(rewards, flawed, lam=lam), expected, equal_nan=True)


def test_a_boolean_detector_and_half_precision_rewards_are_taken():
    got = flawed_positive_penalty(torch.tensor([1.0, 1.0, 0.0]).half(), torch.tensor([True, False, True]), lam=0.3)
    assert got.dtype == torch.float16
    assert_close(got.double(), torch.tensor([0.7, 1.0, -1.0]).double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_the_closed_form_is_the_advantage_of_a_flawed_row_for_every_group_of_twelve(lam):
    n_checked = 0
    for sound, flawed in product(range(12), range(1, 13)):
        wrong = 12 - sound - flawed
        if wrong < 0:
            continue
        correct = torch.tensor([1.0] * (sound + flawed) + [0.0] * wrong, dtype=torch.float64)
        accused = torch.tensor([0.0] * sound + [1.0] * flawed + [0.0] * wrong, dtype=torch.float64)
        rewards = flawed_positive_penalty(correct, accused, lam=lam)
        raw = rewards[sound] - rewards.mean()
        assert_close(flawed_advantage(sound / 12, flawed / 12, wrong / 12, lam=lam), raw, rtol=1e-12, atol=1e-12)
        assert_close(group_centered(rewards, group_size=12)[sound], raw, rtol=1e-12, atol=1e-12)
        assert group_zscore(rewards, group_size=12)[sound] * raw >= 0
        n_checked += 1
    assert n_checked == 78  # pairs with sound + flawed ≤ 12 and flawed ≥ 1


def test_at_lambda_one_the_sign_is_that_of_wrong_less_sound_on_the_whole_grid():
    counts = [(p, f, 40 - p - f) for p in range(41) for f in range(41 - p)]
    sound, flawed, wrong = torch.tensor(counts, dtype=torch.float64).unbind(dim=1)
    got = flawed_advantage(sound / 40, flawed / 40, wrong / 40)
    assert_close(got.sign() * (got.abs() > 1e-12), (wrong - sound).sign())


def test_with_flawed_equal_to_wrong_it_is_never_a_bonus():
    counts = [(p, f, 40 - p - f) for p in range(41) for f in range(1, 41 - p)]
    sound, flawed, wrong = (torch.tensor(counts, dtype=torch.float64) / 40).unbind(dim=1)
    assert flawed_advantage(sound, flawed, wrong, lam=2.0).max() <= 1e-12


def test_a_group_that_is_all_right_but_partly_flawed_holds_a_signal_after_the_penalty():
    correct, flawed = torch.ones(4), torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert not drop_dead_groups(correct, group_size=4).any()
    assert drop_dead_groups(flawed_positive_penalty(correct, flawed), group_size=4).all()


def test_only_without_a_penalty_is_it_affine():
    assert traits_of(partial(flawed_positive_penalty, lam=0.0)).affine
    assert not traits_of(flawed_positive_penalty).affine
    assert traits_of(partial(flawed_positive_penalty, lam=3.0)).bounded == (-2.0, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z: flawed_positive_penalty(z, z[:1]),
            r"flawed_positive_penalty: arguments must share one shape",
        ),
        (
            lambda z: flawed_positive_penalty(-z, z),
            r"flawed_positive_penalty: rewards holds -1.0, but a verdict is 0, 1, or NaN",
        ),
        (
            lambda z: flawed_positive_penalty(z, z * math.inf),
            r"flawed_positive_penalty: flawed holds inf, but a verdict is 0, 1, or NaN",
        ),
        (lambda z: flawed_positive_penalty(z, z, lam=NAN), r"flawed_positive_penalty: lam is nan, outside"),
        (
            lambda z: flawed_advantage(2.0, 3.0, 3.0),
            r"flawed_advantage: fractions 2.0, 3.0, 3.0 must be at least 0 and sum to 1. Divide counts by",
        ),
        (lambda z: flawed_advantage(-0.5, 0.5, 1.0), r"flawed_advantage: fractions -0.5, 0.5, 1.0 must be at least 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2))
