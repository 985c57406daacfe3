"""The bandit of page grpo_lambda: exact values against enumeration, samples against their chances."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.grpo_lambda import ALPHAS, World, experiments, train
from rewardsmith.worlds import Streams


def policies(bandit, n_seeds=2, n_arms=2):
    shape = (n_seeds, n_arms, len(bandit.needed), bandit.n_lengths)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(dim=-1)


@pytest.mark.parametrize(
    "bandit", [World(), World(needed_easy=2.0, needed_middle=1.0, cap_easy=1.0, steepness=3.0, n_lengths=5)]
)
def test_accuracy_and_length_are_those_of_a_slow_loop(bandit):
    policy = policies(bandit)
    for s in range(2):
        for a in range(2):
            length = 0.0
            for c, (needed, cap) in enumerate(zip(bandit.needed, bandit.caps, strict=True)):
                right = 0.0
                for n in range(1, bandit.n_lengths + 1):
                    chance = float(policy[s, a, c, n - 1])
                    right += chance * cap / (1 + math.exp(-bandit.steepness * (n - needed)))
                    length += chance * n / len(bandit.needed)
                assert float(bandit.accuracy(policy)[s, a, c]) == pytest.approx(right)
            assert float(bandit.length(policy)[s, a]) == pytest.approx(length)


def test_half_of_the_cap_is_reached_at_the_needed_length():
    bandit = World()
    at = [bandit.p_correct[c, int(needed) - 1] for c, needed in enumerate(bandit.needed)]
    assert_close(torch.stack(at), torch.tensor(bandit.caps, dtype=torch.float64) / 2)


def test_samples_have_the_chances_of_their_class():
    bandit, streams, n = World(), Streams([3]), 20_000
    policy = policies(bandit, n_seeds=1)
    draws = bandit.sample(policy, torch.tensor([[0, 2]]), streams.rand(1, 2, n), streams.rand(1, 2, n))
    assert draws.correct.shape == draws.lengths.shape == draws.chosen.shape == (1, 2, 2, n)
    assert torch.equal(draws.lengths, draws.chosen + 1.0)
    for arm in range(2):
        for row, c in enumerate((0, 2)):
            share = torch.bincount(draws.chosen[0, arm, row], minlength=16) / n
            assert ((share - policy[0, arm, c]).abs() < 5 * math.sqrt(0.25 / n)).all()
            right = float(draws.correct[0, arm, row].mean())
            assert abs(right - float(bandit.accuracy(policy)[0, arm, c])) < 5 * math.sqrt(0.25 / n)


def test_arms_of_one_policy_draw_alike_and_seeds_keep_their_own_classes():
    bandit, streams = World(), Streams([3, 4])
    policy = policies(bandit, n_arms=1).expand(2, 3, 3, 16)
    choice, luck = streams.rand(1, 5, 4), streams.rand(1, 5, 4)
    classes = torch.tensor([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0]])
    draws = bandit.sample(policy, classes, choice, luck)
    assert torch.equal(draws.correct[:, 0], draws.correct[:, 2])
    alone = bandit.sample(policy[1:], classes[1:], choice[1:], luck[1:])
    assert torch.equal(alone.chosen[0], draws.chosen[1])
    assert torch.equal(alone.correct[0], draws.correct[1])


def test_a_chance_above_one_is_refused():
    with pytest.raises(ValueError, match=r"World: caps is 1.5, outside"):
        World(cap_hard=1.5)


@pytest.mark.slow
def test_the_tuned_control_is_the_best_penalty_on_all_that_is_no_longer_and_the_worst_is_over_the_grid():
    for row in experiments([0, 1], World(updates=40)):
        grid = {name: [row[f"accuracy/{name}_{alpha}"] for alpha in ALPHAS] for name in ("grpo_lambda", "penalty")}
        for name, values in grid.items():
            assert row[f"worst_accuracy/{name}"] == min(values)
        controls = [name.partition("/")[2] for name in row if name.startswith("length/penalty_")]
        longest = row[f"length/grpo_lambda_{ALPHAS[0]}"]
        allowed = [row[f"accuracy/{arm}"] for arm in controls if row[f"length/{arm}"] <= longest]
        assert row["accuracy/penalty_tuned"] == max(allowed)
        assert len(controls) == 8


@pytest.mark.parametrize("by_class", [True, False])
def test_a_policy_that_cannot_tell_classes_apart_has_one_table_for_all(by_class):
    world = World(updates=3, by_class=by_class)
    begin, final = train(world.arms(broken=False), world, Streams([0]))
    assert not torch.equal(begin, final)
    assert torch.equal(final[:, :, 0], final[:, :, 2]) != by_class
