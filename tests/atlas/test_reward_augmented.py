"""Pairs with goals in a table: rewritten rows, the policy by hand, and what holds of doubled data by algebra."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.reward_augmented import BINS, World, augmented, experiments, margin, pair_loss, table
from rewardsmith.worlds import Streams

SMALL = World(n_prompts=3, n_pairs=4, steps=3)


def test_each_pair_is_asked_for_at_both_scores_and_a_tie_has_no_direction():
    pair, scores = torch.tensor([[[3, 0], [1, 2]]]), torch.tensor([[[9.5, 2.25], [4.0, 4.0]]], dtype=torch.float64)
    goal, asked, unasked, target = augmented(pair, scores)
    assert goal.tolist() == [[9.5, 2.25, 4.0, 4.0]]
    assert asked.tolist() == [[3, 0, 1, 2]]
    assert unasked.tolist() == [[0, 3, 2, 1]]
    assert target.tolist() == [[1.0, 1.0, 0.5, 0.5]]


def parts():
    streams = Streams([2])
    ref, theta = streams.randn(2, 3).log_softmax(-1), streams.randn(2, BINS, 3)
    return ref, theta


def test_a_policy_mixes_the_bins_near_its_goal():
    ref, theta = parts()
    kernel = [math.exp(-((7.5 - b) ** 2) / 2) for b in range(1, 11)]
    logits = [
        float(ref[0, 1, y]) + sum(k * float(theta[0, 1, b, y]) for b, k in enumerate(kernel)) / sum(kernel)
        for y in range(3)
    ]
    expected = torch.tensor(logits, dtype=torch.float64).log_softmax(0)
    assert_close(table(ref, torch.full((1, 2, 1), 7.5, dtype=torch.float64), theta)[0, 1, 0], expected)


def test_the_loss_is_that_of_each_pair_under_its_goal_and_doubling_the_data_changes_nothing():
    ref, theta = parts()
    goals = torch.tensor([[[2.0, 9.0], [5.0, 10.0]]], dtype=torch.float64)
    pair = torch.tensor([[[[0, 1], [2, 0]], [[1, 2], [1, 0]]]])
    one = torch.ones((), dtype=torch.float64)
    by_hand = []
    for x in range(2):
        losses = []
        for n in range(2):
            change = (table(ref, goals[:, :, n : n + 1], theta)[0, x, 0] - ref[0, x])[pair[0, x, n]]
            losses.append(math.log1p(math.exp(-0.3 * float(change[0] - change[1]))))
        by_hand.append(sum(losses) / 2)
    found = pair_loss(ref, 0.3, goals, pair, one, theta)
    assert_close(found[0].tolist(), by_hand)
    doubled = pair_loss(ref, 0.3, goals.repeat(1, 1, 2), pair.repeat(1, 1, 2, 1), one, theta)
    assert_close(doubled, found)


def test_both_orders_of_a_tie_at_one_goal_cancel():
    ref, theta = parts()
    theta.zero_().requires_grad_()
    goals, pair = torch.full((1, 2, 2), 4.0, dtype=torch.float64), torch.tensor([[[[0, 1], [1, 0]]] * 2])
    pair_loss(ref, 0.3, goals, pair, torch.ones((), dtype=torch.float64), theta).sum().backward()
    assert_close(theta.grad, torch.zeros_like(theta))
    assert_close(margin(ref, goals, pair, theta).detach(), torch.zeros(1, 2, 2, dtype=torch.float64))


def test_a_seed_alone_gives_the_numbers_that_it_gives_beside_another():
    alone, beside = experiments([7], SMALL), experiments([6, 7], SMALL)
    assert alone[0] == pytest.approx(beside[1], rel=1e-9, nan_ok=True)
