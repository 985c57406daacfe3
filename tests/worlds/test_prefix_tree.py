"""The tree of responses against plain enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.worlds.prefix_tree import (
    PrefixTree,
    additive_gold,
    drawn,
    labeled,
    mean_gold,
    mean_kl,
    of,
    supervised,
)
from rewardsmith.worlds.streams import Streams

TREE = PrefixTree(n_prompts=2, n_tokens=3, length=3, n_flags=1)


@pytest.fixture
def streams():
    return Streams([5, 6])


def walked(policy, prompt, response, flag=None):
    """One response's log-probability per token, by one forward pass per prefix, for seed 0 and model 0."""
    logps = []
    for t, token in enumerate(response):
        x = [1.0 if k == prompt else 0.0 for k in range(TREE.n_prompts)]
        for place in range(TREE.length):
            known = response[place] if place < t else TREE.n_tokens
            x += [1.0 if k == known else 0.0 for k in range(TREE.n_tokens + 1)]
        x += [1.0 if flag == 0 else 0.0]
        h = torch.tensor(x, dtype=torch.float64)
        for weight, bias in zip(policy.weights, policy.biases, strict=True):
            h = h @ weight[0, 0] + bias[0, 0]
            h = h.relu() if weight is not policy.weights[-1] else h
        logps.append((h[token] - h.logsumexp(0)).item())
    return logps


@pytest.mark.parametrize("flag", [None, 0])
def test_every_response_has_the_log_probability_of_a_walk_down_the_tree(streams, flag):
    policy = TREE.policy(streams, width=8)
    table = TREE.next_token(policy, flag).detach()
    found = TREE.token_logps(table)[0, 0]
    for prompt in range(2):
        for place, response in enumerate(itertools.product(range(3), repeat=3)):
            expected = walked(policy, prompt, response, flag)
            assert_close(found[prompt, place], torch.tensor(expected, dtype=torch.float64))
    assert_close(TREE.logps(table), TREE.token_logps(table).sum(-1))
    assert_close(TREE.logps(table).exp().sum(-1), torch.ones(2, 1, 2, dtype=torch.float64))


def test_chosen_responses_have_the_entries_of_all(streams):
    policy = TREE.policy(streams, width=8, n_models=2)
    table = TREE.next_token(policy)
    index = streams.randint(27, 1, 2, 5)
    everything = TREE.logps(table)
    assert_close(TREE.logps(table, index), of(everything, index))
    assert_close(TREE.reader(index)(policy), TREE.token_logps(table, index))
    own = streams.randint(27, 2, 2, 4)
    assert_close(TREE.reader(own, 0)(policy), TREE.token_logps(TREE.next_token(policy, 0), own))


def test_gold_adds_up_over_tokens_and_has_its_spread(streams):
    gold = additive_gold(TREE, streams, sd=1.5)
    assert gold.shape == (2, 1, 2, 27, 3)
    total = gold.sum(-1)
    assert_close(total.mean(-1), torch.zeros(2, 1, 2, dtype=torch.float64))
    assert_close(total.std(-1, correction=0), torch.full((2, 1, 2), 1.5, dtype=torch.float64))
    # Responses 0 (0 0 0) and 9 (1 0 0) share the last token and the one before it.
    difference = gold[:, :, :, :9] - gold[:, :, :, 9:18]
    assert_close(difference[..., 2], difference[..., :1, 2].expand_as(difference[..., 2]))


def test_gold_that_all_prompts_share_is_the_same_for_all(streams):
    gold = additive_gold(TREE, streams, shared=1.0)
    assert_close(gold[:, :, 0], gold[:, :, 1])


def test_expectation_and_kl_are_sums_over_all_responses(streams):
    policy, other = TREE.policy(streams, width=8), TREE.policy(streams, width=8)
    p, q = (TREE.logps(TREE.next_token(one)).detach() for one in (policy, other))
    gold = additive_gold(TREE, streams).sum(-1)
    by_hand = [
        sum(math.exp(p[0, 0, x, y]) * float(gold[0, 0, x, y]) for x in range(2) for y in range(27)) / 2,
        sum(math.exp(p[0, 0, x, y]) * float(p[0, 0, x, y] - q[0, 0, x, y]) for x in range(2) for y in range(27)) / 2,
    ]
    assert float(mean_gold(p, gold)[0, 0]) == pytest.approx(by_hand[0])
    assert float(mean_kl(p, q)[0, 0]) == pytest.approx(by_hand[1])


def test_draws_and_labels_have_the_probabilities_that_they_are_drawn_by():
    streams, tree = Streams([3]), PrefixTree(n_prompts=1, n_tokens=2, length=2)
    p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).log().view(1, 1, 1, 4)
    index = drawn(p, 20_000, streams)
    shares = torch.bincount(index.flatten(), minlength=4) / 20_000
    assert_close(shares.double(), p.exp().flatten(), atol=0.012, rtol=0)  # 3.5 standard errors
    gold = torch.tensor([0.0, 1.0, -1.0, 0.5], dtype=torch.float64).view(1, 1, 1, 4)
    first, second = torch.full((1, 1, 1, 20_000), 1), torch.full((1, 1, 1, 20_000), 2)
    chosen = labeled(gold, first, second, streams).chosen
    assert float((chosen == 1).double().mean()) == pytest.approx(1 / (1 + math.exp(-2.0)), abs=0.01)
    assert tree.n_prefixes == 3


@pytest.mark.slow
def test_supervision_learns_the_demonstrations():
    streams, tree = Streams([1, 2]), PrefixTree(n_prompts=2, n_tokens=3, length=2)
    demonstrations = torch.tensor([[[4], [8]], [[0], [5]]])[:, None]
    policy = supervised(tree, tree.policy(streams, width=16), demonstrations, steps=300, learning_rate=1e-2)
    p = tree.logps(tree.next_token(policy)).exp()
    assert float(of(p, demonstrations).min()) > 0.98  # the optimum is 1


def test_a_seed_does_not_depend_on_the_others():
    tree = PrefixTree(n_prompts=2, n_tokens=3, length=2)

    def run(seeds):
        streams = Streams(seeds)
        gold = additive_gold(tree, streams).sum(-1)
        policy = supervised(tree, tree.policy(streams, width=8), streams.randint(9, 1, 2, 3), steps=5)
        return mean_gold(tree.logps(tree.next_token(policy)), gold)

    assert_close(run([4, 5])[1:], run([5]))
