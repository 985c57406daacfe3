"""The pairs of page context_aware: what contexts prefer, that reversals reverse, and what a model is told."""

import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.context_aware import World, looks
from rewardsmith.worlds import Streams
from rewardsmith.worlds.asked_qualities import random_rotation

RATES = (0.5, 0.3, 0.15, 0.05)
WORLD = World(rates=RATES)


def world():
    streams = Streams([0, 1, 2])
    return random_rotation(4, streams), streams


def test_features_are_a_rotation_of_the_qualities():
    rotation, streams = world()
    values = streams.randn(5, 2, 4)
    seen = looks(values, rotation)
    for s in range(3):
        assert_close(seen[s, 3, 1], rotation[s] @ values[s, 3, 1])
    assert_close(seen.norm(dim=-1), values.norm(dim=-1))


def test_the_preferred_response_has_more_of_what_the_context_asks_for():
    _, streams = world()
    context, values = WORLD.pairs(4000, streams)
    for s in range(3):
        for n in range(50):
            z = context[s, n]
            assert values[s, n, 0, z] > values[s, n, 1, z]
    for z, rate in enumerate(RATES):
        share = (context == z).double().mean(dim=1)
        assert ((share - rate).abs() < 4 * (rate * (1 - rate) / 4000) ** 0.5).all()


def test_the_two_rows_of_a_reversal_prefer_opposite_responses():
    _, streams = world()
    context, values = WORLD.reversals(300, streams)
    first, second = values[:, ::2], values[:, 1::2]
    assert_close(first, second.flip(2))
    assert (context[:, ::2] != context[:, 1::2]).all()
    at = context[..., None, None].expand(-1, -1, 2, 1)
    gold = values.gather(-1, at).squeeze(-1)
    assert (gold[..., 0] > gold[..., 1]).all()


def test_qualities_stay_standard_normal_where_pairs_were_split():
    _, streams = world()
    _, values = WORLD.reversals(3000, streams)
    assert_close(values.mean(dim=(1, 2, 3)), torch.zeros(3).double(), atol=4 / 24_000**0.5, rtol=0)
    assert_close(values.std(dim=(1, 2, 3)), torch.ones(3).double(), atol=0.03, rtol=0)


def test_a_seed_does_not_see_the_seeds_beside_it():
    alone = Streams([1])
    rotation = random_rotation(4, alone)
    _, got = WORLD.reversals(20, alone)
    rotations, streams = world()
    _, both = WORLD.reversals(20, streams)
    assert_close(looks(got, rotation)[0], looks(both, rotations)[1])
