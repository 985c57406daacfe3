"""The preference world against its formulas, and training against one model trained by hand."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import PreferenceWorld, margins, pair_accuracy, train_pairs


def world(seeds, **options):
    streams = Streams(seeds)
    return PreferenceWorld.sample(streams, **options), streams


def test_gold_is_its_formula_and_standardized():
    place, streams = world([0, 1], d=5, n_units=3)
    x = streams.randn(4, 5)
    for s in range(2):
        for i in range(4):
            along = [sum(float(w) * float(v) for w, v in zip(row, x[s, i], strict=True)) for row in place.directions[s]]
            raw = sum(math.tanh(value) for value in along) + 0.3 * along[0]
            assert float(place.gold(x)[s, i]) == pytest.approx(raw / float(place.std[s]))
    many = place.gold(streams.randn(20_000, 5))
    assert_close(many.std(dim=-1), torch.ones(2, dtype=torch.float64), rtol=0.05, atol=0.0)
    assert (many.mean(dim=-1).abs() < 4 / 20_000**0.5).all()
    assert place.gold(x.view(2, 2, 2, 5)).shape == (2, 2, 2)
    assert place.d == 5


@pytest.mark.parametrize("flip", [0.0, 0.2, 1.0])
def test_labels_follow_the_gold_gap_and_the_flips(flip):
    place, streams = world([3])
    pairs = place.pairs(20_000, streams=streams, slope=2.0, flip=flip)
    assert_close(place.gold(pairs.chosen), pairs.chosen_gold)
    assert_close(place.gold(pairs.rejected), pairs.rejected_gold)
    chance = torch.sigmoid(2.0 * (pairs.chosen_gold - pairs.rejected_gold).abs())  # the better one is chosen
    right = (1 - flip) * chance + flip * (1 - chance)
    four_errors = 4 * (right * (1 - right)).sum().sqrt() / right.numel() + 1e-12
    assert abs(pairs.right.double().mean() - right.mean()) < four_errors
    assert abs(pairs.flipped.double().mean() - flip) <= 4 * (flip * (1 - flip) / 20_000) ** 0.5


def test_clean_pairs_are_right():
    place, streams = world([0, 1], d=4)
    assert place.pairs(6, streams=streams, slope=math.inf).right.all()


def test_a_seed_s_pairs_do_not_depend_on_the_seeds_beside_it():
    (both, streams), (one, stream) = world([5, 6]), world([6])
    beside, single = both.pairs(7, streams=streams, flip=0.3), one.pairs(7, streams=stream, flip=0.3)
    for ours, theirs in zip(beside, single, strict=True):
        assert_close(ours[1:], theirs, rtol=0.0, atol=1e-12)


def setting(n=30, n_models=2):
    place, streams = world([0, 1], d=4, n_units=3)
    pairs = place.pairs(n, streams=streams, flip=0.2)
    return pairs, BatchedMLP((4, 6, 1), lead=(2, n_models), streams=streams)


def test_training_is_adam_on_the_written_out_loss():
    pairs, models = setting()
    hand, soft = models.take([0, 1]), torch.rand(2, 2, 30, dtype=torch.float64)
    weight, margin = torch.rand(2, 1, 30, dtype=torch.float64), torch.rand(2, 2, 30, dtype=torch.float64)
    options = {"weight": weight, "margin": margin, "soft_label": soft, "center": 0.05}
    train_pairs(
        models, pairs, streams=Streams([7, 8]), steps=5, batch_size=8, learning_rate=0.01, order=[1, 0], **options
    )
    draws, optimizer = Streams([7, 8]), torch.optim.AdamW(hand.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(5):
        uniform, total = draws.rand(2, 8), 0.0
        for s in range(2):
            for m in range(2):
                picks = (uniform[s, 1 - m] * 30).long()
                up, down = (hand(x[s, picks].expand(2, 1, 8, 4))[s, m] for x in (pairs.chosen, pairs.rejected))
                z, p = up - down - margin[s, m, picks], soft[s, m, picks]
                label = (1 - p) * torch.log1p(torch.exp(-z)) + p * torch.log1p(torch.exp(z))
                total = total + (weight[s, 0, picks] * label + 0.05 * (up + down) ** 2).mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    for trained, expected in zip(models.parameters(), hand.parameters(), strict=True):
        assert_close(trained, expected)


def test_models_of_one_start_and_order_end_alike_and_else_apart():
    pairs, models = setting(n_models=3)
    same = train_pairs(models.take([0, 0, 0]), pairs, streams=Streams([0, 1]), steps=5, order=[0, 0, 1])
    scores = margins(same, pairs)
    assert_close(scores[:, 0], scores[:, 1])
    assert not torch.allclose(scores[:, 0], scores[:, 2])


@pytest.mark.slow
def test_a_masked_pair_changes_nothing():
    pairs, models = setting()
    mask = torch.rand(2, 2, 30, generator=torch.Generator().manual_seed(0)) < 0.5
    mask[:, :, 0] = False
    changed = pairs._replace(chosen=pairs.chosen.clone())
    changed.chosen[:, 0] += 100.0
    trained = [
        train_pairs(models.take([0, 1]), data, streams=Streams([0, 1]), steps=20, mask=mask)
        for data in (pairs, changed)
    ]
    assert_close(margins(trained[0], pairs), margins(trained[1], pairs))
    full = train_pairs(models.take([0, 1]), pairs, streams=Streams([0, 1]), steps=20, mask=torch.ones_like(mask))
    plain = train_pairs(models.take([0, 1]), pairs, streams=Streams([0, 1]), steps=20)
    assert_close(margins(full, pairs), margins(plain, pairs))
    with pytest.raises(
        ValueError, match=r"train_pairs: mask leaves a model without a pair to train on\. Leave at least"
    ):
        train_pairs(models, pairs, streams=Streams([0, 1]), mask=torch.zeros_like(mask))


def test_accuracy_counts_agreement_with_gold_and_not_with_the_label():
    pairs, models = setting(n=50)
    scores = margins(models, pairs)
    for s in range(2):
        for m in range(2):
            agree = [(float(scores[s, m, i]) > 0) == bool(pairs.right[s, i]) for i in range(50)]
            assert float(pair_accuracy(models, pairs)[s, m]) == pytest.approx(sum(agree) / 50)


@pytest.mark.slow
def test_training_on_clean_pairs_learns_gold():
    place, streams = world([0])
    models = BatchedMLP((16, 32, 1), lead=(1, 1), streams=streams)
    test = place.pairs(2000, streams=streams, slope=math.inf)
    before = pair_accuracy(models, test)
    train_pairs(models, place.pairs(2000, streams=streams, slope=math.inf), streams=streams, steps=200)
    assert float(pair_accuracy(models, test)) > max(0.8, float(before) + 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slope": -1.0}, r"PreferenceWorld.pairs: slope is -1.0, outside \[0.0, inf\]"),
        ({"flip": 1.5}, r"PreferenceWorld.pairs: flip is 1.5, outside \[0.0, 1.0\]"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    place, streams = world([0])
    with pytest.raises(ValueError, match=message):
        place.pairs(3, streams=streams, **options)
