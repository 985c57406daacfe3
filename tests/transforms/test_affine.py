"""A factor, an offset, a threshold: by hand, and at the ends."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import rescale
from rewardsmith.transforms.shape import is_above, is_below
from rewardsmith.types import traits_of

NAN, INF = math.nan, math.inf


def test_rescale_is_a_line_through_hand_made_points():
    rewards = torch.tensor([-1.0, 0.0, 2.0, NAN, INF, -INF], dtype=torch.float64)
    expected = torch.tensor([3.5, 0.5, -5.5, NAN, -INF, INF], dtype=torch.float64)
    assert_close(rescale(rewards, scale=-3.0, shift=0.5), expected, equal_nan=True)


def test_a_factor_of_zero_leaves_nothing_and_invents_no_score():
    rewards = torch.tensor([5.0, INF, NAN])
    assert_close(rescale(rewards, scale=0.0, shift=0.25), torch.tensor([0.25, 0.25, NAN]), equal_nan=True)


def test_rescale_is_affine_only_with_a_positive_factor():
    assert traits_of(partial(rescale, scale=2.0)).affine
    assert not traits_of(partial(rescale, scale=-2.0)).affine
    assert not traits_of(partial(rescale, scale=0.0)).affine


def test_a_factor_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match=r"rescale: scale is nan, outside"):
        rescale(torch.zeros(1), scale=NAN)
    with pytest.raises(ValueError, match=r"rescale: shift is inf, outside"):
        rescale(torch.zeros(1), shift=INF)


def test_a_threshold_is_passed_strictly_or_reached():
    rewards = torch.tensor([0.0, 0.5, 1.0, INF, -INF, NAN])
    assert_close(is_above(rewards, threshold=0.5), torch.tensor([0.0, 0, 1, 1, 0, NAN]), equal_nan=True)
    assert_close(is_above(rewards, threshold=0.5, strict=False), torch.tensor([0.0, 1, 1, 1, 0, NAN]), equal_nan=True)
    assert_close(is_below(rewards, threshold=0.5), torch.tensor([1.0, 0, 0, 0, 1, NAN]), equal_nan=True)
    assert_close(is_below(rewards, threshold=0.5, strict=False), torch.tensor([1.0, 1, 0, 0, 1, NAN]), equal_nan=True)
