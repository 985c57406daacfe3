"""Conformal sets, risk by coverage, fronts, volumes, ceilings and correlations against slow or other computations."""

import math
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
from scipy import stats

from rewardsmith.measures import (
    association,
    best_of_n_curve,
    ceiling_curve,
    conformal_sets,
    hypervolume,
    member_uncertainty,
    pareto_front,
    risk_coverage,
)

NAN = math.nan


def test_members_that_agree_share_no_information_and_the_rest_follows_from_entropies():
    rng = np.random.default_rng(0)
    margins = rng.normal(size=(6, 4)) * 2
    p = 1 / (1 + np.exp(-margins))
    found = member_uncertainty(margins)
    entropy = np.vectorize(lambda q: stats.bernoulli(q).entropy())
    assert found.mutual_information == pytest.approx(entropy(p.mean(axis=1)) - entropy(p).mean(axis=1))
    assert found.std == pytest.approx(p.std(axis=1))
    alike = member_uncertainty([[1.5, 1.5, 1.5], [800.0, 800.0, 800.0]])
    assert alike.std.tolist() == [0.0, 0.0]
    assert alike.mutual_information == pytest.approx([0.0, 0.0], abs=1e-12)
    assert np.isnan(member_uncertainty([[1.0, NAN]]).mutual_information).all()


@pytest.mark.parametrize(
    ("n", "alpha", "place"), [(9, 0.1, 9), (8, 0.1, None), (19, 0.1, 18), (4, 0.5, 3), (99, 0.05, 95)]
)
def test_the_threshold_is_the_finite_sample_quantile(n, alpha, place):
    misfit = np.random.default_rng(n).permutation(np.arange(1, n + 1) / (n + 1))
    won = np.arange(n) % 2 == 0
    sets = conformal_sets(
        [0.4], calibration_p=np.where(won, 1 - misfit, misfit), calibration_first_won=won, alpha=alpha
    )
    assert sets.threshold == pytest.approx(math.inf if place is None else place / (n + 1))
    assert sets.n_calibration == n


def test_coverage_over_every_choice_of_the_new_pair_is_the_promised_share():
    # Exchangeable pairs: each of n + 1 takes its turn as the new one. Without ties the mean is ⌈(n+1)(1−α)⌉/(n+1).
    p, won = np.array([0.9, 0.2, 0.6, 0.35, 0.75, 0.55]), np.array([1, 1, 0, 0, 1, 0])
    hits = []
    for k in range(6):
        rest = np.arange(6) != k
        sets = conformal_sets(p[[k]], calibration_p=p[rest], calibration_first_won=won[rest], alpha=0.35)
        hits.append(sets.coverage(won[[k]]).value)
    assert np.mean(hits) == pytest.approx(4 / 6)  # ⌈6 · 0.65⌉ = 4


def test_few_pairs_or_an_unknown_preference_abstain():
    sets = conformal_sets([0.99, NAN], calibration_p=[0.9, None], calibration_first_won=[True, True], alpha=0.1)
    assert sets.threshold == math.inf
    assert not sets.decides.any()
    assert sets.coverage([None, True]) == sets.coverage([None, False])
    sure = conformal_sets([0.9, NAN], calibration_p=[0.8] * 20, calibration_first_won=[True] * 20)
    assert sure.decides.tolist() == [True, False]
    assert sure.first.all()


def mean_risk_over_orders(confidence, correct):
    orders = [
        o for o in permutations(range(len(correct))) if all(confidence[a] >= confidence[b] for a, b in pairwise(o))
    ]
    return np.mean([[np.mean([1 - correct[i] for i in o[: k + 1]]) for k in range(len(o))] for o in orders], axis=0)


def test_risk_is_the_mean_over_the_orders_of_tied_confidences():
    confidence, correct = [0.9, 0.5, 0.5, 0.5, 0.2, 0.2], [1, 0, 1, 0, 0, 1]
    found = risk_coverage([*confidence, NAN], [*correct, 1])
    expected = mean_risk_over_orders(confidence, correct)
    assert found.risk == pytest.approx(expected)
    assert found.aurc.value == pytest.approx(expected.mean())
    assert found.coverage[-1] == 1.0
    assert found.aurc.low < found.aurc.value < found.aurc.high


def test_confidence_that_says_nothing_keeps_the_error_of_all():
    assert risk_coverage([0.5] * 8, [1, 0] * 4).risk.tolist() == [0.5] * 8


def by_inclusion_exclusion(points, reference):
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in combinations(points, size):
            sides = np.maximum(np.min(chosen, axis=0) - reference, 0)
            total += (-1) ** (size + 1) * np.prod(sides)
    return total


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_volume_is_that_of_inclusion_and_exclusion(k):
    rng = np.random.default_rng(k)
    points, reference = rng.normal(size=(7, k)), np.full(k, -0.5)
    points[1] = points[0]  # a copy adds nothing
    assert hypervolume(points, reference) == pytest.approx(by_inclusion_exclusion(points, reference))
    front = points[pareto_front(points)]
    assert hypervolume(front, reference) == pytest.approx(hypervolume(points, reference))


