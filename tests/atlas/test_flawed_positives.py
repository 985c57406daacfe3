"""Chains of page flawed_positives: exact chances against enumeration, samples against those chances."""

import math
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.flawed_positives import World
from rewardsmith.worlds import Streams


def policies(chain, n_seeds=2, n_arms=2, n_prompts=3):
    shape = (n_seeds, n_arms, n_prompts, chain.n_steps, 2 + chain.n_wrong)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).softmax(dim=-1)


def enumerated(chain, policy):
    """Chances of a right and of a reliable answer for (K, U) probabilities, over all Uᴷ chains."""
    right = reliable = 0.0
    for actions in product(range(2 + chain.n_wrong), repeat=chain.n_steps):
        chance = math.prod(float(policy[step, action]) for step, action in enumerate(actions))
        if all(action < 2 for action in actions):
            right += chance * (1 - chain.cost * actions.count(1) / chain.n_steps)
            reliable += chance * (actions.count(1) == 0)
    return right, reliable


@pytest.mark.parametrize(
    "chain",
    [
        World(n_steps=3, n_wrong=2, cost=0.5),
        World(n_steps=1, n_wrong=0, cost=1.0),
        World(cost=0.0),
    ],
)
def test_exact_chances_are_those_of_enumerating_every_chain(chain):
    policy = policies(chain, n_seeds=1, n_prompts=2)
    for arm in range(2):
        found = [enumerated(chain, policy[0, arm, prompt]) for prompt in range(2)]
        assert float(chain.correct(policy)[0, arm]) == pytest.approx(sum(right for right, _ in found) / 2)
        assert float(chain.reliable(policy)[0, arm]) == pytest.approx(sum(reliable for _, reliable in found) / 2)


def test_an_action_that_is_never_taken_divides_nothing_by_zero():
    chain = World(n_steps=2, n_wrong=1)
    policy = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64).view(1, 1, 1, 2, 3)
    assert chain.correct(policy).tolist() == [[0.0]]
    only_jumps = policy[..., [0, 0], :]
    assert chain.correct(only_jumps).tolist() == [[0.5]]  # 1 − ½ · 2/2
    assert chain.reliable(only_jumps).tolist() == [[0.0]]


def test_samples_follow_the_exact_chances_and_the_actions_they_show():
    chain, streams, n = World(n_steps=3, right_logit=1.5, jump_logit=1.5), Streams([2]), 20_000
    policy = chain.start(1, 1, 1).softmax(dim=-1)
    draws = chain.sample(policy, streams.rand(1, 1, n, 3), streams.rand(1, 1, n))
    error = 5 * math.sqrt(0.25 / n)
    assert abs(float(draws.correct.mean()) - float(chain.correct(policy))) < error
    assert abs(float((draws.correct * ~draws.jumped).mean()) - float(chain.reliable(policy))) < error
    assert torch.equal(draws.jumped, (draws.actions == 1).any(dim=-1))
    ruined = (draws.actions > 1).any(dim=-1)
    assert draws.correct[ruined].sum() == 0
    assert (draws.correct[(draws.actions == 0).all(dim=-1)] == 1).all()  # nothing skipped, nothing wrong
    assert torch.equal(draws.correct * ~draws.jumped, (draws.actions == 0).all(dim=-1).double())


def test_the_policy_starts_with_the_declared_logits():
    logits = World(n_steps=2, n_wrong=3, right_logit=0.5, jump_logit=1.0).start(1, 4)
    assert_close(logits, torch.tensor([0.5, 1.0, 0, 0, 0], dtype=torch.float64).expand(1, 4, 2, 5))


def test_arms_of_one_policy_draw_alike():
    chain, streams = World(), Streams([0, 1])
    policy = policies(chain, n_arms=1).expand(2, 3, 3, 5, 5)
    draws = chain.sample(policy, streams.rand(1, 3, 4, 5), streams.rand(1, 3, 4))
    assert torch.equal(draws.actions[:, 0], draws.actions[:, 2])
    assert torch.equal(draws.correct[:, 0], draws.correct[:, 2])
    assert draws.actions.shape == (2, 3, 3, 4, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: World(n_steps=0), r"World: n_steps is 0, outside \[1, 10000\]"),
        (lambda: World(n_wrong=-1), r"World: n_wrong is -1, outside"),
        (lambda: World(cost=1.5), r"World: cost is 1.5, outside \[0.0, 1.0\]"),
        (lambda: World().correct(torch.zeros(1, 1, 1, 4, 5)), r"World.correct: policy must have shape"),
        (
            lambda: World().reliable(torch.zeros(1, 1, 1, 5, 4)),
            r"World.reliable: policy must have shape",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
