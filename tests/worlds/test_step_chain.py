"""A chain of steps: exact values agree with enumeration and with simulation, and a warm start is as warm as asked."""

from itertools import product
from math import prod

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.step_chain import StepChain

FILLER = -2  # an action counted from the end


def random_policy(chain, n_arms, streams, spread=1.0):
    n_seeds = chain.next_state.shape[0]
    return (
        (spread * streams.randn(n_arms, chain.n_observations, chain.n_actions))
        .view(n_seeds, n_arms, -1, chain.n_actions)
        .softmax(-1)
    )


def told(key, actions):
    """What a list of actions does, in words rather than tables: states before each step, solved, submitted."""
    n_contents, progress, broken, states = 2, 0, False, []
    for action in actions:
        states.append(progress + (len(key) + 1) * broken)
        if action == n_contents + 1:
            return states, progress == len(key) and not broken, True
        if action == n_contents or broken:
            continue
        if progress < len(key) and action == key[progress]:
            progress += 1
        else:
            broken = True
    return states, False, False


def key_of(chain, seed, n_goals):
    return [chain.right[seed, goal].nonzero().item() for goal in range(n_goals)]


def test_what_a_policy_is_worth_agrees_with_enumerating_every_chain():
    streams = Streams([0, 1])
    chain = StepChain.sample(streams, n_goals=2, n_contents=2, horizon=4)
    policy = random_policy(chain, 3, streams)
    truth = chain.truth(policy)
    for seed, arm in product(range(2), range(3)):
        key, table = key_of(chain, seed, 2), policy[seed, arm].tolist()
        total = dict.fromkeys(("solved", "submitted", "length", "filler"), 0.0)
        seen = set()
        for actions in product(range(4), repeat=4):
            states, solved, submitted = told(key, actions)
            taken = actions[: len(states)]
            if taken in seen:
                continue
            seen.add(taken)
            chance = prod(table[state][action] for state, action in zip(states, taken, strict=True))
            total["solved"] += chance * solved
            total["submitted"] += chance * submitted
            total["length"] += chance * len(taken)
            total["filler"] += chance * taken.count(2)
        assert float(truth.solved[seed, arm]) == pytest.approx(total["solved"])
        assert float(truth.submitted[seed, arm]) == pytest.approx(total["submitted"])
        assert float(truth.length[seed, arm]) == pytest.approx(total["length"])
        assert float(truth.filler_share[seed, arm]) == pytest.approx(total["filler"] / total["length"])


def test_sampled_chains_do_what_the_words_say():
    streams = Streams([3])
    chain = StepChain.sample(streams, n_goals=2, n_contents=2, horizon=5, noise_std=0.0)
    drawn = chain.roll(random_policy(chain, 1, streams), streams.rand(1, 300, 5), streams.randn(1, 300, 5))
    key, score = key_of(chain, 0, 2), {2: 0.90}
    for row in range(300):
        states, solved, submitted = told(key, drawn.actions[0, 0, row].tolist())
        n_steps = len(states)
        assert drawn.step_mask[0, 0, row].tolist() == [True] * n_steps + [False] * (5 - n_steps)
        assert drawn.observations[0, 0, row, :n_steps].tolist() == states
        assert (bool(drawn.solved[0, 0, row]), bool(drawn.submitted[0, 0, row])) == (solved, submitted)
        for step, state in enumerate(states):
            action = int(drawn.actions[0, 0, row, step])
            is_right = state < 2 and action == key[state]
            expected = score.get(action, 0.85 if is_right else 0.25)
            if action == 3:
                expected = 0.90 if state == 2 else 0.20
            assert float(drawn.step_rewards[0, 0, row, step]) == pytest.approx(expected)
        assert bool(drawn.step_rewards[0, 0, row, n_steps:].isnan().all())


@pytest.mark.parametrize("make", [StepChain.sample, StepChain.fixed_turns])
def test_exact_values_agree_with_simulation(make):
    streams, n = Streams([5]), 20_000
    chain = make(streams)
    policy = chain.warm_start(solved=0.3).softmax(-1)
    drawn = chain.roll(policy, streams.rand(1, n, chain.horizon), streams.randn(1, n, chain.horizon))
    truth, five_errors = chain.truth(policy), 5 * 0.5 / n**0.5
    assert float(drawn.solved.mean()) == pytest.approx(float(truth.solved), abs=five_errors)
    assert float(drawn.submitted.mean()) == pytest.approx(float(truth.submitted), abs=five_errors)
    lengths = drawn.step_mask.sum(-1).to(torch.float64)
    assert float(lengths.mean()) == pytest.approx(float(truth.length), abs=5 * float(lengths.std()) / n**0.5 + 1e-9)
    is_filler = chain.filler[drawn.actions] & drawn.step_mask
    assert float(is_filler.sum() / lengths.sum()) == pytest.approx(float(truth.filler_share), abs=five_errors)


def test_scores_scatter_around_their_mean_as_declared():
    streams = Streams([0])
    chain = StepChain.sample(streams, noise_std=0.08)
    always_filler = torch.zeros(1, 1, chain.n_observations, chain.n_actions, dtype=torch.float64)
    always_filler[..., FILLER] = 1.0
    drawn = chain.roll(always_filler, streams.rand(1, 2000, 12), streams.randn(1, 2000, 12))
    assert float(drawn.step_rewards.mean()) == pytest.approx(0.90, abs=5 * 0.08 / 24_000**0.5)
    assert float(drawn.step_rewards.std()) == pytest.approx(0.08, rel=0.05)


