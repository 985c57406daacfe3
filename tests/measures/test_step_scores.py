"""Best-of-n by step scores against every choice of candidates, and step metrics against a loop over steps."""

import math
import random
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest

from rewardsmith.measures import best_of_n_curve, solution_score, step_metrics

NAN = math.nan
TOTALS = {
    "min": min,
    "prod": math.prod,
    "last": lambda s: s[-1],
    "mean": lambda s: sum(s) / len(s),
    "sum": sum,
    "max": max,
}


def enumerated(scores, gold, n):
    """The mean over all n-subsets of the gold of the best, ties broken evenly."""
    values = []
    for chosen in combinations(range(len(scores)), n):
        top = max(scores[i] for i in chosen)
        values.append(fmean(gold[i] for i in chosen if scores[i] == top))
    return fmean(values)


def solutions(seed, n_prompts=3, group_size=6, *, coarse=False):
    rng = random.Random(seed)

    def one():
        return rng.randrange(9) / 8 if coarse else rng.random()

    scores = [[one() for _ in range(rng.randint(1, 4))] for _ in range(n_prompts * group_size)]
    return scores, [float(rng.random() < 0.4) for _ in scores]


def best_of(scores, gold, *, group_size, n, how="min"):
    totals = np.reshape([solution_score(row, how) for row in scores], (-1, group_size))
    return best_of_n_curve(totals, np.reshape(gold, (-1, group_size)), n=n, n_resamples=1)


@pytest.mark.parametrize("how", list(TOTALS))
@pytest.mark.parametrize("coarse", [False, True], ids=["distinct", "tied"])
def test_best_of_n_is_the_mean_over_every_choice(how, coarse):
    scores, gold = solutions(4, coarse=coarse)
    totals = [TOTALS[how](row) for row in scores]
    curve = best_of(scores, gold, group_size=6, how=how, n=[1, 2, 3, 5, 6])
    for n, by_prompt in zip([1, 2, 3, 5, 6], curve.gold_by_prompt.T, strict=True):
        assert by_prompt == pytest.approx([enumerated(totals[i : i + 6], gold[i : i + 6], n) for i in (0, 6, 12)])


def test_what_is_unscored_cannot_be_picked_and_is_not_wrong():
    scores = [[0.9], [0.5, None], [0.1], None, [], [0.3, NAN], [0.8], [0.2]]
    gold = [0, 1, 1, 1, 1, 1, None, 1]
    # the first prompt keeps 0.9 (wrong) and 0.1 (right); the second keeps 0.2 (right) alone, which is no two
    assert best_of(scores, gold, group_size=4, n=[1]).gold_by_prompt.tolist() == [[0.5], [1.0]]
    assert best_of(scores, gold, group_size=4, n=[2]).gold_by_prompt.tolist() == [[0.0]]


@pytest.mark.parametrize("how", list(TOTALS))
def test_a_solution_score_is_its_total(how):
    assert solution_score([0.5, 0.25, 1.0], how) == pytest.approx(TOTALS[how]([0.5, 0.25, 1.0]))


def test_step_metrics_are_those_of_a_loop():
    rng = random.Random(0)
    labels = [[rng.random() < 0.8 for _ in range(rng.randint(1, 5))] for _ in range(200)]
    scores = [[rng.random() * 0.6 + 0.4 * y for y in row] for row in labels]
    hits = {True: [], False: []}
    for row, known in zip(scores, labels, strict=True):
        true = next((i for i, y in enumerate(known) if not y), -1)
        said = next((i for i, s in enumerate(row) if s < 0.5), -1)
        hits[true >= 0].append(said == true)
    on_erroneous, on_correct = fmean(hits[True]), fmean(hits[False])
    figures = step_metrics(scores, labels)
    assert figures["first_error_on_erroneous"] == pytest.approx(on_erroneous)
    assert figures["first_error_on_correct"] == pytest.approx(on_correct)
    assert figures["first_error_f1"] == pytest.approx(2 * on_erroneous * on_correct / (on_erroneous + on_correct))
    assert "first_error_f1" not in step_metrics([[0.9]], [[1]])  # no chain with a wrong step: nothing to say


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solution_score([0.5], "median"), r"solution_score: how is 'median', .* Choose one"),
        (lambda: solution_score([-1.0], "prod"), r"a step score is -1.0 .* Pass scores in \[0, 1\]"),
    ],
)
def test_step_scores_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
