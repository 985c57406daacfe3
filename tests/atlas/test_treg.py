"""Token rewards from two instructions: the world's parts by hand, and seeds that do not depend on each other."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.treg import World, correlation, decoded, experiments, pair_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.prefix_tree import PrefixTree, mean_kl

TREE = PrefixTree(n_prompts=2, n_tokens=3, length=2)


def test_each_chosen_response_is_compared_with_the_rejected_one_of_its_pair():
    logps = torch.tensor([1.0, 2.0, 0.5, -1.0]).view(1, 1, 1, 4)
    before = torch.tensor([0.5, 0.5, 0.0, 0.0]).view(1, 1, 1, 4)
    by_hand = [math.log1p(math.exp(-0.3 * margin)) for margin in (0.5 - 0.5, 1.5 + 1.0)]
    assert_close(pair_loss(logps, before, 0.3).flatten().tolist(), by_hand, rtol=1e-6, atol=0)


def test_decoding_moves_along_the_contrast_until_its_kl_is_the_one_asked_for():
    streams = Streams([0, 1])
    plain, other = (streams.randn(1, 2, TREE.n_prefixes, 3).log_softmax(-1) for _ in "12")
    asked = torch.tensor([[0.2], [0.4]], dtype=torch.float64)
    table = decoded(TREE, plain, other - plain, asked)
    assert_close(mean_kl(TREE.logps(table), TREE.logps(plain)), asked)
    for seed in range(2):
        move = (table - plain)[seed] - (table - plain)[seed].mean(-1, keepdim=True)
        along = (other - plain)[seed] - (other - plain)[seed].mean(-1, keepdim=True)
        ratio = move / along  # one γ for all prefixes, up to a constant of the softmax
        assert_close(ratio, ratio.flatten()[0].expand_as(ratio))


def test_the_correlation_is_that_of_tokens_of_drawn_responses():
    streams = Streams([3])
    values, gold = (streams.randn(1, 2, 9, 2) for _ in "12")
    policy = torch.full((1, 1, 2, 9), 1 / 9, dtype=torch.float64)
    expected = np.corrcoef(values.flatten().numpy(), gold.flatten().numpy())[0, 1]
    assert correlation(values, gold, policy).item() == pytest.approx(expected)
    policy[..., 1:] = 0  # one response alone
    expected = np.corrcoef(values[..., 0, :].flatten().numpy(), gold[..., 0, :].flatten().numpy())[0, 1]
    assert correlation(values, gold, policy).item() == pytest.approx(expected)


@pytest.mark.slow
def test_a_seed_alone_gives_the_numbers_that_it_gives_beside_another():
    small = World(n_prompts=2, length=3, n_texts=20, n_pairs=4, steps=5, width=8)
    alone, beside = experiments([7], small), experiments([6, 7], small)
    assert alone[0] == pytest.approx(beside[1], rel=1e-3, abs=1e-4)
