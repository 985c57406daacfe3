"""Games, consistency of rankings, agreement and signs of collapse against linear programs, least squares and SciPy."""

import math

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import entropy, kendalltau, spearmanr

from rewardsmith.measures import (
    agreement,
    answer_entropy,
    consistency_to_strength,
    exploitability,
    intransitivity,
    label_length_correlation,
    rank_consistency,
    transitive_fit_error,
)

NAN = math.nan


def drawn(*lead, size=5, cycle=1.0, seed=0):
    """Log-odds of scores plus a cycle of that strength."""
    rng = np.random.default_rng(seed)
    scores, angles = rng.normal(size=(*lead, size)), rng.uniform(0, 2 * np.pi, size=(*lead, size))
    apart = [x[..., :, None] - x[..., None, :] for x in (scores, angles)]
    return apart[0] + cycle * np.sin(apart[1])


def test_the_nash_policy_cannot_be_exploited_and_a_pure_one_loses_to_its_best_answer():
    wins = 1 / (1 + np.exp(-drawn(cycle=3.0)))
    size = len(wins)
    game = linprog(  # the least v with P(a ≻ π) ≤ v for every a
        [*np.zeros(size), 1.0],
        A_ub=np.column_stack([wins, -np.ones(size)]),
        b_ub=np.zeros(size),
        A_eq=[[*np.ones(size), 0.0]],
        b_eq=[1.0],
    )
    assert exploitability(wins, game.x[:-1]).item() == pytest.approx(0.0, abs=1e-9)
    pure = exploitability(np.stack([wins] * size), np.eye(size))
    assert pure == pytest.approx([max(wins[:, b]) - 0.5 for b in range(size)])
    with pytest.raises(ValueError, match=r"exploitability: policy must have shape \(5\), got \(4,\)"):
        exploitability(wins, np.ones(4) / 4)
    with pytest.raises(ValueError, match=r"the two orders of a pair sum to 1 ± 0.1, not 1. Average both orders"):
        exploitability(wins + 0.05, game.x[:-1])
    with pytest.raises(ValueError, match=r"exploitability: the table must have shape \(4, 4\), got \(5, 4\)"):
        exploitability(wins[:, :4], np.ones(4) / 4)


def test_the_cyclic_share_is_what_no_scores_fit_by_least_squares():
    table = drawn(3, cycle=2.0)
    first, second = np.triu_indices(5, 1)
    incidence = np.eye(5)[first] - np.eye(5)[second]
    for log_odds, found in zip(table, intransitivity(table), strict=True):
        flow = log_odds[first, second]
        rest = flow - incidence @ np.linalg.lstsq(incidence, flow, rcond=None)[0]
        assert found == pytest.approx((rest**2).sum() / (flow**2).sum())
    assert intransitivity(drawn(cycle=0.0)).item() == pytest.approx(0.0, abs=1e-12)
    assert intransitivity(np.zeros((3, 3))).item() == 0.0
    assert np.isnan(intransitivity([[0.0, NAN], [NAN, 0.0]]))
    with pytest.raises(ValueError, match=r"intransitivity: the two orders of a pair sum to 0"):
        intransitivity(np.ones((2, 2)))


def test_the_transitive_error_is_that_of_scores_fitted_to_the_log_odds_by_least_squares():
    log_odds = drawn(2, cycle=2.0)
    first, second = np.triu_indices(5, 1)
    incidence = np.eye(5)[first] - np.eye(5)[second]
    found = transitive_fit_error(1 / (1 + np.exp(-log_odds)))
    for table, value in zip(log_odds, found, strict=True):
        fitted = incidence @ np.linalg.lstsq(incidence, table[first, second], rcond=None)[0]
        error = 1 / (1 + np.exp(-table[first, second])) - 1 / (1 + np.exp(-fitted))
        assert value == pytest.approx(np.sqrt((error**2).mean()))
    scores = 1 / (1 + np.exp(-drawn(4, cycle=0.0)))
    assert transitive_fit_error(scores) == pytest.approx(np.zeros(4), abs=1e-12)
    certain = transitive_fit_error([[0.5, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5]]).item()
    assert 0 < certain < 0.02  # three clear wins are no sum of scores; they count as log-odds of 6.9


def scores_with_ties(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, size=(2, 60, 7)).astype(float)


@pytest.mark.parametrize(("method", "theirs"), [("kendall", kendalltau), ("spearman", spearmanr)])
def test_consistency_is_scipy_s_rank_correlation_on_the_responses_that_count(method, theirs):
    a, b = scores_with_ties()
    a[0, 2], b[1, 3] = NAN, NAN
    mask = np.random.default_rng(1).random(a.shape) < 0.7
    found = rank_consistency(a, b, method=method, mask=mask)
    unknown = 0
    for row in range(60):
        kept = mask[row] & ~np.isnan(a[row]) & ~np.isnan(b[row])
        x, y = a[row, kept], b[row, kept]
        if len(set(zip(x, y, strict=True))) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
            assert math.isnan(found[row])
            unknown += 1
        else:
            assert found[row] == pytest.approx((theirs(x, y).statistic + 1) / 2)
    assert 0 < unknown < 30


