"""Tiny critics: the task by hand, critiques written greedily, and training."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.dynamic_beta import (
    BAD,
    GOOD,
    READ,
    World,
    answered,
    read,
    train_critics,
    written_critiques,
)
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import BatchedGPT


def critics(streams, n_models=2, width=8):
    return BatchedGPT(23, 9, streams=streams, width=width, embedding_std=1.0).take([0] * n_models)


def test_the_better_answer_has_more_right_digits_and_verdicts_are_true():
    streams = Streams([3])
    image = streams.randperm(10)[0]
    digits, right = answered(500, image, streams)
    assert sorted(image.tolist()) == list(range(10))
    for pair, known in zip(digits[:100].tolist(), right[:100].tolist(), strict=True):
        for (prompt, answer), which in zip(pair, known, strict=True):
            assert [a == int(image[d]) for a, d in zip(answer, prompt, strict=True)] == which
    counts = right.sum(-1)
    assert (counts[:, 0] > counts[:, 1]).all()
    assert 0.4 < right.double().mean() < 0.6
    assert int(digits.min()) >= 0
    assert int(digits.max()) <= 9
    assert torch.equal(digits[:, 0, 0], digits[:, 1, 0])  # one prompt a pair


def test_tokens_besides_are_added_at_the_first_places():
    """One token besides, everywhere: the same as embeddings of those places that are larger by its own."""
    models = critics(Streams([0], dtype=torch.float64))
    ids = torch.randint(20, (2, 3, 9))
    got = models.hidden(ids, torch.full((2, 3, 4), 7))
    with torch.no_grad():
        models.positions[:, :4] += models.tokens[:, 7:8]
    assert_close(got, models.hidden(ids))


def test_models_do_not_see_each_other_and_a_score_is_the_last_logit():
    models = critics(Streams([0], dtype=torch.float64))
    assert all(torch.equal(value[0], value[1]) for value in models.parameters())
    answers, critiques = torch.randint(10, (5, 2, 4)), torch.randint(BAD, READ, (2, 5, 4))
    logits = read(models, answers, critiques)
    assert logits.shape == (2, 5, 9, 23)
    logits[0, :, -1, READ].sum().backward()
    assert all(value.grad is None or bool((value.grad[1] == 0).all()) for value in models.parameters())


def test_a_critique_is_written_from_left_to_right_by_the_likelier_verdict():
    models = critics(Streams([0], dtype=torch.float64))
    answers = torch.randint(10, (6, 2, 4))
    written = written_critiques(models, answers)
    assert written.shape == (2, 6, 4)
    assert set(written.unique().tolist()) <= {GOOD, BAD}
    logits = read(models, answers, written)[:, :, 3:7]  # all at once, teacher-forced
    assert torch.equal(written, torch.where(logits[..., GOOD] > logits[..., BAD], GOOD, BAD))


@pytest.mark.slow
def test_training_teaches_the_score_to_follow_the_critique_it_is_shown():
    streams = Streams([1], dtype=torch.float32)
    image = streams.randperm(10)[0]
    (digits, shown), (fresh, known) = (
        (pairs, torch.stack([torch.where(right, GOOD, BAD), torch.full_like(right, READ, dtype=torch.int64)]))
        for pairs, right in (answered(200, image, streams), answered(200, image, streams))
    )
    models = critics(streams, width=40)
    train_critics(models, digits, shown, World(critic_steps=80), streams, torch.tensor([1.0, 0.0]))
    better, worse = (read(models, fresh[:, k], known[:, :, k])[:, :, -1, READ] for k in (0, 1))
    ranked = (better > worse).double().mean(dim=1)
    assert ranked[0] > 0.9
    assert ranked[0] > ranked[1] + 0.1


def test_the_same_seed_trains_the_same_critic():
    found = []
    for _ in range(2):
        streams = Streams([7], dtype=torch.float32)
        digits, right = answered(40, streams.randperm(10)[0], streams)
        models, critique = critics(streams, 1), torch.where(right, GOOD, BAD)[None]
        train_critics(models, digits, critique, World(critic_steps=5), streams, torch.tensor([1.0]))
        found.append(read(models, digits[:, 0], critique[:, :, 0])[:, :, -1, READ])
    assert torch.equal(*found)
