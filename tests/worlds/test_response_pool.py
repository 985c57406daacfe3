"""Oracles for the response pool: brute-force enumeration, hand numbers, a numerical optimizer."""

import math
from itertools import combinations

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.worlds.response_pool import best_of_n, expected, kl, policy_at_kl, tilted_policy


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def test_tilted_policy_beats_every_nearby_policy_on_its_objective():
    scores, beta = normal(3, 5), 0.7
    best = tilted_policy(scores, beta)
    objective = expected(best, scores) - beta * kl(best)
    for seed in range(50):
        other = (best.log() + 0.1 * normal(3, 5, seed=10 + seed)).softmax(-1)
        assert (expected(other, scores) - beta * kl(other) <= objective + 1e-12).all()


def test_the_tilted_optimum_has_the_value_of_the_log_partition_function():
    scores, beta = normal(4, 6), 0.3
    policy = tilted_policy(scores, beta)
    value = expected(policy, scores) - beta * kl(policy)
    assert_close(value, beta * ((scores / beta).exp().mean(-1)).log())  # β log E_π₀ exp(r/β)


def test_kl_is_zero_at_the_base_and_log_n_at_a_point():
    assert_close(kl(torch.full((1, 4), 0.25, dtype=torch.float64)), torch.zeros(1, dtype=torch.float64))
    point = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert_close(kl(point), torch.tensor([math.log(4)], dtype=torch.float64))


def test_kl_agrees_with_a_slow_loop():
    policy = normal(2, 4).softmax(-1)
    slow = [sum(float(p * math.log(p / 0.25)) for p in row) for row in policy]
    assert_close(kl(policy), torch.tensor(slow, dtype=torch.float64))


@pytest.mark.parametrize("target", [0.05, 0.5, 2.0])
def test_policy_at_kl_reaches_the_target_in_every_pool(target):
    scores = normal(3, 8, 50) * torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)[:, None, None]
    policy = policy_at_kl(scores, target)
    assert_close(kl(policy).mean(-1), torch.full((3,), target, dtype=torch.float64))
    beta = scores[1].diff(dim=-1) / policy[1].log().diff(dim=-1)  # log π = score/β + a constant per prompt
    assert_close(beta, beta[:1, :1].expand_as(beta))


def test_matched_kl_makes_affine_rescaling_a_no_op():
    scores = normal(8, 50)
    offsets = 7.0 * normal(8, 1, seed=2)
    assert_close(policy_at_kl(3.0 * scores + offsets, 1.0), policy_at_kl(scores, 1.0))


def test_policy_at_kl_refuses_an_unreachable_target():
    with pytest.raises(ValueError, match=r"policy_at_kl: target_kl 9.0 is out of reach .* Choose a target"):
        policy_at_kl(normal(2, 10), 9.0)


def test_tilted_policy_refuses_a_beta_of_zero():
    with pytest.raises(ValueError, match=r"tilted_policy: beta is 0.0, which must be above 0"):
        tilted_policy(normal(1, 3), 0.0)


def brute_force_best_of_n(scores: list[float], values: list[float], n: int) -> float:
    """Mean over all n-subsets of the mean value among the subset's top scores."""
    picks = []
    for subset in combinations(range(len(scores)), n):
        top = max(scores[i] for i in subset)
        tied = [values[i] for i in subset if scores[i] == top]
        picks.append(sum(tied) / len(tied))
    return sum(picks) / len(picks)


@pytest.mark.parametrize("scores", [[0.3, -1.0, 2.0, 0.9, 0.1, 1.4], [1.0, 1.0, 0.0, 2.0, 2.0, 2.0], [0.0] * 6])
def test_best_of_n_equals_enumeration_over_all_subsets(scores):
    values = normal(6, seed=4).tolist()
    want = [brute_force_best_of_n(scores, values, n) for n in range(1, 7)]
    curve = best_of_n(torch.tensor(scores, dtype=torch.float64), torch.tensor(values, dtype=torch.float64), range(1, 7))
    assert_close(curve, torch.tensor(want, dtype=torch.float64))


def test_best_of_n_takes_leading_dimensions_and_chosen_n():
    scores, values = normal(2, 3, 7), normal(2, 3, 7, seed=1)
    curve = best_of_n(scores, values, [1, 3, 7])
    assert curve.shape == (2, 3, 3)
    assert_close(curve[1, 2, 1], best_of_n(scores[1, 2], values[1, 2], [1, 2, 3])[2])
    assert_close(curve[..., 0], values.mean(-1))  # best of one is a draw


def test_best_of_n_refuses_more_candidates_than_responses():
    with pytest.raises(ValueError, match=r"best_of_n_gold: n is 8, outside \[1, 7\]"):
        best_of_n(normal(7), normal(7), [8])