def test_the_top_order_compares_the_best_and_the_worst_not_the_first_and_the_last():
    a = [[0.3, 0.9, 0.1, 0.5]] * 3
    b = [[5.0, 9.0, 1.0, 2.0], [1.0, 9.0, 5.0, 2.0], [0.3, 0.5, 0.1, 0.9]]
    assert rank_consistency(a, b, method="top").tolist() == [1.0, 0.0, 0.0]
    masked = rank_consistency(a, b, method="top", mask=[[True, False, True, True]] * 3)
    assert masked.tolist() == [0.0, 0.0, 1.0]  # best, worst: 3, 2 against 0, 2; 2, 0; 3, 2


def test_consistency_does_not_fall_with_duplicates_of_a_response_and_refuses_what_does_not_pair():
    a, b = [[1.0, 1.0, 2.0]], [[3.0, 3.0, 4.0]]
    assert np.isnan(rank_consistency(a, b))  # two distinct responses
    with pytest.raises(ValueError, match="rank_consistency: arguments must share one shape"):
        rank_consistency(a, b[0])
    with pytest.raises(ValueError, match="rank_consistency: method is 'pearson', which is not one of 'kendall', 's"):
        rank_consistency(a, b, method="pearson")


def test_a_soft_label_is_a_hard_one_with_a_pull_to_indifference():
    c, h = np.array([0.55, 0.7, 0.95, 1.0]), 0.8
    loss = [np.log1p(np.exp(-h)), np.log1p(np.exp(h))]
    strength = consistency_to_strength(c)
    mixed = (1 + strength) * (c * loss[0] + (1 - c) * loss[1])
    assert mixed == pytest.approx(loss[0] + strength / 2 * (loss[0] + loss[1]))
    assert consistency_to_strength(0.5) == math.inf
    assert np.isnan(consistency_to_strength([0.4, NAN])).all()


@pytest.mark.parametrize("least_confidence", [0.0, 0.4])
def test_agreement_keeps_the_pairs_on_which_every_view_is_decided_alike(least_confidence):
    p = np.random.default_rng(2).random((3, 200)).round(1)  # some exactly at ½
    p[1, 4] = NAN
    found = agreement(p, least_confidence=least_confidence)
    for b in range(200):
        verdicts = {None if v == 0.5 or math.isnan(v) else v > 0.5 for v in p[:, b]}
        sure = all(abs(2 * v - 1) >= least_confidence for v in p[:, b])
        kept = len(verdicts) == 1 and None not in verdicts and sure
        assert found.mask[b] == kept
        assert found.label[b] == verdicts.pop() if kept else math.isnan(found.label[b])
    assert agreement([[0.6], [0.7]], threshold=0.65).mask.tolist() == [False]
    with pytest.raises(ValueError, match=r"agreement: probabilities of shape \(2,\) must be \(K, B\)"):
        agreement([0.5, 0.5])
    with pytest.raises(ValueError, match="agreement: threshold is 2, outside"):
        agreement(p, threshold=2)


def test_the_length_correlation_is_pearson_s_over_both_orders_of_every_pair():
    rng = np.random.default_rng(3)
    first, second, labels = rng.integers(1, 50, 40), rng.integers(1, 50, 40), rng.random(40)
    signs = np.concatenate([2 * labels - 1, 1 - 2 * labels])
    apart = np.concatenate([first - second, second - first])
    found = label_length_correlation(first, second, labels)
    assert found.value == pytest.approx(np.corrcoef(signs, apart)[0, 1])
    assert found.low < found.value < found.high
    swapped = label_length_correlation(second, first, 1 - labels)
    assert swapped.value == pytest.approx(found.value)
    missing = label_length_correlation([*first, NAN], [*second, 3.0], [*labels, 1.0])
    assert missing == found
    assert math.isnan(label_length_correlation([3, 4], [3, 4]).value)
    with pytest.raises(ValueError, match="label_length_correlation: arguments must share one shape"):
        label_length_correlation(first, second[:3])
    with pytest.raises(ValueError, match=r"label_length_correlation: labels holds 1.5, outside \[0, 1\]"):
        label_length_correlation([1], [2], [1.5])


def test_answers_to_different_questions_have_the_entropy_of_their_counts():
    answers = ["4", "4", "7", None, "1", "4"]
    assert answer_entropy(answers) == pytest.approx(entropy([3, 1, 1]))
    assert answer_entropy(["0"] * 9) == 0.0
    assert math.isnan(answer_entropy([None]))
