"""Tiny critics: the task by hand, a decoder against torch's own layers, and that the future is not seen."""

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from rewardsmith.atlas.pages.dynamic_beta import (
    BAD,
    GOOD,
    READ,
    CriticGPT,
    World,
    answered,
    critic_scores,
    train_critics,
    written_critiques,
)
from rewardsmith.worlds import Streams


def critics(n_models=2, **options):
    streams = Streams([0], dtype=torch.float64)
    models = CriticGPT(n_models, streams, width=8, n_heads=2, **options)
    with torch.no_grad():
        for k, value in enumerate(models.parameters()):
            value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64))
    return models


def test_the_better_answer_has_more_right_digits_and_verdicts_are_true():
    streams = Streams([3])
    image = streams.randperm(10)[0]
    pairs = answered(500, image, streams)
    assert sorted(image.tolist()) == list(range(10))
    for n in range(100):
        for k in (0, 1):
            truth = [int(image[d]) for d in pairs.prompts[n]]
            assert [a == t for a, t in zip(pairs.answers[n, k].tolist(), truth, strict=True)] == pairs.right[
                n, k
            ].tolist()
    counts = pairs.right.sum(-1)
    assert (counts[:, 0] > counts[:, 1]).all()
    assert 0.4 < pairs.right.double().mean() < 0.6
    assert int(pairs.answers.min()) >= 0
    assert int(pairs.answers.max()) <= 9


def test_a_decoder_is_the_pre_norm_transformer_by_hand():
    models = critics()
    prompts, ids = torch.randint(10, (2, 3, 4)), torch.randint(13, (2, 3, 9))
    logits, scores = models(prompts, ids)
    for m in range(2):
        x = models.token[m][ids[m]] + models.place[m][:9]
        x = torch.cat([x[:, :4] + models.asked[m][prompts[m]], x[:, 4:]], dim=1)
        for mix, out, up, down in zip(models.mix, models.out, models.up, models.down, strict=True):
            query, key, value = (F.layer_norm(x, (8,)) @ mix[m]).split(8, dim=-1)
            heads = []
            for h in range(2):
                q, k, v = (part[..., 4 * h : 4 * h + 4] for part in (query, key, value))
                weights = (q @ k.transpose(1, 2) / 2.0).masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf)
                heads.append(weights.softmax(-1) @ v)
            x = x + torch.cat(heads, dim=-1) @ out[m]
            x = x + F.gelu(F.layer_norm(x, (8,)) @ up[m]) @ down[m]
        x = F.layer_norm(x, (8,))
        assert_close(logits[m], x @ models.next_token[m])
        assert_close(scores[m], (x @ models.score[m])[..., 0])


def test_the_models_of_a_seed_begin_alike_and_do_not_see_each_other():
    streams = Streams([0], dtype=torch.float64)
    models = CriticGPT(2, streams, width=8, n_heads=2)
    assert all(torch.equal(value[0], value[1]) for value in models.parameters())
    prompts, answers = torch.randint(10, (5, 4)), torch.randint(10, (5, 4))
    _, scores = models(prompts.expand(2, -1, -1), answers.expand(2, -1, -1))
    scores[0].sum().backward()
    assert all(value.grad is None or bool((value.grad[1] == 0).all()) for value in models.parameters())


def test_a_critique_is_written_from_left_to_right_by_the_likelier_verdict():
    models = critics()
    prompts, answers = torch.randint(10, (6, 4)), torch.randint(10, (6, 4))
    said = written_critiques(models, prompts, answers)
    assert said.shape == (2, 6, 4)
    assert set(said.unique().tolist()) <= {GOOD, BAD}
    asked = prompts.expand(2, -1, -1)
    logits, _ = models(asked, torch.cat([answers.expand(2, -1, -1), said], dim=-1))  # all at once, teacher-forced
    likelier = torch.where(logits[:, :, 3:7, GOOD] > logits[:, :, 3:7, BAD], GOOD, BAD)
    assert torch.equal(said, likelier)


def test_training_teaches_the_score_to_follow_the_critique_it_is_shown():
    streams = Streams([1], dtype=torch.float32)
    image = streams.randperm(10)[0]
    pairs = answered(200, image, streams)
    true = torch.where(pairs.right, GOOD, BAD)
    models = CriticGPT(2, streams, width=16)
    shown = torch.stack([true, torch.full_like(true, READ)])
    train_critics(models, pairs, shown, World(critic_steps=80), streams, critic_weight=(1.0, 0.0))
    key = [critic_scores(models, pairs.prompts, pairs.answers[:, k], shown[:, :, k]) for k in (0, 1)]
    right = (key[0] > key[1]).double().mean(dim=1)
    assert right[0] > 0.9
    assert right[0] > right[1] + 0.1


def test_the_same_seed_trains_the_same_critic():
    found = []
    for _ in range(2):
        streams = Streams([7], dtype=torch.float32)
        pairs = answered(40, streams.randperm(10)[0], streams)
        models = CriticGPT(1, streams, width=8, n_heads=2)
        said = torch.where(pairs.right, GOOD, BAD)[None]
        train_critics(models, pairs, said, World(critic_steps=5), streams, critic_weight=(1.0,))
        found.append(critic_scores(models, pairs.prompts, pairs.answers[:, 0], said[:, :, 0]))
    assert torch.equal(*found)
