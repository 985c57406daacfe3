"""The task of page fine_grained: worth by enumeration, and a gradient step by autograd."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.fine_grained import Task, World, look_up
from rewardsmith.worlds import Streams

WORLD = World(n_prompts=2, n_segments=2, n_tokens=4, n_keys=2, batch_size=16, beta=0.0)


def small(seeds=(0, 1)):
    streams = Streams(list(seeds))
    return Task(WORLD, streams), streams


def by_hand(task, seed, prompt, tokens):
    fact = sum(float(task.fact[seed, prompt, t, v]) for t, v in enumerate(tokens)) / len(tokens)
    relevant = sum(float(task.relevant[seed, prompt, t, v]) for t, v in enumerate(tokens)) / len(tokens)
    complete = sum(int(key) in tokens for key in task.keys[seed, prompt]) / task.keys.shape[-1]
    return 0.5 * fact + 0.3 * relevant + 0.3 * (2 * complete - 1), fact, relevant, complete


def test_aspects_of_outputs_are_those_by_hand():
    task, streams = small()
    prompt, tokens = (torch.arange(9) % 2).expand(2, 1, -1), streams.randint(4, 9, 2)[:, None]
    fact, relevant, complete = task.aspects(prompt, tokens)
    gold = WORLD.gold(fact.mean(-1), relevant.mean(-1), complete)
    for s in range(2):
        for n in range(9):
            expected = by_hand(task, s, int(prompt[s, 0, n]), tokens[s, 0, n].tolist())
            got = (gold[s, 0, n], fact[s, 0, n].mean(), relevant[s, 0, n].mean(), complete[s, 0, n])
            assert [float(value) for value in got] == pytest.approx(expected)


def test_the_worth_of_a_policy_is_that_of_all_its_outputs():
    task, streams = small()
    logits = 2 * streams.randn(3, 2, 2, 4)
    found, policy = task.worth(logits), logits.softmax(-1)
    for s, a in itertools.product(range(2), range(3)):
        totals = torch.zeros(4, dtype=torch.float64)
        for prompt in range(2):
            for tokens in itertools.product(range(4), repeat=2):
                p = float(policy[s, a, prompt, 0, tokens[0]] * policy[s, a, prompt, 1, tokens[1]])
                totals += p / 2 * torch.tensor(by_hand(task, s, prompt, tokens), dtype=torch.float64)
        assert_close(torch.stack([value[s, a] for value in found.values()]), totals)


def test_the_first_update_follows_the_gradient_of_the_sampled_objective():
    task, _ = small()
    drawn = []

    def rewards(prompt, tokens):
        drawn.append((prompt, tokens))
        return look_up(task.fact, prompt, tokens).expand(-1, 1, -1, -1)

    def to_go(values):
        return values.flip(1).cumsum(1).flip(1)

    found = task.train(rewards, Streams([5, 6]), n_arms=1, snapshots=(1,))
    logits = torch.zeros(2, 1, 2, 2, 4, dtype=torch.float64, requires_grad=True)
    prompt, tokens = drawn[0]
    paid = look_up(task.fact, prompt, tokens)
    returns = to_go(paid.flatten(0, 2)).view_as(paid)
    advantage = returns - returns.mean(dim=2, keepdim=True)
    logps = logits.log_softmax(-1)[torch.arange(2)[:, None, None], 0, prompt].gather(-1, tokens[..., None])[..., 0]
    (-(advantage * logps).sum() / 16).backward()
    moved = -0.3 * logits.grad / (logits.grad.abs() + 1e-8)  # Adam's first step
    assert_close(found[1]["gold"], task.worth(moved)["gold"])


def test_a_seed_does_not_see_the_seeds_beside_it():
    task, _ = small(seeds=(1,))
    both, _ = small(seeds=(0, 1))
    assert_close(task.fact[0], both.fact[1])
    assert torch.equal(task.keys[0], both.keys[1])
