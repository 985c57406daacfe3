"""Clips, penalties and gates, row by row."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import ceiling, clip_rewards, gate, length_penalty
from rewardsmith.types import traits_of

NAN = math.nan
INF = math.inf


def test_clipping_keeps_what_is_inside_and_moves_infinities_to_the_bound():
    rewards = torch.tensor([-INF, -1.0, 0.25, 2.0, INF, NAN])
    expected = torch.tensor([-0.5, -0.5, 0.25, 1.0, 1.0, NAN])
    assert_close(clip_rewards(rewards, low=-0.5, high=1.0), expected, equal_nan=True)


def test_a_ceiling_only_cuts_from_above():
    rewards = torch.tensor([-9.0, 3.9, 4.1, INF, NAN])
    assert_close(ceiling(rewards), torch.tensor([-9.0, 3.9, 4.0, 4.0, NAN]), equal_nan=True)


def test_clipping_declares_its_bounds_only_when_it_has_both():
    assert traits_of(partial(clip_rewards, low=-1.0, high=1.0)).bounded == (-1.0, 1.0)
    assert traits_of(partial(clip_rewards, high=1.0)).bounded is None
    assert traits_of(clip_rewards).affine  # without bounds it is the identity
    assert not traits_of(partial(clip_rewards, high=1.0)).affine


def test_the_length_penalty_starts_after_the_free_tokens():
    # 0.01 a token beyond 300: 0 at 300, 0.01 at 301, 1 at 400.
    rewards, lengths = torch.ones(4), torch.tensor([10, 300, 301, 400])
    assert_close(length_penalty(rewards, lengths), torch.tensor([1.0, 1.0, 0.99, 0.0]))


def test_an_unknown_length_unscores_its_row():
    assert length_penalty(torch.ones(1), torch.tensor([NAN])).isnan().all()


def test_long_completions_do_not_lose_precision_in_half():
    # float16 holds no integer above 2048 exactly; 2049 − 300 = 1749 tokens cost 17.49, nearest float16 17.484375.
    got = length_penalty(torch.zeros(1, dtype=torch.float16), torch.tensor([2049]))
    assert got.dtype == torch.float16
    assert_close(got, torch.tensor([-17.49]).half())


@pytest.mark.parametrize(
    ("reward", "condition", "expected"),
    [(0.7, 1.0, 0.7), (0.7, 0.0, -1.0), (0.7, NAN, NAN), (NAN, 1.0, NAN), (NAN, 0.0, NAN), (INF, 0.0, -1.0)],
)
def test_a_gate_pays_below_only_where_its_condition_is_known_to_fail(reward, condition, expected):
    got = gate(torch.tensor([reward]), condition=torch.tensor([condition]), below=-1.0)
    assert_close(got, torch.tensor([expected]), equal_nan=True)


def test_a_gate_takes_booleans():
    assert_close(gate(torch.ones(2), condition=torch.tensor([True, False])), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: clip_rewards(r, low=1.0, high=0.0), r"clip_rewards: low=1.0 is above high=0.0.* Swap them"),
        (lambda r: clip_rewards(r, low=NAN), r"clip_rewards: low=nan"),
        (lambda r: length_penalty(r, r[:1]), r"length_penalty: arguments must share one shape"),
        (lambda r: gate(r, condition=r[:1]), r"gate: arguments must share one shape"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(3))
