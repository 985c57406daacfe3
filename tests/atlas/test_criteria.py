"""A criterion's text and its check say the same thing, with few seeds and with many."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import ttest_rel

from rewardsmith.atlas.criteria import (
    All,
    AtLeast,
    AtMost,
    LowerBound,
    PairedGain,
    RankAgreement,
    Within,
    sign_flip_p_value,
)

NAN = math.nan


@pytest.mark.parametrize(
    ("criterion", "values", "passes"),
    [
        (AtLeast("m/a", 0.5), [0.5], True),
        (AtLeast("m/a", 0.5), [0.4, 0.5], False),
        (AtLeast("m/a", 0.5), [0.0, 1.0], True),  # the mean counts, not each seed
        (AtMost("m/a", 0.5), [0.5], True),
        (AtMost("m/a", 0.5), [0.5, 0.6], False),
        (Within("m/a", 0.2, 0.4), [0.2, 0.4], True),
        (Within("m/a", 0.2, 0.4), [0.1], False),
        (Within("m/a", 0.2, 0.4), [0.5], False),
    ],
)
def test_bounds_hold_for_the_mean_over_seeds(criterion, values, passes):
    assert criterion.judge({"m/a": values}).passed is passes


@pytest.mark.parametrize(
    "criterion",
    [
        AtLeast("m/a", -9),
        AtMost("m/a", 9),
        Within("m/a", -9, 9),
        PairedGain("m/a", over="m/b", at_least=-9),
        PairedGain("m/a", over="m/b", at_most=9),
        PairedGain("m/a", over="m/b", at_least=-9, p_value=0.5),
        LowerBound("m/a", above=-9),
        LowerBound("m/a", over="m/b", above=-9, least_seeds=3),
        All(AtLeast("m/b", -9), AtLeast("m/a", -9)),
    ],
)
def test_a_seed_that_gave_nan_never_passes(criterion):
    assert not criterion.judge({"m/a": [0.0, NAN, 0.0], "m/b": [0.0, 0.0, 0.0]}).passed
    assert criterion.judge({"m/a": [2.0, 1.0, 3.0], "m/b": [0.0, 0.0, 0.0]}).passed


def test_paired_gain_pairs_by_seed_and_bounds_both_sides():
    results = {"m/a": [1.0, 5.0], "m/b": [0.5, 4.1]}  # gains 0.5 and 0.9, mean 0.7
    assert PairedGain("m/a", over="m/b", at_least=0.69).judge(results).passed
    assert not PairedGain("m/a", over="m/b", at_least=0.71).judge(results).passed
    assert PairedGain("m/a", over="m/b", at_most=0.71).judge(results).passed
    assert not PairedGain("m/a", over="m/b", at_most=0.69).judge(results).passed


def test_a_p_value_is_asked_only_where_enough_seeds_ran_to_reach_it():
    criterion = PairedGain("m/a", over="m/b", at_least=0.0, p_value=0.05)
    noisy = [3.0, -1.0, -1.0, 0.5, -1.0]  # mean 0.1; 2⁻⁵ ≤ 0.05 could be reached, and is not
    assert not criterion.judge({"m/a": noisy, "m/b": [0.0] * 5}).passed
    assert criterion.judge({"m/a": [3.0, -1.0], "m/b": [0.0] * 2}).passed  # 2⁻² > 0.05
    assert criterion.judge({"m/a": [1.0] * 5, "m/b": [0.0] * 5}).passed


@pytest.mark.parametrize("n", [5, 10])
def test_a_lower_bound_is_that_of_the_paired_t_interval(n):
    a, b = np.random.default_rng(n).normal([[1.0], [0.2]], 0.3, (2, n))
    low = float(ttest_rel(a, b).confidence_interval(0.95).low)
    for above, passes in ((low - 1e-9, True), (low + 1e-9, False)):
        assert LowerBound("m/a", over="m/b", above=above).judge({"m/a": a, "m/b": b}).passed is passes
        assert LowerBound("m/a", above=above).judge({"m/a": a - b}).passed is passes


def test_a_lower_bound_of_few_seeds_is_their_mean():
    criterion = LowerBound("m/a", above=0.1)
    assert criterion.judge({"m/a": [0.2]}).passed
    assert not criterion.judge({"m/a": [0.0, 0.125, 0.0625]}).passed
    assert not LowerBound("m/a", above=0.25).judge({"m/a": [0.25]}).passed  # above, not at
    assert criterion.judge({"m/a": [2.0, -1.0, -0.5, 0.5]}).passed  # mean 0.25; its interval reaches below 0
    assert not criterion.judge({"m/a": [2.0, -1.0, -0.5, 0.5, 0.25]}).passed
    assert not LowerBound("m/a", above=0.1, least_seeds=4).judge({"m/a": [2.0, -1.0, -0.5, 0.5]}).passed


@pytest.mark.parametrize("n", [1, 4, 7])
def test_the_sign_flip_p_value_equals_enumeration_of_all_signs(n):
    gain = np.random.default_rng(n).normal(0.5, 1.0, n)
    at_least = [sum(s * g for s, g in zip(signs, gain, strict=True)) >= gain.sum() - 1e-12
                for signs in product((-1, 1), repeat=n)]  # fmt: skip
    assert sign_flip_p_value(gain) == pytest.approx(sum(at_least) / 2**n)


def test_the_p_value_beyond_enumeration_is_near_the_exact_one():
    gain = np.random.default_rng(0).normal(0.6, 1.0, 14)
    signs = np.array(list(product((1, -1), repeat=14)))
    assert sign_flip_p_value(gain) == pytest.approx(float((signs @ gain >= gain.sum()).mean()), abs=0.01)


def test_a_gain_says_where_its_p_value_is_out_of_reach():
    """Of 2ⁿ sign patterns the smallest share is 2⁻ⁿ: 1/8 with 3 seeds, 1/128 ≤ 0.01 with 7."""
    gain = PairedGain("m/a", over="m/b", at_least=0.5, p_value=0.01)
    few, enough = (gain.judge({"m/a": [1.0] * n, "m/b": [0.0] * n}) for n in (3, 7))
    assert few == (True, str(gain), "+1; not tested: p ≤ 0.01 takes 7 seeds, 3 ran", ())
    assert enough == (True, str(gain), "+1, p = 0.0078", ())


def test_all_needs_every_part_and_keeps_their_verdicts():
    criterion = All(AtLeast("m/a", 1), AtMost("m/b", 1))
    verdict = criterion.judge({"m/a": [1.0], "m/b": [2.0]})
    assert not verdict.passed
    assert [part.passed for part in verdict.parts] == [True, False]
    assert verdict.sentence == "mean m/a ≥ 1; and mean m/b ≤ 1"
    assert criterion.judge({"m/a": [1.0], "m/b": [1.0]}).passed


@pytest.mark.parametrize(
    ("criterion", "sentence"),
    [
        (Within("m/a", 0.35, 0.65), "mean m/a in [0.35, 0.65]"),
        (PairedGain("m/a", over="m/b", at_most=0.02), "mean m/a − m/b, paired by seed, ≤ 0.02"),
        (LowerBound("m/a", above=0.1), "lower 95 % bound of m/a > 0.1 (the mean, where fewer than 5 seeds ran)"),
        (
            LowerBound("m/a", over="m/b", above=0, least_seeds=8),
            "lower 95 % bound of m/a − m/b, paired by seed, > 0 (the mean, where fewer than 8 seeds ran)",
        ),
        (
            PairedGain("m/a", over="m/b", at_least=1, p_value=0.01),
            "mean m/a − m/b, paired by seed, ≥ 1, exact sign-flip p ≤ 0.01 where that many seeds ran",
        ),
    ],
)
def test_a_verdict_carries_the_sentence_that_the_criterion_prints(criterion, sentence):
    assert str(criterion) == sentence
    assert criterion.judge({"m/a": [0.0], "m/b": [0.0]}).sentence == sentence


def test_rounding_errors_are_not_shown_as_a_gain():
    results = {"m/a": [1.0 - 1e-16], "m/b": [1.0]}
    assert PairedGain("m/a", over="m/b", at_least=-1).judge(results).observed == "+0"


def test_a_criterion_refuses_results_that_lack_its_name():
    with pytest.raises(ValueError, match=r"criterion: the results hold no 'm/a' \(they hold m/b\)"):
        AtLeast("m/a", 0).judge({"m/b": [1.0]})
    with pytest.raises(ValueError, match="and at least one seed"):
        AtLeast("m/a", 0).judge({"m/a": []})


def test_criteria_that_could_not_fail_are_refused():
    with pytest.raises(ValueError, match="PairedGain: m/a over m/b has no bound"):
        PairedGain("m/a", over="m/b")
    with pytest.raises(ValueError, match="PairedGain: p_value tests a gain, so it needs at_least"):
        PairedGain("m/a", over="m/b", at_most=1, p_value=0.05)
    with pytest.raises(ValueError, match="LowerBound: least_seeds is 1; one seed has no spread"):
        LowerBound("m/a", above=0, least_seeds=1)
    with pytest.raises(ValueError, match="All: no criteria given"):
        All()


def test_rank_agreement_is_of_the_arms_means():
    results = {"m/a": [0.0, 2.0], "m/b": [2.0, 2.0], "m/c": [3.0, 3.0], "n/a": [1.0], "n/b": [3.0], "n/c": [2.0]}
    ranks = RankAgreement("m", "n", ("a", "b", "c"), 0.5)  # 1 − 6·(0 + 1 + 1) / (3·8) = ½
    assert ranks.judge(results).passed
    assert not RankAgreement("m", "n", ("a", "b", "c"), 0.51).judge(results).passed
    assert str(ranks) == "Spearman of m and n over 3 arms' means ≥ 0.5"
