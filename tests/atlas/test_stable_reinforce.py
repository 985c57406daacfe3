"""Rewards, credit and loss of page stable_reinforce by hand, and what holds by algebra alone."""

import math

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from rewardsmith.atlas.pages.stable_reinforce import ARMS, credit, prepared, reward_of, spoken, surrogate, token_logps

F64 = {"dtype": torch.float64}


def test_the_reward_is_the_official_table():
    """With a valid format 0.5, 1, 1.5 and 2 less the format's half: no bonus pays a wrong verdict."""
    tokens = torch.tensor([[c, a, f] for c in (0, 1) for a in (0, 1) for f in (0, 1)])[None, None]
    rewards = reward_of(tokens, torch.ones(1, 1, 8), torch.full((1, 1), 0.5, **F64))[0, 0]
    expected = [0.0, 0.5, 0.5, 1.0, 0.0, 0.5, 1.5, 2.0]  # wrong, then right and at odds; wrong, then right and agreeing
    assert rewards.tolist() == expected
    without = reward_of(tokens, torch.ones(1, 1, 8), torch.zeros(1, 1, **F64))[0, 0]
    assert without.tolist() == [0.0, 0.5, 1.0, 1.5, 0.0, 0.5, 1.0, 1.5]


def test_extreme_ratios_cost_a_finite_loss_and_send_no_gradient():
    log_ratio = torch.tensor([100.0, 0.0, -100.0], **F64).requires_grad_()
    weight = torch.tensor([-1.0, 1.0, 1.0], **F64)
    loss = surrogate(log_ratio, weight, 0.2).mean()
    assert_close(loss.detach(), torch.tensor((1000 - 1 - 0.001) / 3, **F64))
    loss.backward()
    assert_close(log_ratio.grad, torch.tensor([0.0, -1 / 3, 0.0], **F64))
    plain = 800.0 * torch.ones(1, **F64)
    assert plain.exp().isinf()  # what the loss would be without the clamp
    assert surrogate(plain, -torch.ones(1, **F64), 0.2).isfinite()


def test_log_probabilities_are_those_of_the_chain_and_sum_to_one():
    logits = torch.randn(1, 1, 1, 8, generator=torch.Generator().manual_seed(0), **F64)
    every = torch.tensor([[c, a, f] for c in (0, 1) for a in (0, 1) for f in (0, 1)])[None, None]
    logps = token_logps(logits.expand(1, 1, 8, 8), every).sum(dim=-1)
    assert_close(logps.exp().sum(), torch.tensor(1.0, **F64))
    best = every[0, 0, int(token_logps(logits.expand(1, 1, 8, 8), every)[0, 0, :, 2].argmax())]
    assert spoken(logits, None)[0, 0, 0, 2] == best[2]
    drawn = spoken(logits.expand(1, 1, 4000, 8), torch.rand(1, 3, 1, 4000, generator=torch.Generator().manual_seed(1)))
    share = (drawn[0, 0] == torch.tensor([1, 0, 1])).all(dim=-1).double().mean()
    p = float(logps[0, 0, 5].exp())
    assert abs(float(share) - p) < 5 * math.sqrt(p * (1 - p) / 4000)


@pytest.mark.parametrize("arm", ARMS)
def test_credit_is_by_each_arms_rule(arm):
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randint(5, (1, len(ARMS), 100), generator=generator).double() / 2
    rewards[..., 0] = 50.0
    place = list(ARMS).index(arm)
    found, own = credit(rewards)[0, place], rewards[0, place].numpy()
    z = torch.from_numpy(stats.zscore(own))
    robust = ARMS[arm].robust
    if robust == "clip":
        assert_close(found, torch.from_numpy(stats.zscore(own.clip(0, 2))))
    elif robust == "ranks":
        assert_close(found, torch.from_numpy(stats.zscore(stats.rankdata(own))))
    elif robust == "rewhiten":
        assert found[0] == 0
        assert_close(found[1:], torch.from_numpy(stats.zscore(own[1:])))
    else:
        assert_close(found[1:], z[1:])
        assert_close(found[0], {"zero": 0 * z[0], "mad": 0 * z[0], "winsor": 0 * z[0] + 3}.get(robust, z[0]))
    assert torch.equal(prepared(rewards[:, 0], "none"), rewards[:, 0])
