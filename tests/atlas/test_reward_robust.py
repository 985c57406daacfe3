"""Gaussian heads: what is shared at each branching depth, and that one seed makes them one."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.reward_robust import GaussianHeads, World, fit, head_scores
from rewardsmith.worlds import Streams
from rewardsmith.worlds.heavy_tails import HeavyTails

SIZES = (4, 6, 5)


def heads(branch_at=0, seeds=(0, 1), **options):
    streams = Streams(list(seeds))
    return GaussianHeads(SIZES, 3, streams=streams, branch_at=branch_at, **options), streams


def data(streams, n=40):
    heavy = HeavyTails.sample(streams, d=4)
    return heavy, heavy.pairs(n, streams=streams, flip=0.0)


@pytest.mark.parametrize("branch_at", [0, 1, 2])
def test_a_head_s_scores_are_those_of_its_layers_by_hand(branch_at):
    models, streams = heads(branch_at)
    x = streams.randn(3, 7, 4)  # each head its own inputs
    mean, std = models(x)
    shared = [] if models.trunk is None else list(zip(models.trunk.weights, models.trunk.biases, strict=True))
    own = list(zip(models.heads.weights, models.heads.biases, strict=True))
    assert len(shared) == branch_at
    assert len(own) == 3 - branch_at
    for s in range(2):
        for k in range(3):
            h = x[s, k]
            for weight, bias in shared:
                h = torch.relu(h @ weight[s, 0] + bias[s, 0])
            for depth, (weight, bias) in enumerate(own):
                h = h @ weight[s, k] + bias[s, k]
                h = torch.relu(h) if depth < len(own) - 1 else h
            assert_close(mean[s, k], h[:, 0])
            assert_close(std[s, k], torch.nn.functional.softplus(h[:, 1]) + 0.1)


@pytest.mark.parametrize("branch_at", [0, 2])
def test_heads_that_see_the_same_inputs_may_be_given_them_once(branch_at):
    models, streams = heads(branch_at)
    x = streams.randn(1, 7, 4)
    for once, thrice in zip(models(x), models(x.expand(-1, 3, -1, -1)), strict=True):
        assert_close(once, thrice)


@pytest.mark.parametrize(("branch_at", "reached"), [(0, False), (2, True)])
def test_a_head_s_loss_reaches_what_it_shares_and_nothing_else(branch_at, reached):
    models, streams = heads(branch_at)
    models(streams.randn(3, 7, 4))[0][0, 0].sum().backward()
    for weight in models.heads.weights:
        assert weight.grad[0, 0].any()
        assert not weight.grad[0, 1:].any()
        assert not weight.grad[1].any()
    assert (models.trunk is not None and bool(models.trunk.weights[0].grad[0].any())) is reached


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["thurstone", "mse_prob"])
@pytest.mark.parametrize("branch_at", [0, 2])
def test_fitted_heads_agree_with_the_labels_and_never_claim_to_be_surer_than_the_floor(likelihood, branch_at):
    models, streams = heads(branch_at)
    _, pairs = data(streams, n=200)
    fit(models, pairs, World(likelihood=likelihood, steps=150, batch_size=32, learning_rate=0.01), streams)
    (chosen, std), (rejected, _) = (models(x[:, None]) for x in (pairs.chosen, pairs.rejected))
    assert ((chosen > rejected).double().mean(-1) > 0.7).all()
    assert (std > 0.1).all()


def test_with_one_seed_all_heads_are_one_and_else_they_differ():
    for one_seed in (True, False):
        models, streams = heads(one_seed=one_seed)
        _, pairs = data(streams)
        fit(models, pairs, World(steps=5), streams)
        mean, _ = models(pairs.chosen[:, None])
        assert torch.allclose(mean, mean[:, :1].expand_as(mean), rtol=0, atol=1e-9) is one_seed


def test_a_seed_is_fit_alone_as_beside_others():
    results = []
    for seeds in ((5,), (9, 5)):
        models, streams = heads(1, seeds)
        heavy, pairs = data(streams)
        fit(models, pairs, World(steps=20), streams)
        results.append(head_scores(models, heavy.responses(2, 3, streams=streams), pairs.chosen)[0][-1])
    assert_close(*results, rtol=1e-9, atol=1e-9)


def test_scores_of_a_head_are_standard_on_the_reference_and_its_deviation_has_their_unit():
    models, streams = heads()
    x = streams.randn(30, 4)
    (raw, raw_std), (scaled, std) = models(x[:, None]), head_scores(models, x[:, None], x)
    assert scaled.shape == (2, 1, 30, 3)
    assert_close(scaled.mean(2), torch.zeros(2, 1, 3, dtype=torch.float64), rtol=0, atol=1e-12)
    spread = raw.std(-1, correction=0)  # (S, K)
    assert_close(std[:, 0], raw_std.transpose(1, 2) / spread[:, None])
    with torch.no_grad():
        models.heads.weights[-1][..., 0] *= 7  # another unit for the mean
    assert_close(head_scores(models, x[:, None], x)[0], scaled)


def test_heads_refuse_what_they_cannot_be():
    with pytest.raises(ValueError, match=r"GaussianHeads: branch_at is 3, outside \[0, 2\]"):
        heads(3)
    models, streams = heads()
    _, pairs = data(streams)
    with pytest.raises(ValueError, match="fit: likelihood is 'mse', which is not one of 'thurstone', 'mse_prob'"):
        fit(models, pairs, World(likelihood="mse"), streams)
    with pytest.raises(ValueError, match=r"fit: subset is 0\.0, outside"):
        fit(models, pairs, World(subset=0.0), streams)
