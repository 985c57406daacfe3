"""Displacement, offsets, soft values and the jackknife against loops, SciPy's analysis of variance and enumeration."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import f_oneway, spearmanr

from rewardsmith.measures import (
    chosen_displacement,
    goal_controllability,
    high_quality_unlearning,
    off_support_mass,
    per_state_equivalence_gap,
    prompt_offset_sensitivity,
    reward_cap,
    soft_value_identity_error,
)
from rewardsmith.measures.intervals import jackknife, jackknife_estimate, mean_estimate
from rewardsmith.worlds.prefix_tree import PrefixTree
from rewardsmith.worlds.streams import Streams

NAN = math.nan


def test_the_jackknife_of_a_mean_is_the_variance_of_the_mean():
    values = np.random.default_rng(0).normal(size=(40, 2))
    covariance, freedom = jackknife(lambda kept: values[kept].mean(axis=0), 40)
    assert covariance == pytest.approx(np.cov(values.T) / 40)
    assert freedom == 39
    estimate = jackknife_estimate(lambda kept: values[kept, 0].mean(), 40)
    assert estimate == pytest.approx(mean_estimate(values[:, 0]))


@pytest.mark.slow
def test_its_interval_of_a_correlation_in_blocks_holds_as_often_as_it_says():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(100):
        x = rng.normal(size=120)
        y = 0.6 * x + 0.8 * rng.normal(size=120)
        found = jackknife_estimate(lambda kept, x=x, y=y: np.corrcoef(x[kept], y[kept])[0, 1], 120)
        covered += found.low <= 0.6 <= found.high
    assert covered >= 88  # 95 expected
    two = jackknife_estimate(lambda kept: float(kept.sum()), 2)
    assert (two.low, two.high) == (-math.inf, math.inf)
    assert math.isnan(jackknife_estimate(lambda kept: 1.0, 0).value)


def test_the_shift_is_the_mean_change_and_the_share_that_fell():
    start, end = [-5.0, -6.0, NAN, -1.0], [-9.0, -4.0, -1.0, -4.0]
    found = chosen_displacement(end, start)
    assert found.shift.value == pytest.approx((-4 + 2 - 3) / 3)
    assert (found.down.value, found.down.n) == (pytest.approx(2 / 3), 3)
    by_token = chosen_displacement(torch.tensor(end), torch.tensor(start), lengths=[4, 2, 1, 3])
    assert by_token.shift.value == pytest.approx((-1 + 1 - 1) / 3)
    with pytest.raises(ValueError, match="chosen_displacement: arguments must share one shape"):
        chosen_displacement(end, start[:2])


def test_unlearning_reads_the_good_rejected_responses_alone():
    found = high_quality_unlearning([-9.0, -8.0, -7.0], [-5.0, -7.0, -2.0], [8.0, 9.0, NAN], least_score=8)
    assert found == chosen_displacement([-9.0, -8.0], [-5.0, -7.0])
    with pytest.raises(ValueError, match="high_quality_unlearning: arguments must share one shape"):
        high_quality_unlearning([1.0], [1.0], [1.0, 2.0], least_score=0)


@pytest.mark.parametrize("top_p", [0.0, 0.5, 0.9, 1.0])
def test_mass_off_the_support_is_that_beyond_the_fewest_responses_that_hold_the_top_p(top_p):
    rng = np.random.default_rng(3)
    policy, ref = (np.log(rng.dirichlet(np.full(6, 0.5), size=5)) for _ in range(2))
    expected = []
    for p, q in zip(np.exp(policy), np.exp(ref), strict=True):
        sizes = [(len(s), -sum(q[list(s)]), s) for n in range(7) for s in itertools.combinations(range(6), n)]
        smallest = min((size, mass, s) for size, mass, s in sizes if -mass >= top_p - 1e-12)
        expected.append(1 - sum(p[list(smallest[2])]))
    found = off_support_mass(policy, ref, top_p=top_p)
    assert found.value == pytest.approx(np.mean(expected), abs=1e-9)
    assert found.n == 5
    assert off_support_mass(ref, ref, top_p=top_p).value <= 1 - top_p + 1e-9


def test_the_support_may_be_the_responses_of_the_data():
    policy = np.log([[0.2, 0.3, 0.5]])
    assert off_support_mass(policy, policy, support=[[True, False, True]]).value == pytest.approx(0.3)
    with pytest.raises(ValueError, match="off_support_mass: arguments must share one shape"):
        off_support_mass(policy, policy, support=[[True, False]])
    with pytest.raises(ValueError, match=r"off_support_mass: logps must have shape \(any, any\)"):
        off_support_mass(policy[0], policy[0])
    with pytest.raises(ValueError, match=r"off_support_mass: top_p is 1.5, outside"):
        off_support_mass(policy, policy, top_p=1.5)


def test_controllability_is_a_rank_correlation_with_prompts_as_units():
    rng = np.random.default_rng(4)
    goals = np.tile([2.0, 5.0, 8.0], (30, 1))
    scores = goals + 4 * rng.normal(size=goals.shape) + 3 * rng.normal(size=(30, 1))
    scores[3, 1] = NAN
    known = ~np.isnan(scores)
    found = goal_controllability(goals, scores)
    assert found.value == pytest.approx(spearmanr(goals[known], scores[known]).statistic)
    assert found.n == 30
    assert found.low < found.value < found.high
    with pytest.raises(ValueError, match="goal_controllability: arguments must share one shape"):
        goal_controllability(goals, scores[:2])
    with pytest.raises(ValueError, match=r"goal_controllability: requested must have shape \(any, any\)"):
        goal_controllability(goals[0], scores[0])


def test_the_share_of_prompts_is_that_of_the_analysis_of_variance():
    rng = np.random.default_rng(5)
    rewards = rng.normal(size=(12, 1)) + rng.normal(size=(12, 5))
    f = f_oneway(*rewards).statistic
    assert prompt_offset_sensitivity(rewards).value == pytest.approx((f - 1) / (f + 5 - 1))
    unequal = rewards.copy()
    unequal[:4, 3:], unequal[7, 1:] = NAN, NAN  # the eighth prompt keeps one response
    groups = [row[~np.isnan(row)] for i, row in enumerate(unequal) if i != 7]
    sizes = np.array([len(group) for group in groups])
    m = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(sizes) - 1)
    f = f_oneway(*groups).statistic
    found = prompt_offset_sensitivity(unequal)
    assert (found.value, found.n) == (pytest.approx((f - 1) / (f + m - 1)), 11)


def test_offsets_that_preferences_cannot_see_are_found_and_noise_is_not():
    rng = np.random.default_rng(6)
    within = rng.normal(size=(300, 8))
    assert prompt_offset_sensitivity(within).low < 0.02
    offset = prompt_offset_sensitivity(within + 3 * rng.normal(size=(300, 1)))
    assert offset.low < 0.9 < offset.high  # 9 / (9 + 1)
    assert math.isnan(prompt_offset_sensitivity(np.ones((4, 3))).value)
    assert math.isnan(prompt_offset_sensitivity(within[:1]).value)
    with pytest.raises(ValueError, match=r"prompt_offset_sensitivity: rewards must have shape \(any, any\)"):
        prompt_offset_sensitivity(within[0])


@pytest.fixture(scope="module")
def models():
    """Token log-probabilities (2, 2, 27, 3) of two drawn policies, with their tables at every prefix."""
    tree, streams = PrefixTree(n_prompts=2, n_tokens=3, length=3), Streams([0, 1])
    tables = [9 * tree.next_token(tree.policy(streams, width=8)).detach() for _ in range(2)]
    tables = [table.log_softmax(dim=-1) for table in tables]
    return tree, tables, [tree.token_logps(table)[:, 0].numpy() for table in tables]


def test_partial_sums_are_soft_values_unless_a_model_is_not_normalized(models):
    _, _, (policy, ref) = models
    assert soft_value_identity_error(policy, ref, beta=0.3) < 1e-12
    assert soft_value_identity_error(policy, ref * 1.1) > 0.05
    assert soft_value_identity_error(policy * 1.1, ref) > 0.05
    assert soft_value_identity_error(np.roll(policy, 1, axis=2), ref) > 0.05  # of other responses


def test_the_gap_is_the_divergence_of_token_and_sequence_optima(models):
    tree, (policy, ref), logps = models
    for w in (0.0, 0.5, 1.0, 2.0):
        mixed = w * policy + (1 - w) * ref
        teacher = tree.token_logps(mixed.log_softmax(dim=-1)).sum(dim=-1)
        optimum = tree.token_logps(mixed).sum(dim=-1).log_softmax(dim=-1)
        expected = (teacher.exp() * (teacher - optimum)).sum(dim=-1)[:, 0].numpy()
        gap = per_state_equivalence_gap(*logps, w=w)
        assert gap == pytest.approx(expected, abs=1e-12)
        assert (gap < 1e-12).all() if w in (0.0, 1.0) else (gap > 1e-4).all()


def test_the_cap_bounds_the_mean_reward_of_a_set(models):
    _, _, (policy, ref) = models
    rewards = 0.3 * (policy - ref).sum(axis=-1)
    mass = np.exp(ref.sum(axis=-1))
    right = np.arange(27) % 4 == 0
    p = mass[..., right].sum(axis=-1)
    mean = (mass * rewards)[..., right].sum(axis=-1) / p
    assert (mean <= reward_cap(p, beta=0.3)).all()
    tight = -0.3 * np.log(p)  # a policy that gives nothing else reaches it
    assert reward_cap(p, beta=0.3) == pytest.approx(tight)
    assert reward_cap([0.0, 1.0], beta=1.0).tolist() == [math.inf, 0.0]
    with pytest.raises(ValueError, match=r"reward_cap: probability is 1.5, outside"):
        reward_cap([0.5, 1.5], beta=1.0)


def test_listed_models_have_all_responses(models):
    _, _, (policy, ref) = models
    with pytest.raises(ValueError, match=r"soft_value_identity_error: got shapes .* Pass"):
        soft_value_identity_error(policy[..., :26, :], ref[..., :26, :])
    with pytest.raises(ValueError, match=r"per_state_equivalence_gap: got shapes .* all responses of T tokens"):
        per_state_equivalence_gap(policy, ref[:1], w=2.0)