def test_the_front_is_that_of_a_loop_and_holds_no_unknown_point():
    points = np.random.default_rng(5).integers(0, 4, size=(40, 3)).astype(float)
    points[0, 1] = NAN
    beaten = [any((q >= p).all() and (q > p).any() for q in points) for p in points]
    assert pareto_front(points).tolist() == [
        not b and not np.isnan(p).any() for p, b in zip(points, beaten, strict=True)
    ]


@pytest.mark.slow
def test_the_ceiling_lies_under_the_oracle_of_the_same_pool():
    rng = np.random.default_rng(2)
    gold = rng.normal(size=(30, 16))
    hacks = rng.random(gold.shape) < 0.1
    rewards = np.where(hacks, 5.0 + gold, gold)
    gold[hacks] -= 3.0  # it is paid for what is worst, so gold falls in the end
    rewards[0, 0] = NAN
    for kind, strengths in (("best_of_n", [1, 2, 4, 8, 15]), ("tilted", [0.0, 0.1, 0.5, 1.0])):
        found = ceiling_curve(rewards, gold, strengths, kind=kind)
        assert found.slack.value > 0
        assert found.ceiling.value + found.slack.value == pytest.approx(found.oracle.value)
        assert found.turn is not None
        perfect = ceiling_curve(gold, gold, strengths, kind=kind)
        assert perfect.slack == pytest.approx((0.0, 0.0, 0.0, 30))
        assert perfect.turn is None
        assert perfect.strength == strengths[-1]
    known = np.where(np.isnan(rewards), NAN, gold)
    by_n = best_of_n_curve(rewards, known, n=[1, 2, 4, 8, 15]).gold.mean
    assert ceiling_curve(rewards, gold, [1, 2, 4, 8, 15], kind="best_of_n").ceiling.value == pytest.approx(by_n.max())


def test_correlations_are_scipys_and_the_partial_one_is_that_of_residuals():
    rng = np.random.default_rng(3)
    z = rng.normal(size=20)
    x, y = z + rng.normal(size=20), z - rng.normal(size=20)
    y[3] = y[4]
    found = association([*x, 1.0], [*y, NAN], given=[*z, 0.0])
    assert found.pearson.value == pytest.approx(stats.pearsonr(x, y)[0])
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y)[0])
    design = np.stack([np.ones(20), z], axis=1)
    rx, ry = (v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y))
    assert found.partial.value == pytest.approx(stats.pearsonr(rx, ry)[0])
    assert found.n == 20
    assert found.x_range == (x.min(), x.max())
    assert "partial r" in found.as_text()
    assert "n = 20" in found.as_text()


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3, 2.3])
def test_a_column_of_one_number_has_no_correlation_whatever_its_mean_is_rounded_to(value):
    for n in range(8, 14):
        found = association([value] * n, np.arange(n) % 5).pearson
        assert np.isnan(found.value)
        assert found[1:3] == (-1.0, 1.0)
    z = np.random.default_rng(0).normal(size=20)
    assert np.isnan(association(z[::-1], 2 * z + value, given=z).partial.value)  # nothing of y is left


def test_the_interval_is_a_percentile_bootstrap_over_units():
    rng = np.random.default_rng(4)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    found = association(x, y, n_resamples=4000).pearson
    how = {"paired": True, "vectorized": False, "method": "percentile", "n_resamples": 1000}
    done = stats.bootstrap((x, y), lambda a, b: np.corrcoef(a, b)[0, 1], **how, rng=np.random.default_rng(0))
    other = done.confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(other), abs=0.03)
    flat = association(np.ones(9), np.arange(9))
    assert math.isnan(flat.pearson.value)
    assert flat.pearson[1:3] == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: member_uncertainty([[1.0]]), "member_uncertainty: margins have shape .* two members"),
        (lambda: conformal_sets([0.5], calibration_p=[0.5], calibration_first_won=[0.5]), "a label is neither 0 nor 1"),
        (lambda: conformal_sets([0.5], calibration_p=[0.5], calibration_first_won=[1, 1]), "share one shape"),
        (lambda: conformal_sets([0.5], calibration_p=[0.5], calibration_first_won=[1], alpha=2), "alpha is 2"),
        (lambda: hypervolume([[1.0, 2.0]], [0.0]), r"hypervolume: the reference is \[0.0\] for 2 objectives"),
        (lambda: pareto_front([1.0]), r"pareto_front: points have shape \(1,\)"),
        (lambda: association(range(7), range(7)), "association: 7 units .* fewer than 8 says nothing"),
        (lambda: ceiling_curve([[1.0, 2.0]], [[1.0, 2.0]], [1], kind="ppo"), "ceiling_curve: kind is 'ppo'"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
