"""Page preference_topology: gold by hand, what pairs of each shape share, and best-of-n by a model that is gold."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.preference_topology import Truth, World
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP

SEEDS = [3, 4]


def world(**options):
    streams = Streams(SEEDS)
    return Truth(World(**options), streams), streams


def test_gold_is_the_weighted_sum_of_soft_steps_in_units_of_its_spread():
    truth, streams = world(importance_2=0.5)
    x = streams.randn(5, 3, 6)
    got = truth.gold(x)
    for s in range(2):
        for k in range(5):
            total = 0.0
            for level, weight in enumerate((1.0, 0.5, 0.1)):
                for unit in range(8):
                    along = sum(float(truth.directions[s, level, unit, i] * x[s, k, level, i]) for i in range(6))
                    total += weight * math.tanh(along)
            assert float(got[s, k]) == pytest.approx(total / float(truth.std[s]))
    assert_close(truth.gold(streams.randn(4000, 3, 6)).std(dim=1), torch.ones(2).double(), atol=0.05, rtol=0)


@pytest.mark.parametrize(("shape", "responses", "shared"), [("chain", 80, 0), ("reuse", 40, 0), ("tree", 40, 1)])
def test_pairs_share_responses_and_segments_as_their_shape_says(shape, responses, shared):
    truth, streams = world()
    pairs = truth.pairs(40, shape, streams=streams)
    x = torch.stack([pairs.chosen, pairs.rejected], dim=2).unflatten(-1, (3, 6))  # (S, 40, 2, 3, 6)
    assert (pairs.chosen_gold > pairs.rejected_gold).all()
    assert_close(truth.gold(x[:, :, 0]), pairs.chosen_gold)
    for s in range(2):
        assert len({tuple(r) for r in x[s].flatten(0, 1).flatten(1).tolist()}) <= responses
        first = (x[s, :, 0, 0] == x[s, :, 1, 0]).all(dim=-1)  # whether a pair shares its first segment
        assert bool(first.any()) == bool(shared)
        third = (x[s, :, 0, 2] == x[s, :, 1, 2]).all(dim=-1)
        assert not third.any()  # no pair compares a response with itself


def test_leaves_of_a_tree_share_the_segments_of_the_nodes_above_them():
    truth, streams = world()
    trees = truth.trees(7, streams)  # (S, 7, 8, 3, 6), in the order 000, 001, 010, 011, 100, …
    for level, size in enumerate((4, 2, 1)):
        segments = trees[:, :, :, level].unflatten(2, (8 // size, size))
        assert (segments == segments[:, :, :, :1]).all()
        assert (segments[:, :, 0] != segments[:, :, 1]).any(dim=-1).all()


def test_flips_turn_as_many_labels_around_as_asked():
    truth, streams = world()
    pairs = truth.pairs(2000, "chain", streams=streams, flip=0.2)
    wrong = (pairs.chosen_gold < pairs.rejected_gold).double().mean(dim=1)
    assert_close(pairs.flipped.double().mean(dim=1), wrong)
    assert ((wrong - 0.2).abs() < 4 * (0.16 / 2000) ** 0.5).all()


def test_best_of_n_by_a_constant_model_takes_the_first_candidate_and_gains_nothing():
    truth, streams = world()
    flat = BatchedMLP((18, 4, 1), lead=(2, 1), streams=streams)
    for value in flat.parameters():
        torch.nn.init.zeros_(value)
    found = truth.best_of(flat, streams=streams, n_prompts=800, n=8, n_prefix=8)
    for value in found:
        assert (value.abs() < 4 / 800**0.5).all()  # the mean of 800 draws of standard deviation 1


def test_a_seed_does_not_see_the_seeds_beside_it():
    alone = Streams([4])
    pairs = Truth(World(), alone).pairs(16, "tree", streams=alone)
    truth, streams = world()
    both = truth.pairs(16, "tree", streams=streams)
    assert_close(pairs.chosen[0], both.chosen[1])
