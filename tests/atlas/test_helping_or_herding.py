"""The grid of pretrained and fine-tuned reward models: what members share, and that each part learns its task."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.helping_or_herding import World, finetune, pretrain
from rewardsmith.worlds import Streams
from rewardsmith.worlds.heavy_tails import HeavyTails


def grid(seeds=(0, 1), *, one_seed=False, steps=30, finetune_steps=30, n_heads=2):
    streams = Streams(list(seeds))
    heavy = HeavyTails.sample(streams, d=4, correlated=True)
    unlabeled = heavy.responses(300, streams=streams)
    settings = World(width=7, pretrain_steps=steps, finetune_steps=finetune_steps)
    bodies = pretrain(unlabeled, settings, streams, n_bodies=3, one_seed=one_seed)
    pairs = heavy.pairs(100, streams=streams, flip=0.0)
    models = finetune(bodies, pairs, settings, streams, n_heads=n_heads)
    return bodies, models, unlabeled, pairs


@pytest.mark.slow
def test_a_pretrained_body_fills_in_a_hidden_feature_better_than_its_mean_does():
    streams = Streams([0])
    common = streams.randn(500, 1)
    x = common + 0.3 * streams.randn(500, 4)  # four looks at one thing
    bodies = pretrain(x, World(width=16, pretrain_steps=300), streams, n_bodies=2)
    for hidden in range(4):
        seen = x.clone()
        seen[..., hidden] = 0
        missed = bodies(seen[:, None])[..., hidden] - x[:, None, :, hidden]
        assert (missed.square().mean(-1) < 0.4 * x[..., hidden].var()).all()


def test_members_start_on_a_copy_of_their_body_under_a_small_head_of_their_own():
    bodies, models, _, _ = grid(finetune_steps=0)
    for layer in range(2):
        for member in range(6):
            assert torch.equal(models.weights[layer][:, member], bodies.weights[layer][:, member // 2])
            assert torch.equal(models.biases[layer][:, member], bodies.biases[layer][:, member // 2])
    assert not torch.equal(models.weights[-1][:, 0], models.weights[-1][:, 1])
    assert models.weights[-1].std() < 0.2 / 7**0.5


@pytest.mark.slow
def test_fine_tuning_learns_the_pairs_and_leaves_the_bodies_as_they_were():
    bodies, models, _, pairs = grid(finetune_steps=150)
    margin = models(pairs.chosen[:, None]) - models(pairs.rejected[:, None])
    assert ((margin > 0).double().mean(-1) > 0.6).all()
    again, *_ = grid(finetune_steps=0)
    assert torch.equal(bodies.weights[0], again.weights[0])
    assert not torch.equal(models.weights[0][:, ::2], bodies.weights[0])


def test_members_of_one_body_are_more_alike_than_members_of_two():
    _, models, unlabeled, _ = grid((0, 1, 2, 3))
    alike, apart = [], []
    for scores in models(unlabeled[:, None]).detach():
        correlation = torch.corrcoef(scores)
        alike += [correlation[0, 1], correlation[2, 3], correlation[4, 5]]
        apart += [correlation[0, 2], correlation[0, 4], correlation[2, 4]]
    assert sum(alike) / len(alike) > sum(apart) / len(apart)


@pytest.mark.parametrize("one_seed", [True, False])
def test_bodies_of_one_seed_are_one(one_seed):
    bodies, *_ = grid(one_seed=one_seed)
    weights = bodies.weights[0]
    assert torch.equal(weights, weights[:, :1].expand_as(weights)) is one_seed


@pytest.mark.slow
def test_a_seed_is_trained_alone_as_beside_others():
    (_, alone, x, _), (_, beside, _, _) = grid((5,)), grid((9, 5))
    assert_close(beside(x.expand(2, -1, -1)[:, None])[1], alone(x[:, None])[0], rtol=1e-9, atol=1e-9)


def test_pretraining_refuses_a_rate_that_is_none():
    with pytest.raises(ValueError, match=r"pretrain: mask_rate is 1.5, outside \[0.0, 1.0\]"):
        pretrain(torch.ones(1, 5, 2), World(mask_rate=1.5), Streams([0]), n_bodies=1)
