"""Prices of traces, the choice without replacement, regressions, and what holds by construction."""

from itertools import permutations

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages import branch_rethink
from rewardsmith.atlas.pages.branch_rethink import (
    ARMS,
    World,
    at,
    choice_logps,
    credits,
    experiments,
    gumbel,
    pairs,
    prices,
    regressed,
    right,
    top,
)
from rewardsmith.worlds import Streams

SMALL = World(n_types=3, n_labels=800, updates=60, n_test=500)


def test_a_right_verdict_costs_nothing_a_wrong_one_1_and_none_the_price():
    assert prices(100.0).tolist() == [[0, -1, -100], [-1, 0, -100]]


def test_a_price_of_100_rewards_wrong_verdicts_and_the_gate_does_not():
    """Of three right, four wrong and one malformed the mean is (−4 − 100) / 8 = −13, so that −1 lies above it."""
    rewards = torch.tensor([0.0] * 3 + [-1.0] * 4 + [-100.0], dtype=torch.float64).expand(1, len(ARMS), 1, -1)
    plain, gated = (credits(rewards)[0, list(ARMS).index(arm), 0] for arm in ("malformed_100", "malformed_gated"))
    assert_close(plain, (rewards[0, 0, 0] + 13) / rewards[0, 0, 0].std(), atol=1e-4, rtol=0)
    assert plain[3] > 0 > gated[3]
    assert plain[0] - plain[3] < 0.04
    assert gated[0] - gated[3] > 1.5
    assert gated[-1] == -1


def test_choices_without_replacement_have_the_probabilities_of_plackett_and_luce():
    scores = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    chosen = torch.tensor(list(permutations(range(3), 2)))
    p = scores[0].softmax(dim=0)
    expected = torch.stack([p[i] * p[j] / (1 - p[i]) for i, j in chosen.tolist()])
    assert_close(choice_logps(scores, chosen[None]).exp()[0], expected)
    assert_close(expected.sum().item(), 1.0)
    drawn = (scores + gumbel(Streams([0]), 40_000, 3)[0]).topk(2, dim=-1).indices
    share = torch.stack([(drawn == order).all(dim=-1).double().mean() for order in chosen])
    assert_close(share, expected, atol=0.01, rtol=0)


def test_a_regression_finds_the_weights_that_labels_come_from():
    """Without noise the labels are separable by the critical criteria, which get the largest weights."""
    streams, quiet = Streams([0, 1]), World(n_types=3, noise=0.0)
    critical = top(streams.rand(3, 8), 2)
    known = pairs(2000, critical, quiet, streams)
    weight = regressed(known, torch.zeros_like(known.difference), quiet)
    assert torch.equal(top(weight, 2), critical)
    seen = at(critical, known.kind)
    assert right(known, seen, torch.zeros_like(known.difference), quiet).min() == 1
    residual = known.label - torch.sigmoid((at(weight, known.kind) * known.difference).sum(dim=-1))
    for kind in range(3):  # the gradient of the penalized likelihood is 0
        own = (known.kind == kind)[..., None] * residual[..., None] * known.difference
        assert_close(own.sum(dim=1), quiet.ridge * weight[:, kind], atol=1e-3, rtol=0)


@pytest.mark.slow
def test_branching_beats_chance_and_a_flipped_reward_does_not(monkeypatch):
    """Reading two criteria costs the same alone or among eight once diffusion is off: both judges are then level."""
    found = experiments([3], SMALL)[0]
    assert found["accuracy/branch"] > 0.8
    assert found["accuracy/random"] < 0.7
    level = experiments([3], SMALL, broken=True)[0]
    assert level["accuracy/branch"] == pytest.approx(level["accuracy/one_shot"], abs=0.05)
    monkeypatch.setattr(branch_rethink, "prices", lambda price: prices(price).flip(0))
    assert experiments([3], SMALL)[0]["accuracy/branch"] < 0.55
