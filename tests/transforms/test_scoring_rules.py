"""Scoring-rule rewards against enumeration: of reports, of probabilities, and of what a policy would choose."""

import math
from functools import partial
from itertools import pairwise, product

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import brier_reward
from rewardsmith.transforms.scoring_rules import incentive_compatible, linear_reward, log_score_reward, spherical_reward
from rewardsmith.types import traits_of

NAN, INF = math.nan, math.inf
EPS = 0.01
RULES = {
    "brier": brier_reward,
    "spherical": spherical_reward,
    "log": partial(log_score_reward, eps=0.0),
    "log_clipped": partial(log_score_reward, eps=EPS),
    "linear": linear_reward,
}
PROPER = ["brier", "spherical", "log", "log_clipped"]


def slow_score(rule, q, z):
    """S(q, z), from the textbook formula of each rule."""
    if rule == "brier":
        return -((q - z) ** 2)
    if rule == "spherical":
        return (z * q + (1 - z) * (1 - q)) / math.sqrt(q * q + (1 - q) * (1 - q)) - 1
    if rule == "linear":
        return -abs(q - z)
    if rule == "log_clipped":
        q = min(max(q, EPS), 1 - EPS)
    of_truth = q if z else 1 - q
    return math.log(of_truth) if of_truth else -INF


def slow_value(rule, a, w, p, q):
    """Expected reward of an answer that is right with probability p, stated with confidence q."""
    right = p * (a + w * slow_score(rule, q, 1)) if p else 0.0
    wrong = (1 - p) * w * slow_score(rule, q, 0) if p < 1 else 0.0
    return right + wrong


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("a", "w"), [(1.0, 1.0), (0.5, 0.5), (0.0, 1.0), (1.0, -1.0), (2.0, 0.0)])
def test_rewards_are_correctness_plus_the_score(rule, a, w):
    pairs = list(product((0.0, 1.0), (0.0, 0.005, 0.3, 0.5, 0.9, 1.0)))
    rewards, confidence = torch.tensor(pairs, dtype=torch.float64).unbind(dim=1)
    got = RULES[rule](rewards, confidence, accuracy_weight=a, weight=w)
    expected = [a * z + (w * slow_score(rule, q, z) if w else 0.0) for z, q in pairs]
    assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_the_brier_reward_is_that_of_rlcr_and_an_honest_report_earns_p_squared():
    for p in (0.0, 0.2, 0.5, 0.9, 1.0):
        q = torch.full((2,), p, dtype=torch.float64)
        given_wrong, given_right = brier_reward(torch.tensor([0.0, 1.0], dtype=torch.float64), q).tolist()
        assert p * given_right + (1 - p) * given_wrong == pytest.approx(p**2)


@pytest.mark.parametrize("rule", RULES)
def test_the_honest_report_is_optimal_under_every_proper_rule_and_not_under_the_linear_one(rule):
    reports = torch.linspace(0, 1, 101, dtype=torch.float64)
    given = [RULES[rule](torch.full_like(reports, z), reports) for z in (0.0, 1.0)]
    for i in range(2, 99):
        p = i / 100
        best = int((p * given[1] + (1 - p) * given[0]).argmax())
        if rule in PROPER:
            assert best == i
        elif i != 50:
            assert best == (0 if p < 0.5 else 100)


@pytest.mark.parametrize("rule", PROPER)
@pytest.mark.parametrize(("a", "w"), [(1.0, 1.0), (0.5, 1.0), (0.0, 1.0), (1.0, 0.25), (4.6, 1.0), (4.5, 1.0)])
def test_the_margin_is_the_smallest_slope_of_the_best_value_over_all_probabilities(rule, a, w):
    step = 1e-4
    grid = [i / 50 for i in range(51)] + [EPS, 1 - EPS, step, 1 - step]
    slopes = []
    for p in (i * 0.005 for i in range(200)):
        # reports: the grid, and the honest one, which a proper rule makes the best
        low, high = (max(slow_value(rule, a, w, x, q) for q in [*grid, x]) for x in (p, p + step))
        slopes.append((high - low) / step)
    got = incentive_compatible(partial(RULES[rule], accuracy_weight=a, weight=w))
    if rule == "log":
        assert got == (False, -INF)
        assert min(slopes) < a - 9 * w  # (log step − 1) of the first step alone, and no end as it shrinks
    else:
        assert got.margin == pytest.approx(min(slopes), abs=1e-3 * w)
        assert got.holds == (a >= w * (math.log((1 - EPS) / EPS) if rule == "log_clipped" else 1.0))


