"""A judge that reads two responses in order, its views, and weighted training on pairs."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.scir import World, asked, better, experiments, fitted, reading, taught, views
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import Pairs, PrefixTree

TREE = PrefixTree(n_prompts=2, n_tokens=3, length=2)


def drawn_pairs(streams, n=4):
    return Pairs(streams.randint(9, 1, 2, n), streams.randint(9, 1, 2, n))


def test_a_judge_reads_the_prompt_and_both_responses_in_their_order():
    x = asked(TREE, torch.tensor([[[[5], [0]]]]), torch.tensor([[[[1], [8]]]]))
    first = [1, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0]  # prompt 0; tokens 1 2; tokens 0 1
    second = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1]  # prompt 1; tokens 0 0; tokens 2 2
    assert x.tolist() == [[[first, second]]]


def test_views_of_swapped_pairs_are_those_of_the_other_order():
    streams = Streams([2])
    judge = BatchedMLP((14, 5, 1), lead=(1, 1), streams=streams)
    pairs, (now, ref) = drawn_pairs(streams), (streams.randn(1, 2, 9).log_softmax(-1) for _ in range(2))
    seen = views(TREE, judge, pairs, now, ref, World())
    swapped = views(TREE, judge, Pairs(*reversed(pairs)), now, ref, World())
    assert_close(swapped, 1 - seen[[1, 0, 2]])
    one, two = (int(of[0, 0, 0, 0]) for of in pairs)
    margin = 0.5 * (now[0, 0, 0, one] - ref[0, 0, 0, one] - now[0, 0, 0, two] + ref[0, 0, 0, two])
    assert_close(seen[2, 0, 0, 0, 0], torch.sigmoid(margin))


@pytest.mark.slow
def test_a_judge_learns_the_pairs_that_it_is_taught():
    streams = Streams([3])
    gold = streams.randn(1, 2, 9)
    one, two = drawn_pairs(streams, 40)
    right = better(gold, Pairs(one, two)).bool()
    pairs = Pairs(torch.where(right, one, two), torch.where(right, two, one))
    judge = taught(TREE, pairs, streams, World(judge_steps=300, learning_rate=5e-3))
    verdicts = torch.sigmoid(judge(asked(TREE, *pairs))).view(right.shape)[pairs.chosen != pairs.rejected]
    assert (verdicts > 0.5).double().mean() > 0.9


def test_pairs_of_no_weight_leave_no_trace():
    streams = Streams([4])
    policy, ref = TREE.policy(streams, width=4), streams.randn(1, 2, 9).log_softmax(-1)
    pairs = drawn_pairs(streams)
    few = Pairs(pairs.chosen[..., :2], pairs.rejected[..., :2])
    target, weight = torch.ones(2, 1, 1, 2, 4, dtype=torch.float64)
    weight[..., 2:] = 0.0
    world = World(steps=3)
    masked = fitted(policy, *reading(TREE, pairs, ref), target, weight, world)
    alone = fitted(policy, *reading(TREE, few, ref), target[..., :2], weight[..., :2], world)
    for got, expected in zip(masked.parameters(), alone.parameters(), strict=True):
        assert_close(got, expected)


def test_labels_by_gold_are_right_and_controls_keep_as_many_pairs():
    small = World(n_worlds=1, n_prompts=3, n_tokens=3, length=3, width=4, n_ref=5, n_labeled=4, judge_steps=3, steps=2)
    row = experiments([7], small)[0]
    assert row["accuracy/gold_labels"] == pytest.approx(1.0)
    assert 0 < row["kept/agreed"] < 1
