"""What the reward model of page cooper reads and learns from, by slow loops, and what holds by construction."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from rewardsmith.atlas.pages.cooper import (
    ARMS,
    N_ANSWERS,
    PARTS,
    ROWS,
    World,
    experiments,
    features,
    paid,
    pretrained,
    sampled,
    spoken,
    update,
    warm_started,
)
from rewardsmith.worlds import Streams

SMALL = World(n_questions=6, n_offline=40, width=8, batch=3, group_size=4, steps=4)
ARM = {name: place for place, name in enumerate(ARMS)}


def batch(seed=0):
    """Reward models, and responses of which the last question's are all rejected by the rule."""
    streams = Streams([seed])
    keys = streams.randint(N_ANSWERS, SMALL.n_questions)
    models = pretrained(keys, SMALL, streams).take([0] * len(ARMS))
    key = keys[:, None, : SMALL.batch, None]
    drawn = torch.stack([streams.randint(n, len(ARMS), SMALL.batch, SMALL.group_size) for n in PARTS], dim=-1)
    drawn[..., :2, 2, 0] = key[..., 0].expand(-1, len(ARMS), -1)[..., :2]
    rule = (drawn[..., 0] == key) & (drawn[..., 1] == 0)
    rule[:, :, 2] = False
    drawn[:, :, 0, 1, 0], drawn[:, :, 0, 1, 1] = key[:, :, 0], 0
    rule[:, :, 0, 1] = True
    rule[:, :, 0, 0] = False
    return models, key, drawn, rule, streams


def test_the_reward_model_reads_the_parts_one_hot():
    response = torch.tensor([[3, 1, 5, 11], [4, 0, 0, 2]])
    x = features(torch.tensor([3, 9]), response)
    assert x.shape == (2, N_ANSWERS + sum(PARTS) + 1)
    assert x[:, :-1].sum(dim=1).tolist() == [5.0, 5.0]
    assert x[:, -1].tolist() == pytest.approx([0.2, 0.0])
    assert x[0].nonzero().flatten().tolist() == [3, 13, 21, 27, 45, 46]


@pytest.mark.slow
def test_only_arms_that_update_get_a_gradient_and_a_question_without_a_pair_sends_none():
    models, key, drawn, rule, streams = batch()
    update(models, key, drawn, rule, streams, False)
    moved = models.weights[0].grad.flatten(2).abs().sum(dim=-1)[0] > 0
    assert moved.tolist() == [arm.update != "none" for arm in ROWS]
    models, key, drawn, rule, streams = batch()
    rule[:] = False
    update(models, key, drawn, rule, streams, False)
    moved = models.weights[0].grad.flatten(2).abs().sum(dim=-1)[0] > 0
    assert moved.nonzero().flatten().tolist() == [ARM["rule_labels"]]


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["cooper_bce", "cooper_pairwise", "rule_labels"])
def test_the_gradient_of_an_update_is_that_of_a_slow_loop(arm):
    models, key, drawn, rule, streams = batch()
    update(models, key, drawn, rule, streams, False)
    grad = models.weights[0].grad[0, ARM[arm]].clone()
    models, key, drawn, rule, streams = batch()
    other = streams.randint(N_ANSWERS - 1, 1, SMALL.batch)[0, 0]
    models.zero_grad()

    def logit(question, response):
        x = features(key[0, 0, question, 0], response)[None, None, None].expand(1, len(ARMS), 1, -1)
        return models(x)[0, ARM[arm], 0]

    losses = []
    for question in range(SMALL.batch):
        said, ruled = drawn[0, ARM[arm], question], rule[0, ARM[arm], question]
        if arm == "rule_labels":
            zs = [(logit(question, said[g]), float(ruled[g])) for g in range(2)]
            losses.append(sum(F.softplus(-z if label else z) for z, label in zs))
        elif bool(ruled.any()):
            right = said[int(ruled.nonzero()[0])]
            wrong = right.clone()
            wrong[0] = (right[0] + 1 + other[question]) % N_ANSWERS
            z = logit(question, right), logit(question, wrong)
            pairwise = arm == "cooper_pairwise"
            losses.append(F.softplus(z[1] - z[0]) if pairwise else F.softplus(-z[0]) + F.softplus(z[1]))
    (sum(losses) / len(losses)).backward()
    assert_close(models.weights[0].grad[0, ARM[arm]], grad, rtol=1e-4, atol=1e-8)


@pytest.mark.slow
def test_a_policy_draws_what_it_says_and_never_the_format_that_the_rule_reads_where_it_is_blind():
    streams = Streams([3])
    keys = streams.randint(N_ANSWERS, SMALL.n_questions)
    readable = torch.tensor([[True, False] * 3])
    policy, start = warm_started(keys, readable, SMALL, streams)
    every = torch.arange(SMALL.n_questions)[None]
    parts = spoken(policy, every, readable)
    assert_close(parts, start)
    for part in parts:
        assert_close(part.exp().sum(dim=-1), torch.ones(1, 1, SMALL.n_questions, dtype=torch.float64))
    right = parts[0].exp().gather(-1, keys[:, None, :, None])
    assert_close(right.mean(), torch.tensor(SMALL.solver, dtype=torch.float64), atol=0.02, rtol=0)
    drawn = sampled(parts, streams.rand(len(PARTS), 1, SMALL.n_questions, 500))
    assert (drawn[..., 1] == 0).double().mean(dim=-1)[0, 0, 1::2].tolist() == [0.0] * 3
    assert abs(float((drawn[..., 1] == 0).double().mean(dim=-1)[0, 0, ::2].mean()) - 0.5) < 0.1


def test_rewards_of_the_arms_and_a_frozen_model_that_pays_as_the_declared_mixture():
    score, rule = torch.tensor([0.25, 0.75]), torch.tensor([1.0, 0.0])
    assert [paid(kind, score, rule).tolist() for kind in ("model", "rule", "mean", "max")] == [
        [0.25, 0.75], [1.0, 0.0], [0.625, 0.375], [1.0, 0.75],
    ]  # fmt: skip


@pytest.mark.slow
def test_a_rate_of_zero_is_the_frozen_model():
    found = experiments([1], World(steps=10, update_rate=0.0))[0]
    assert found["gold/cooper_bce"] == found["gold/cooper_pairwise"] == found["gold/frozen"]
