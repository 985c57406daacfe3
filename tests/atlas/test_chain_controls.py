"""The credits of the pages on chains, against episodes worked out by hand."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.gated_rewards import World, credits_of
from rewardsmith.atlas.pages.min_form import above_token_baseline, product_of_chain
from rewardsmith.atlas.pages.renorm import divided
from rewardsmith.worlds.step_chain import Rollouts

NAN = math.nan
SUBMIT = 5


def two_episodes():
    """Return one of two turns that submits and solves, and one of three turns that is cut."""
    return Rollouts(
        observations=torch.zeros(2, 3, dtype=torch.int64),
        actions=torch.tensor([[0, SUBMIT, 0], [1, 2, 3]]),
        step_rewards=torch.tensor([[0.8, 0.5, NAN], [0.5, 0.2, 0.5]], dtype=torch.float64),
        step_mask=torch.tensor([[True, True, False], [True, True, True]]),
        submitted=torch.tensor([1.0, 0.0], dtype=torch.float64),
        solved=torch.tensor([1.0, 0.0], dtype=torch.float64),
    )


def test_divided_scores_add_up_to_their_mean_and_the_outcome():
    expected = torch.tensor([[0.65 + 1, 0.25 + 1, NAN], [0.4, 0.7 / 3, 0.5 / 3]], dtype=torch.float64)
    assert_close(divided(two_episodes()), expected, equal_nan=True)


def test_a_product_adds_up_logarithms():
    logs = [[math.log(0.4), math.log(0.5), NAN], [math.log(0.05), math.log(0.1), math.log(0.5)]]
    assert_close(product_of_chain(two_episodes()), torch.tensor(logs, dtype=torch.float64), equal_nan=True)


@pytest.mark.parametrize(("order", "total"), [(1.0, [0.0, -0.6]), (-1.0, [0.6, 0.0]), (0.0, [0.6, -0.6])])
def test_a_soft_minimum_weighs_the_worst_step_and_its_control_the_best(order, total):
    """Signed scores are (.6, 0) and (0, −.6, 0); as T → 0 the sums are the least or the largest of a chain."""
    returns = above_token_baseline(two_episodes(), group_size=2, temperature=0.001, order=order)
    (first, second), expected = total, torch.zeros(2, dtype=torch.float64)
    expected[0], expected[1] = first - 2 * second / 3, second - 3 * first / 2  # less what the other earns per step
    assert_close(returns[:, 0], expected)


@pytest.mark.parametrize(
    ("arm", "solving", "cut"),
    [
        ("outcome_only", [1, 1], [-1, -1, -1]),
        ("ungated", [1.5, 1], [0.5, 0, -0.5]),
        ("ungated_mean", [1.25, 1], [-0.5, -2 / 3, -5 / 6]),
        ("gate_submitted", [1.5, 1], [-1, -1, -1]),
        ("gate_solved", [1.5, 1], [-1, -1, -1]),
        ("gate_mean", [1.25, 1], [-1, -1, -1]),
        ("gate_inverted", [1, 1], [0.5, 0, -0.5]),
        ("ungated_mean_strong", [3.5, 1], [4, 7 / 3, 2 / 3]),
        ("gate_mean_strong", [3.5, 1], [-1, -1, -1]),
    ],
)
def test_a_turn_earns_half_a_point_or_five_summed_divided_or_behind_a_gate(arm, solving, cut):
    returns = credits_of(World(), SUBMIT, False)[arm](two_episodes())
    expected = torch.tensor([[*solving, NAN], cut], dtype=torch.float64)
    assert_close(returns, expected, equal_nan=True)
