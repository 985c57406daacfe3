"""The pairs of page context_aware: what contexts prefer, that reversals reverse, and what a model is told."""

import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.context_aware import World, looks, told
from rewardsmith.worlds import Streams

RATES = (0.5, 0.3, 0.15, 0.05)
WORLD = World(rates=RATES)


def world():
    streams = Streams([0, 1, 2])
    return WORLD.rotation(streams), streams


def test_features_are_a_rotation_of_the_qualities():
    rotation, streams = world()
    values = streams.randn(5, 2, 4)
    seen = looks(values, rotation)
    for s in range(3):
        assert_close(seen[s, 3, 1], rotation[s] @ values[s, 3, 1])
    assert_close(seen.norm(dim=-1), values.norm(dim=-1))


def test_the_preferred_response_has_more_of_what_the_context_asks_for():
    rotation, streams = world()
    pairs = WORLD.pairs(4000, rotation, streams)
    for s in range(3):
        for n in range(50):
            z = pairs.context[s, n]
            assert pairs.values[s, n, 0, z] > pairs.values[s, n, 1, z]
    assert_close(pairs.features, looks(pairs.values, rotation))
    for z, rate in enumerate(RATES):
        share = (pairs.context == z).double().mean(dim=1)
        assert ((share - rate).abs() < 4 * (rate * (1 - rate) / 4000) ** 0.5).all()


def test_the_two_rows_of_a_reversal_prefer_opposite_responses():
    rotation, streams = world()
    rows = WORLD.reversals(300, rotation, streams)
    first, second = rows.values[:, ::2], rows.values[:, 1::2]
    assert_close(first, second.flip(2))
    assert (rows.context[:, ::2] != rows.context[:, 1::2]).all()
    at = rows.context[..., None, None].expand(-1, -1, 2, 1)
    gold = rows.values.gather(-1, at).squeeze(-1)
    assert (gold[..., 0] > gold[..., 1]).all()


def test_qualities_stay_standard_normal_where_pairs_were_split():
    rotation, streams = world()
    values = WORLD.reversals(3000, rotation, streams).values
    assert_close(values.mean(dim=(1, 2, 3)), torch.zeros(3).double(), atol=4 / 24_000**0.5, rtol=0)
    assert_close(values.std(dim=(1, 2, 3)), torch.ones(3).double(), atol=0.03, rtol=0)


def test_a_model_is_told_the_context_the_looks_and_their_product():
    x = torch.tensor([[2.0, 3.0]])
    assert told(x, torch.tensor([1]), 2).tolist() == [[0, 1, 0, 2, 3, 0, 0, 2, 3, 0, 0]]
    assert told(x, torch.tensor([2]), 2).tolist() == [[0, 0, 1, 2, 3, 0, 0, 0, 0, 2, 3]]


def test_a_seed_does_not_see_the_seeds_beside_it():
    alone = Streams([1])
    got = WORLD.reversals(20, WORLD.rotation(alone), alone)
    rotation, streams = world()
    assert_close(got.features[0], WORLD.reversals(20, rotation, streams).features[1])