def test_a_chain_that_never_answers_is_cut_at_the_horizon_and_earns_nothing():
    streams = Streams([0])
    chain = StepChain.sample(streams, horizon=7)
    policy = torch.zeros(1, 1, chain.n_observations, chain.n_actions, dtype=torch.float64)
    policy[..., FILLER] = 1.0
    truth = chain.truth(policy)
    assert [float(value) for value in truth] == [0.0, 0.0, 7.0, 1.0]
    drawn = chain.roll(policy, streams.rand(1, 9, 7), streams.randn(1, 9, 7))
    assert bool(drawn.step_mask.all())
    assert float(drawn.submitted.sum() + drawn.solved.sum()) == 0.0


def test_the_right_way_is_a_chain_of_goals_and_an_answer():
    chain = StepChain.sample(Streams([0, 1, 2]))
    truth = chain.truth(chain.right.to(torch.float64)[:, None])
    for value, expected in zip(truth, (1.0, 1.0, 5.0, 0.0), strict=True):
        assert_close(value, torch.full((3, 1), expected, dtype=torch.float64))


@pytest.mark.parametrize("solved", [0.22, 0.10, 0.06])
def test_a_warm_start_solves_and_submits_as_asked_on_every_seed(solved):
    chain = StepChain.sample(Streams([0, 1]))
    truth = chain.truth(chain.warm_start(solved=solved, submitted=0.93).softmax(-1))
    assert_close(truth.solved, torch.full_like(truth.solved, solved))
    assert_close(truth.submitted, torch.full_like(truth.submitted, 0.93))
    assert bool(((truth.length > 5) & (truth.length < 6.1)).all())


def test_a_warm_start_out_of_reach_is_refused():
    chain = StepChain.sample(Streams([0]))
    with pytest.raises(ValueError, match=r"warm_start: solved is 0\.9, but such policies span \[.*\]\. Choose"):
        chain.warm_start(solved=0.9)
    with pytest.raises(ValueError, match=r"warm_start: submitted is 0\.1, but such policies span"):
        chain.warm_start(solved=0.4, submitted=0.1)


def test_a_horizon_too_short_for_the_goals_is_refused():
    with pytest.raises(ValueError, match=r"StepChain.sample: horizon is 4, outside \[5, inf\]"):
        StepChain.sample(Streams([0]), n_goals=4, horizon=4)


def test_fixed_turns_are_solved_by_the_product_over_turns():
    streams = Streams([2, 3])
    chain = StepChain.fixed_turns(streams, n_turns=3, n_actions=4, n_lures=1)
    policy = random_policy(chain, 2, streams)
    truth = chain.truth(policy)
    for seed, arm in product(range(2), range(2)):
        expected = prod(float(policy[seed, arm, turn][chain.right[seed, turn]].item()) for turn in range(3))
        assert float(truth.solved[seed, arm]) == pytest.approx(expected)
    assert_close(truth.length, torch.full_like(truth.length, 3.0))
    assert_close(truth.submitted, torch.ones_like(truth.submitted))


def test_lures_score_best_are_wrong_and_stand_at_as_many_turns_as_asked():
    chain = StepChain.fixed_turns(Streams(range(20)), n_turns=6, n_lures=2)
    is_lure = chain.scores[:, :6] == 0.95
    assert is_lure.sum(dim=(1, 2)).tolist() == [2] * 20
    assert int(is_lure.sum(dim=2).max()) == 1
    assert not bool((is_lure & chain.right[:, :6]).any())
    assert bool((chain.scores[:, :6][chain.right[:, :6]] == 0.85).all())
    assert torch.equal(chain.scores[:, :6], chain.scores[:, 6:])  # a broken chain's turns are scored alike


def test_a_policy_of_fixed_turns_sees_the_turn_and_not_whether_the_chain_is_broken():
    streams = Streams([0])
    chain = StepChain.fixed_turns(streams)
    drawn = chain.roll(random_policy(chain, 1, streams), streams.rand(1, 50, 6), streams.randn(1, 50, 6))
    assert torch.equal(drawn.observations, torch.arange(6).expand(1, 1, 50, 6))
    right = chain.right[0, :6].to(torch.int64).argmax(-1)
    assert torch.equal(drawn.solved[0, 0] == 1, (drawn.actions[0, 0] == right).all(-1))


def test_more_lures_than_turns_are_refused():
    with pytest.raises(ValueError, match=r"StepChain.fixed_turns: n_lures is 7, outside \[0, 6\]"):
        StepChain.fixed_turns(Streams([0]), n_lures=7)
    with pytest.raises(ValueError, match=r"StepChain.fixed_turns: n_actions is 1, outside \[2, inf\]"):
        StepChain.fixed_turns(Streams([0]), n_actions=1)


def test_a_policy_of_another_shape_is_refused():
    streams = Streams([0])
    chain = StepChain.sample(streams)
    policy = torch.full((1, 1, 3, 6), 1 / 6, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"StepChain.truth: policy must have shape \(1, any, 10, 6\)"):
        chain.truth(policy)
    with pytest.raises(ValueError, match=r"StepChain.roll: policy must have shape \(1, any, 10, 6\)"):
        chain.roll(policy, streams.rand(1, 2, 12), streams.randn(1, 2, 12))


def test_a_seed_s_world_and_rollouts_do_not_depend_on_the_seeds_beside_it():
    kept = []
    for seeds, place in (([7], 0), ([6, 7], 1)):
        streams = Streams(seeds)
        chain = StepChain.sample(streams)
        policy = chain.warm_start(solved=0.22).softmax(-1).expand(-1, 2, -1, -1)
        drawn = chain.roll(policy, streams.rand(1, 8, 12), streams.randn(1, 8, 12))
        assert torch.equal(drawn.actions[:, 0], drawn.actions[:, 1])  # arms share their draws
        kept.append([chain.right[place], *(field[place] for field in drawn)])
    for alone, beside in zip(*kept, strict=True):
        assert_close(alone, beside, equal_nan=True)
