"""Heavy-tailed responses: scipy's Student t, gold by a slow loop, and labels that follow what they should."""

import math

import pytest
import torch
from scipy.stats import kstest, t
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.heavy_tails import HeavyTails, member_scores, score_pool


def world(seeds=(0, 1), **options):
    streams = Streams(list(seeds))
    return HeavyTails.sample(streams, **options), streams


def test_every_coordinate_is_student_s_t_and_they_share_their_tails():
    heavy, streams = world((0,), d=3, dof=5)
    x = heavy.responses(4000, streams=streams)[0]
    for column in x.T:
        assert kstest(column.numpy(), t(5).cdf).pvalue > 1e-4
    correlation = torch.corrcoef(x.T)[0, 1]
    assert abs(correlation) < 0.1
    assert torch.corrcoef(x.abs().T)[0, 1] > 0.05, "one scale stretches all coordinates of a response"


def test_mixing_correlates_the_content_and_leaves_the_length_alone():
    heavy, streams = world((0,), d=4, dof=30, correlated=True, length=True)
    x = heavy.responses(20_000, streams=streams)[0]
    expected = torch.zeros(5, 5, dtype=torch.float64)
    expected[0, 0], expected[1:, 1:] = 1.0, heavy.mixing[0].T @ heavy.mixing[0]
    assert_close(torch.cov(x.T), expected * 30 / 28, rtol=0, atol=0.15)  # a t's variance is ν/(ν − 2)


def test_gold_agrees_with_a_slow_loop_and_is_standard_on_the_reference_policy():
    heavy, streams = world(d=5, penalty=0.2)
    x = heavy.responses(2, 3, streams=streams)
    got = heavy.gold(x)
    for s in range(2):
        for p in range(2):
            for n in range(3):
                along = [float(x[s, p, n] @ heavy.good[s, :, k]) for k in (0, 1)]
                bad = sum(float(x[s, p, n] @ heavy.bad[s, :, k]) ** 2 for k in range(3))
                raw = math.tanh(along[0]) + 0.5 * math.tanh(along[1]) - 0.2 * bad
                assert float(got[s, p, n]) == pytest.approx((raw - float(heavy.mean[s])) / float(heavy.std[s]))
    many = heavy.gold(heavy.responses(20_000, streams=streams))
    assert_close(many.mean(-1), torch.zeros(2, dtype=torch.float64), rtol=0, atol=0.06)
    assert_close(many.std(-1), torch.ones(2, dtype=torch.float64), rtol=0.06, atol=0)


def test_gold_is_bounded_above_however_far_a_response_lies():
    heavy, streams = world(d=5)
    far = 1e3 * heavy.responses(500, streams=streams)
    assert (heavy.gold(far) <= ((1.5 - heavy.mean) / heavy.std)[:, None]).all()


def test_gold_knows_nothing_of_the_length():
    heavy, streams = world(length=True)
    x = heavy.responses(50, streams=streams)
    longer = x.clone()
    longer[..., 0] += 5
    assert torch.equal(heavy.gold(longer), heavy.gold(x))
    assert heavy.n_features == x.shape[-1] == 11


@pytest.mark.parametrize("bias", [0.0, 0.7])
def test_labels_follow_gold_and_length_and_a_flip_reverses_them(bias):
    heavy, streams = world(length=True)
    pairs = heavy.pairs(4000, streams=streams, flip=0.3, bias=bias)
    assert_close(heavy.gold(pairs.chosen), pairs.chosen_gold)
    gap = pairs.chosen_gold - pairs.rejected_gold + bias * (pairs.chosen[..., 0] - pairs.rejected[..., 0])
    assert torch.equal(gap < 0, pairs.flipped)
    assert_close(pairs.flipped.double().mean(-1), torch.full((2,), 0.3, dtype=torch.float64), rtol=0, atol=0.04)


def test_a_seed_alone_draws_what_it_draws_beside_others():
    (alone, one), (both, two) = world((3,), correlated=True), world((7, 3), correlated=True)
    assert torch.equal(alone.good[0], both.good[1])
    assert torch.equal(alone.pairs(20, streams=one).chosen[0], both.pairs(20, streams=two).chosen[1])


def test_a_pool_is_scored_in_parts_as_it_would_be_at_once(monkeypatch):
    heavy, streams = world(d=3)
    models = BatchedMLP((3, 6, 2), lead=(2, 4), streams=streams)
    pool = heavy.responses(5, 7, streams=streams)
    whole = models(pool.flatten(1, 2)[:, None]).unflatten(2, (5, 7))
    assert_close(score_pool(models, pool), whole)
    monkeypatch.setattr("rewardsmith.worlds.heavy_tails._AT_ONCE", 1)  # one prompt at a time
    assert_close(score_pool(models, pool), whole)


def test_member_scores_are_standard_on_the_reference_and_member_by_member():
    heavy, streams = world(d=3)
    models = BatchedMLP((3, 6, 1), lead=(2, 4), streams=streams)
    reference, pool = heavy.responses(30, streams=streams), heavy.responses(2, 5, streams=streams)
    own = member_scores(models, reference[:, None], reference)  # (S, 1, R, K)
    assert_close(own.mean(dim=2), torch.zeros(2, 1, 4, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(own.std(dim=2, correction=0), torch.ones(2, 1, 4, dtype=torch.float64))
    raw, measured = models(pool[:, None, 1]), models(reference[:, None])  # (S, K, 5) and (S, K, R)
    by_hand = (raw - measured.mean(-1, keepdim=True)) / measured.std(-1, keepdim=True, correction=0)
    assert_close(member_scores(models, pool, reference)[:, 1], by_hand.transpose(1, 2))


def test_the_world_refuses_what_it_cannot_sample():
    with pytest.raises(ValueError, match=r"HeavyTails\.sample: dof is 0, outside"):
        world(dof=0)
    heavy, streams = world()
    with pytest.raises(ValueError, match=r"HeavyTails\.pairs: flip is 2, outside"):
        heavy.pairs(3, streams=streams, flip=2)
    with pytest.raises(ValueError, match=r"bias is 0\.4, but responses have no length\. Sample with length=True"):
        heavy.pairs(3, streams=streams, bias=0.4)
