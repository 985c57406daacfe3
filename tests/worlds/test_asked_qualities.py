"""Answers of which a query asks for one quality: their order by hand, and what a model is joined."""

import torch
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.asked_qualities import asked_for, better_first, joined, random_rotation


def test_answers_are_ordered_by_the_quality_that_is_asked_for():
    values = torch.tensor([[[[1.0, 9.0], [2.0, 8.0]], [[1.0, 9.0], [2.0, 8.0]]]])
    asked = torch.tensor([[0, 1]])
    assert asked_for(values, asked).tolist() == [[[1.0, 2.0], [9.0, 8.0]]]
    assert better_first(values, asked).tolist() == [[[[2.0, 8.0], [1.0, 9.0]], [[1.0, 9.0], [2.0, 8.0]]]]


def test_rotations_keep_lengths():
    turn = random_rotation(4, Streams([0, 1]))
    assert_close(turn @ turn.transpose(1, 2), torch.eye(4, dtype=torch.float64).expand(2, -1, -1))


def test_a_model_is_told_what_is_asked_the_looks_and_their_product():
    x = torch.tensor([[2.0, 3.0]])
    assert joined(x, torch.tensor([1]), 3).tolist() == [[0, 1, 0, 2, 3, 0, 0, 2, 3, 0, 0]]
    assert joined(x, torch.tensor([2]), 3).tolist() == [[0, 0, 1, 2, 3, 0, 0, 0, 0, 2, 3]]