@pytest.mark.parametrize("rule", ["brier", "spherical", "log_clipped"])
@pytest.mark.parametrize(("a", "w"), [(1.0, 1.0), (0.5, 0.5), (0.9, 1.0), (0.0, 1.0), (5.0, 1.0), (3.0, 1.0)])
def test_it_holds_just_where_a_policy_that_may_answer_wrong_on_purpose_does_not(rule, a, w):
    reports = [i / 1000 for i in range(1001)]
    probabilities = [0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8]
    values = [max(slow_value(rule, a, w, p, q) for q in reports) for p in probabilities]
    tempted = any(low > high + 1e-12 for low, high in pairwise(values))
    assert incentive_compatible(partial(RULES[rule], accuracy_weight=a, weight=w)).holds == (not tempted)


def test_the_calculator_on_the_cases_of_the_paper():
    assert incentive_compatible(brier_reward).holds
    assert incentive_compatible(partial(brier_reward, accuracy_weight=0.5, weight=0.5)).holds  # the official weights
    assert not incentive_compatible(partial(brier_reward, accuracy_weight=0.5)).holds
    assert not incentive_compatible(partial(brier_reward, accuracy_weight=0.0)).holds
    assert not incentive_compatible(partial(RULES["log"], accuracy_weight=1e6)).holds
    assert not incentive_compatible(log_score_reward).holds
    assert incentive_compatible(partial(linear_reward, accuracy_weight=10.0)) == (False, -INF)
    for weight in (0.0, -1.0):  # nothing asks for honesty
        assert incentive_compatible(partial(brier_reward, weight=weight)) == (False, -INF)


def test_a_missing_confidence_is_unscored_or_earns_what_it_is_told_to():
    rewards, confidence = torch.tensor([1.0, 0.0, NAN, 1.0]), torch.tensor([NAN, NAN, NAN, 1.0])
    got = brier_reward(rewards, confidence)
    assert_close(got, torch.tensor([NAN, NAN, NAN, 1.0]), equal_nan=True)
    got = brier_reward(rewards, confidence, missing=-1.0)
    assert_close(got, torch.tensor([-1.0, -1.0, NAN, 1.0]), equal_nan=True)


def test_the_official_form_is_ours_plus_a_constant():
    # ½·z + ½·(1 − (q − z)²), with 0 where the format fails
    rewards, confidence = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([0.7, NAN, 0.2, 1.0])
    official = torch.tensor([0.5 + 0.5 * 0.91, 0.0, 0.5 * 0.96, 0.0])
    got = brier_reward(rewards, confidence, accuracy_weight=0.5, weight=0.5, missing=-0.5)
    assert_close(got + 0.5, official)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("a", "w", "missing"), [(1.0, 1.0, None), (0.5, -2.0, None), (-1.0, 1.0, 3.0)])
def test_the_declared_bounds_are_reached_and_not_left(rule, a, w, missing):
    transform = partial(RULES[rule], accuracy_weight=a, weight=w, missing=missing)
    bounds = traits_of(transform).bounded
    if rule == "log":
        assert bounds is None
        return
    pairs = torch.tensor(list(product((0.0, 1.0), [i / 100 for i in range(101)] + [NAN])), dtype=torch.float64)
    got = transform(*pairs.unbind(dim=1))
    got = got[~got.isnan()]
    assert (float(got.min()), float(got.max())) == pytest.approx(bounds)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_confidence_is_computed_in_single(dtype):
    confidence = torch.linspace(0, 1, 11, dtype=torch.float64).to(dtype)
    got = brier_reward(torch.zeros(11, dtype=dtype), confidence)
    assert got.dtype == dtype
    assert_close(got, (-confidence.double().square()).to(dtype))


@pytest.mark.parametrize("rule", RULES)
def test_wrong_arguments_are_refused(rule):
    z, name = torch.ones(2), getattr(RULES[rule], "func", RULES[rule]).__name__
    call = RULES[rule]
    with pytest.raises(
        ValueError, match=rf"{name}: confidence holds 90.0, but a confidence lies in \[0, 1\].*Divide percentages by"
    ):
        call(z, 90 * z)
    with pytest.raises(ValueError, match=f"{name}: confidence holds -1.0"):
        call(z, -z)
    with pytest.raises(ValueError, match=f"{name}: rewards holds 2.0, but a verdict is 0, 1"):
        call(2 * z, z)
    with pytest.raises(ValueError, match=f"{name}: arguments must share one shape"):
        call(z, z[:1])


def test_a_floor_outside_its_range_and_an_unknown_rule_are_refused():
    with pytest.raises(ValueError, match=r"log_score_reward: eps is 0.5, outside"):
        log_score_reward(torch.ones(2), torch.ones(2), eps=0.5)
    with pytest.raises(ValueError, match=r"incentive_compatible: eps is 0.5, outside"):
        incentive_compatible(partial(log_score_reward, eps=0.5))
    with pytest.raises(
        ValueError, match=r"incentive_compatible: no condition is known for sorted\(reverse=True\). Pass one"
    ):
        incentive_compatible(partial(sorted, reverse=True))
