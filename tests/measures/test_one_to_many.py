"""Ranks among many wrong answers against sorted lists, and step aggregates against the authors' formulas."""

import math
import random

import numpy as np
import pytest
from scipy.stats import gmean

from rewardsmith.measures import aggregate_steps, mrr, one_to_many_accuracy, pairwise_duel_rank, solution_score

NAN = math.nan
H10 = sum(1 / k for k in range(1, 11))


def sorted_rank(scores):
    """The rule of RewardMATH: sort (score, tag) downward, where "rej" comes before "cho" on a tie."""
    tagged = [(scores[0], "cho"), *((s, "rej") for s in scores[1:])]
    return 1 + [tag for _, tag in sorted(tagged, reverse=True)].index("cho")


def test_ranks_are_those_of_a_sorted_list_with_ties_against_the_right_answer():
    rng = random.Random(0)
    rows = [[float(rng.randrange(4)) for _ in range(10)] for _ in range(60)]
    assert mrr(rows).value == pytest.approx(np.mean([1 / sorted_rank(row) for row in rows]))
    assert one_to_many_accuracy(rows).value == np.mean([row[0] > max(row[1:]) for row in rows])
    assert one_to_many_accuracy(rows, strict=False).value == np.mean([row[0] >= max(row[1:]) for row in rows])


def test_by_hand():
    rows = [[2.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 2.0], [1.0, 2.0, 1.0]]
    # ranks with ties against it 1, 3, 3, 3; over all orders of ties the last has ½ and ⅓, the second 1, ½ and ⅓
    assert mrr(rows).value == pytest.approx((1 + 1 / 3 + 1 / 3 + 1 / 3) / 4)
    assert mrr(rows, ties="mean").value == pytest.approx((1 + 11 / 18 + 1 / 3 + 5 / 12) / 4)
    assert one_to_many_accuracy(rows)[:1] == (0.25,)
    assert one_to_many_accuracy(rows, strict=False)[:1] == (0.5,)


def test_a_constant_score_has_the_worst_rank_or_that_of_chance():
    constant = np.ones((5, 10))
    assert mrr(constant).value == pytest.approx(0.1)
    assert mrr(constant, ties="mean").value == pytest.approx(H10 / 10)  # .2929
    assert one_to_many_accuracy(constant).value == 0.0
    assert one_to_many_accuracy(constant, strict=False).value == 1.0


def test_an_unscored_answer_leaves_the_prompt_out_or_is_ranked_last_on_request():
    rows = [[1.0, 0.0, 0.5], [None, 0.0, 0.5], [1.0, NAN, 0.5], [None, math.inf, None]]
    assert mrr(rows)[::3] == (1.0, 1)
    assert one_to_many_accuracy(rows).n == 1
    # the right answer: first, last of 3, first (its rival has no score), last
    assert mrr(rows, missing="worst").value == pytest.approx((1 + 1 / 3 + 1 + 1 / 3) / 4)
    assert one_to_many_accuracy(rows, missing="worst", strict=False).value == 0.5
    assert math.isnan(mrr([[None, 1.0]]).value)


def test_intervals_are_over_prompts():
    rows = [[1.0, 0.0]] * 7 + [[0.0, 1.0]] * 3
    share = one_to_many_accuracy(rows)
    assert share[1:] == pytest.approx((0.39677815, 0.89220886, 10))  # Wilson of 7 in 10 (statsmodels' table)
    found = mrr(rows)
    spread = np.std([1.0] * 7 + [0.5] * 3, ddof=1) / math.sqrt(10)
    assert found.high - found.value == pytest.approx(2.262157 * spread, rel=1e-6)  # t of 9 degrees of freedom


def test_the_rank_of_duels_counts_the_lost_ones():
    ranks = pairwise_duel_rank([[1, 1, 1], [0, 0, 0], [1, 0, NAN]])
    assert ranks[:2].tolist() == [1.0, 4.0]
    assert math.isnan(ranks[2])


def logit_mean(p):
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return 1 / (1 + np.exp(-np.mean(np.log(p / (1 - p)))))


REFERENCE = {
    "min": min,
    "max": max,
    "prod": np.prod,
    "geometric_mean": gmean,
    "mean": np.mean,
    "last": lambda p: p[-1],
    "mean_logit": logit_mean,
    "mean_odds": lambda p: np.mean(np.clip(p, 1e-6, 1 - 1e-6) / (1 - np.clip(p, 1e-6, 1 - 1e-6))),
}


@pytest.mark.parametrize("how", list(REFERENCE))
def test_step_scores_are_aggregated_by_the_authors_formulas(how):
    rows = [[0.2, 0.9, 0.5], [1.0, 0.7], [0.0, 0.4], [0.3]]
    table = np.array([row + [NAN] * (3 - len(row)) for row in rows])
    found = aggregate_steps(table, ~np.isnan(table), how)
    with np.errstate(divide="ignore"):
        assert found == pytest.approx([REFERENCE[how](np.array(row)) for row in rows])
    assert [solution_score(row, how) for row in rows] == found.tolist()


def test_certain_steps_stay_finite_and_the_geometric_mean_ignores_length():
    for how in ("mean_logit", "mean_odds"):
        assert np.isfinite(aggregate_steps([[1.0, 1.0], [0.0, 1.0]], how=how)).all()
    long, short = aggregate_steps([[0.9] * 8, [0.9] * 2 + [0.0] * 6], np.arange(8) < [[8], [2]])
    assert long == pytest.approx(short)
    assert np.diff(aggregate_steps([[0.9] * 8, [0.9] * 2 + [0.0] * 6], np.arange(8) < [[8], [2]], "prod")) > 0.3


def test_a_solution_without_steps_has_no_score_and_ranks_last():
    found = aggregate_steps([[0.9, 0.9], [0.1, NAN], [0.6, 0.5]], [[False, False], [True, True], [True, True]], "min")
    assert np.isnan(found[:2]).all()
    assert mrr([found[[0, 2, 2]]], missing="worst").value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mrr([[1.0], [2.0]]), r"mrr: scores have shape \(2, 1\)\. Pass \(B, 1 \+ m\)"),
        (lambda: mrr([[1.0, 2.0]], ties="best"), "mrr: ties is 'best'"),
        (lambda: one_to_many_accuracy([[1.0, 2.0]], missing="zero"), "one_to_many_accuracy: missing is 'zero'"),
        (lambda: pairwise_duel_rank([[0.5]]), "pairwise_duel_rank: wins .* values other than 0 and 1"),
        (lambda: aggregate_steps([0.5]), r"aggregate_steps: step_scores have shape \(1,\)"),
        (lambda: aggregate_steps([[0.5]], [[True, True]]), "aggregate_steps: arguments must share one shape"),
        (lambda: solution_score([1.5], "mean_odds"), "a step score is 1.5 .* mean_odds wants probabilities"),
    ],
)
def test_what_cannot_be_ranked_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
