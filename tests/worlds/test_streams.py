"""Streams keep seeds apart, and inverted sums draw from the distribution they are given."""

import torch
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index


def test_a_seed_draws_the_same_whoever_stands_beside_it():
    beside, alone = Streams([5, 6, 7]), Streams([6])
    for draw in ("rand", "randn"):
        assert torch.equal(getattr(beside, draw)(3, 2)[1], getattr(alone, draw)(3, 2)[0])
    assert torch.equal(beside.randint(9, 4)[1], alone.randint(9, 4)[0])
    assert torch.equal(beside.randperm(6)[1], alone.randperm(6)[0])
    assert len(beside) == 3


def test_a_permutation_holds_every_index_once():
    assert torch.equal(Streams([0, 1]).randperm(7).sort(dim=1).values, torch.arange(7).expand(2, 7))


def test_an_index_is_drawn_where_a_slow_loop_finds_it():
    streams = Streams([3])
    probabilities = torch.softmax(3 * streams.randn(200, 5)[0], dim=-1)
    uniform = streams.rand(200)[0]
    drawn = sample_index(probabilities, uniform).tolist()
    for row, u, index in zip(probabilities.tolist(), uniform.tolist(), drawn, strict=True):
        total, place = row[0], 0
        while u >= total and place < len(row) - 1:
            place += 1
            total += row[place]
        assert index == place


def test_sums_that_round_below_one_still_give_a_valid_index():
    probabilities = torch.full((1, 3), 0.33)
    assert sample_index(probabilities, torch.tensor([0.9999])).tolist() == [2]


def test_arms_share_their_draws_by_broadcasting():
    probabilities = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]])  # (S, 1, K) against (S, B)
    drawn = sample_index(probabilities, torch.tensor([[0.4, 0.6], [0.4, 0.6]]))
    assert_close(drawn, torch.tensor([[0, 1], [0, 0]]))
