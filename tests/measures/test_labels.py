"""First wrong steps and flawed positives against slow counts, and the cases in which nothing is known."""

import math
import random

import pytest
from scipy.stats import binomtest

from rewardsmith.measures import first_error_f1, flawed_positive_rate
from rewardsmith.measures.labels import first_below, first_wrong, label_of

SEEDS = range(8)


def draw(seed):
    rng = random.Random(seed)
    indices = (None, -1, 0, 1, 2)
    n = rng.randint(3, 60)
    return [rng.choice(indices) for _ in range(n)], [rng.choice(indices) for _ in range(n)]


@pytest.mark.parametrize("seed", SEEDS)
def test_f1_is_the_harmonic_mean_of_two_accuracies_counted_one_by_one(seed):
    predicted, true = draw(seed)
    found = first_error_f1(predicted, true)
    right_wrong = wrong = right_sound = sound = 0
    for guess, label in zip(predicted, true, strict=True):
        if guess is None or label is None:
            continue
        if label == -1:
            sound += 1
            right_sound += guess == -1
        else:
            wrong += 1
            right_wrong += guess == label
    assert (found.n_erroneous, found.n_correct) == (wrong, sound)
    if wrong and sound:
        a, b = right_wrong / wrong, right_sound / sound
        assert found.on_erroneous == pytest.approx(a)
        assert found.on_correct == pytest.approx(b)
        assert found.f1 == pytest.approx(2 / (1 / a + 1 / b) if a and b else 0.0)
        assert found.low <= found.f1 <= found.high


def test_f1_has_no_value_where_a_kind_of_chain_is_missing():
    """Accuracy on chains with a wrong step is undefined if there are none; that is not 0."""
    assert math.isnan(first_error_f1([-1, -1], [-1, -1]).f1)
    assert math.isnan(first_error_f1([0], [0]).f1)
    assert math.isnan(first_error_f1([], []).f1)


@pytest.mark.parametrize("always", [-1, 0])
def test_a_detector_that_never_or_always_objects_to_the_first_step_gets_zero(always):
    true = [-1] * 90 + [1] * 10
    assert first_error_f1([always] * 100, true).f1 == 0.0


def test_the_interval_of_f1_lies_between_the_harmonic_means_of_the_bounds():
    """30 of 40 and 45 of 50, each by Wilson at half of 5 %."""
    predicted, true = [1] * 30 + [0] * 10 + [-1] * 45 + [2] * 5, [1] * 40 + [-1] * 50
    found = first_error_f1(predicted, true)
    bounds = [binomtest(k, n).proportion_ci(0.975, method="wilson") for k, n in ((30, 40), (45, 50))]
    low, high = (2 / (1 / a + 1 / b) for a, b in zip(*bounds, strict=True))
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_flawed_share_counts_right_answers_alone(seed):
    rng = random.Random(seed)
    values = (None, float("nan"), 0, 1, 0.0, 1.0, True, False)
    correct, flawed = ([rng.choice(values) for _ in range(50)] for _ in range(2))
    known = [(z, f) for z, f in zip(correct, flawed, strict=True)
             if z is not None and f is not None and not math.isnan(z) and not math.isnan(f)]  # fmt: skip
    of_right = [f for z, f in known if z == 1]
    share = flawed_positive_rate(correct, flawed)
    assert share.n == len(of_right)
    assert share.value == pytest.approx(sum(f == 1 for f in of_right) / len(of_right))
    oracle = binomtest(sum(f == 1 for f in of_right), len(of_right)).proportion_ci(method="wilson")
    assert (share.low, share.high) == pytest.approx((oracle.low, oracle.high))


def test_no_right_answer_leaves_the_flawed_share_unknown():
    share = flawed_positive_rate([0, None], [1, 1])
    assert math.isnan(share.value)
    assert (share.low, share.high, share.n) == (0.0, 1.0, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_wrong_step_is_the_first_that_is_not_surely_right(seed):
    rng = random.Random(seed)
    labels = [rng.choice((True, True, False, None)) for _ in range(rng.randint(0, 6))]
    expected = None
    for k, label in enumerate(labels):
        if label is None:
            break
        if label is False:
            expected = k
            break
    else:
        expected = -1 if labels else None
    assert first_wrong(labels) == expected
    assert first_below([None if v is None else float(v) for v in labels], 0.5) == expected


def test_what_is_no_number_is_no_label():
    assert label_of("right") is None
    assert label_of([1]) is None
