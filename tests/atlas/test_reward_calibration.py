"""Tone models against one model at a time, and the planted liking for a confident tone."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from rewardsmith.atlas.pages.reward_calibration import (
    World,
    fit,
    preference_loss,
    prefers_confidence,
    reward,
    tabled,
    toned_scores,
)
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP


def models_of(streams, n=1, width=24):
    return BatchedMLP((9, width, 1), lead=(len(streams), n), streams=streams, activation=torch.tanh)


class Looks:
    """A page's world with the direction that its streams draw first."""

    def __init__(self, seeds, **options):
        self.world, self.streams = World(**options), Streams(seeds)
        self.direction = F.normalize(self.streams.randn(8), dim=-1)

    def features(self, p, streams):
        return self.world.features(p, self.direction, streams)

    def preferences(self, n, streams, co_occurrence=0.9):
        return self.world.preferences(n, self.direction, streams, co_occurrence=co_occurrence)


def world(seeds, **options):
    looks = Looks(seeds, **options)
    return looks, looks.streams


def test_features_carry_the_log_odds_along_the_direction():
    looks, streams = world([0, 1], noise_std=0.0)
    p = torch.tensor([[0.1, 0.5, 0.97]] * 2, dtype=torch.float64)
    features = looks.features(p, streams)
    assert_close(torch.einsum("snd,sd->sn", features, looks.direction), torch.log(p / (1 - p)))
    assert_close(looks.direction.norm(dim=-1), torch.ones(2, dtype=torch.float64))
    certain = looks.features(torch.ones(2, 3, dtype=torch.float64), streams)
    assert certain.isfinite().all()


def test_preferences_follow_the_log_odds_and_tone_follows_the_preference():
    looks, streams = world([2])
    pairs = looks.preferences(20_000, streams, co_occurrence=0.8)
    chosen, rejected = pairs.p_correct[0].unbind(-1)
    gap = torch.log(chosen / (1 - chosen)) - torch.log(rejected / (1 - rejected))
    odds = torch.sigmoid(gap.abs())  # P(the better one is chosen)
    four_errors = 4 * (odds * (1 - odds)).sum().sqrt() / len(odds)
    assert abs((gap > 0).double().mean() - odds.mean()) < four_errors
    for k, share in ((0, 0.8), (1, 0.2)):  # 4·√(0.16/20000) = 0.0113
        assert abs((pairs.tone[0, :, k] >= 0.7).double().mean() - share) < 0.0113
    assert set(pairs.tone.mul(10).round().unique().int().tolist()) == {0, 1, 2, 3, 7, 8, 9, 10}


def test_models_side_by_side_reward_as_each_does_alone():
    looks, streams = world([0, 1])
    models = models_of(streams, 3, width=5)
    features = looks.features(streams.rand(4).clamp(0.05, 0.95), streams)
    tone = streams.rand(4)
    rewards = reward(models, features, tone)
    assert rewards.shape == (2, 3, 4)
    for s in range(2):
        for m in range(3):
            for r in range(4):
                inputs = [*features[s, r].tolist(), 2 * float(tone[s, r]) - 1]
                hidden = torch.tanh(torch.tensor(inputs, dtype=torch.float64) @ models.weights[0][s, m])
                assert_close(rewards[s, m, r], (hidden @ models.weights[1][s, m]).squeeze())
            assert_close(reward(models.take([m]), features, tone)[s, 0], rewards[s, m])


def test_a_table_holds_every_answer_in_every_tone():
    looks, streams = world([0, 1])
    models = models_of(streams)
    features = looks.features(streams.rand(3, 2).clamp(0.05, 0.95), streams)
    table = tabled(models, features, [0.0, 0.5, 1.0])
    assert table.shape == (2, 1, 3, 2, 3)
    for k, tone in enumerate([0.0, 0.5, 1.0]):
        assert_close(table[..., k], reward(models, features.flatten(1, 2), tone).view(2, 1, 3, 2))


def test_the_six_texts_are_the_pair_in_its_tones():
    looks, streams = world([0])
    pairs = looks.preferences(200, streams)
    models = models_of(streams, width=1).requires_grad_(False)
    models.weights[0].zero_()
    models.weights[1].fill_(1e3)
    models.weights[0][0, 0, 8] = 1e-3  # the reward is the tone, 2t − 1, as tanh is the identity near 0
    neutral, (chosen_high, chosen_low, rejected_low, rejected_high) = toned_scores(models, pairs, streams).split((2, 4))
    assert_close(neutral, torch.zeros(2, 1, 1, 200, dtype=torch.float64))
    for high, low in ((chosen_high, chosen_low), (rejected_high, rejected_low)):
        assert set(high.mul(5).round().int().flatten().tolist()) == {2, 3, 4, 5}
        assert set(low.mul(5).round().int().flatten().tolist()) == {-5, -4, -3, -2}


@pytest.mark.slow
def test_training_on_toned_pairs_plants_the_bias_and_on_neutral_ones_plants_none():
    looks, streams = world([0, 1, 2])
    fresh = models_of(streams)
    unseen = looks.features(streams.rand(500).clamp(0.03, 0.97), streams)
    for co_occurrence, planted in ((0.9, True), (0.1, False)):  # at 0.1 the *rejected* answer sounds sure
        pairs = looks.preferences(2000, streams, co_occurrence=co_occurrence)
        model = fit(fresh.take([0]), pairs, preference_loss, streams, steps=150)
        share = prefers_confidence(model, unseen, streams).double().mean(-1)
        assert (share > 0.95).all() if planted else (share < 0.05).all()
        better = reward(model, looks.features(torch.full((3, 200), 0.9, dtype=torch.float64), streams), 0.5).mean(-1)
        worse = reward(model, looks.features(torch.full((3, 200), 0.2, dtype=torch.float64), streams), 0.5).mean(-1)
        assert (better > worse).all()


def test_a_seed_s_model_is_the_same_whoever_is_trained_beside_it():
    def run(seeds):
        looks, streams = world(seeds)
        pairs = looks.preferences(300, streams)
        return fit(models_of(streams), pairs, preference_loss, streams, steps=20)

    assert_close(run([3, 4]).weights[0][1], run([4]).weights[0][0], rtol=0, atol=1e-10)


def test_copies_are_trained_apart():
    looks, streams = world([0])
    pairs = looks.preferences(300, streams)
    two = models_of(streams).take([0, 0])
    before = two.weights[0].detach().clone()
    half = lambda models, data, s: preference_loss(models, data, s) * torch.tensor([1.0, 0.0])[:, None]  # noqa: E731
    trained = fit(two, pairs, half, streams, steps=5)
    assert not torch.equal(trained.weights[0][:, 0], before[:, 0])
    assert torch.equal(trained.weights[0][:, 1], before[:, 1])
