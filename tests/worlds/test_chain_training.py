"""Training on chains: the sampled gradient points where the exact one does, and equal credit gives equal numbers."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.chain_training import Training, policy_gradient, train_chains
from rewardsmith.worlds.step_chain import StepChain, Truth


def outcome(drawn):
    return drawn.solved[:, None].expand(drawn.step_mask.shape)


@pytest.mark.parametrize("make", [StepChain.sample, StepChain.fixed_turns])
def test_the_sampled_gradient_is_the_exact_gradient_of_success_on_average(make):
    streams, n = Streams([1]), 40_000
    chain = make(streams)
    logits = chain.warm_start(solved=0.22).requires_grad_()
    (exact,) = torch.autograd.grad(chain.truth(logits.softmax(-1)).solved.sum(), logits)
    policy = logits.detach().softmax(-1)
    drawn = chain.roll(policy, streams.rand(1, n, chain.horizon), streams.randn(1, n, chain.horizon))
    returns = drawn.solved[..., None].expand(drawn.step_mask.shape)
    # Each chain adds at most a few visits of |advantage| ≤ 1 to a logit: 5 standard errors at one visit per chain.
    assert_close(policy_gradient(policy, drawn, returns), exact, atol=5 / n**0.5, rtol=0)


def test_the_gradient_agrees_with_a_slow_loop():
    streams = Streams([4, 5])
    chain = StepChain.sample(streams, n_goals=2, horizon=4)
    policy = streams.randn(3, chain.n_observations, chain.n_actions).softmax(-1)
    drawn = chain.roll(policy, streams.rand(1, 6, 4), streams.randn(1, 6, 4))
    returns = torch.where(drawn.step_mask, streams.randn(3, 6, 4), torch.nan)
    expected = torch.zeros_like(policy)
    for seed in range(2):
        for arm in range(3):
            for time in range(4):
                alive = [row for row in range(6) if drawn.step_mask[seed, arm, row, time]]
                mean = sum(float(returns[seed, arm, row, time]) for row in alive) / max(len(alive), 1)
                for row in alive:
                    look, act = (int(x[seed, arm, row, time]) for x in (drawn.observations, drawn.actions))
                    gain = float(returns[seed, arm, row, time]) - mean
                    expected[seed, arm, look] -= gain * policy[seed, arm, look] / 6
                    expected[seed, arm, look, act] += gain / 6
    assert_close(policy_gradient(policy, drawn, returns), expected)


@pytest.mark.slow
def test_arms_of_equal_credit_stay_equal_to_the_last_digit_and_paying_success_teaches_it():
    streams = Streams([0, 1])
    chain = StepChain.sample(streams)
    start = chain.warm_start(solved=0.22)
    arms = {"one": outcome, "nothing": lambda drawn: 0 * outcome(drawn), "same": outcome}
    trained = train_chains(chain, arms, streams=streams, start=start, updates=40, evaluate_every=20)
    final = trained.final("solved")
    assert torch.equal(final["one"], final["same"])
    assert torch.equal(final["nothing"], trained.at("solved", 0)["nothing"])
    assert bool((final["one"] > 0.5).all())
    assert trained.updates == (0, 20, 40)


@pytest.mark.slow
def test_a_seed_s_training_does_not_depend_on_the_seeds_beside_it():
    finals = []
    for seeds in ([9], [8, 9]):
        streams = Streams(seeds)
        chain = StepChain.sample(streams)
        trained = train_chains(chain, {"a": outcome}, streams=streams, start=chain.warm_start(solved=0.22), updates=15)
        finals.append(trained.final("solved")["a"][-1])
    assert_close(finals[0], finals[1])


def test_credit_sees_one_arm_with_a_seed_s_chains_consecutive():
    streams, shapes = Streams([0, 1, 2]), []
    chain = StepChain.sample(streams, horizon=6)

    def spy(drawn):
        shapes.append((drawn.step_rewards.shape, drawn.solved.shape))
        return outcome(drawn)

    train_chains(chain, {"spy": spy}, streams=streams, start=chain.warm_start(solved=0.2), updates=1, rollouts=5)
    assert shapes == [((15, 6), (15,))]


def test_the_summaries_of_a_curve_are_what_they_say():
    solved = torch.tensor([[[0.0, 0.5]], [[0.8, 0.25]], [[0.4, 0.0]]], dtype=torch.float64)  # (E, S, A)
    trained = Training(("a", "b"), (0, 10, 40), Truth(solved, solved, solved, solved))
    assert float(trained.final("solved")["a"]) == 0.4
    assert float(trained.at("solved", 10)["b"]) == 0.25
    assert float(trained.peak("solved")["a"]) == 0.8
    expected = np.trapezoid([0.0, 0.8, 0.4], [0, 10, 40]) / 40
    assert float(trained.area("solved")["a"]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="Training: no evaluation after 7 updates, only after 0, 10, 40"):
        trained.at("solved", 7)
