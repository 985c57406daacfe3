import math

import numpy as np
import pytest
from scipy.stats import binomtest

from rewardsmith.measures import estimate_noise

NAN = math.nan


def test_noise_is_counted_by_key_with_scipys_wilson_intervals():
    #           numbers: 3 wrong, 1 accepted; 2 right, 1 rejected      words: no wrong; 1 right, 0 rejected
    verdicts = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 1.0, NAN, 1.0])
    gold = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, NAN])
    keys = ["numbers"] * 5 + ["words", "words", "silent"]
    rates = estimate_noise(verdicts, gold, keys)
    numbers, words, silent = rates["numbers"], rates["words"], rates["silent"]
    assert list(rates) == ["numbers", "words", "silent"]
    assert (numbers.false_positive_rate, numbers.n_wrong) == (1 / 3, 3)
    assert (numbers.false_negative_rate, numbers.n_right) == (1 / 2, 2)
    assert numbers.false_positive_interval == pytest.approx(
        tuple(binomtest(1, 3).proportion_ci(method="wilson")), abs=1e-12
    )
    assert math.isnan(words.false_positive_rate)
    assert words.false_positive_interval == (0.0, 1.0)
    assert (words.false_negative_rate, words.n_right) == (0.0, 1)
    assert (silent.n_wrong, silent.n_right) == (0, 0)


def test_the_wilson_interval_is_the_closed_form():
    # centre (p + z²/2n)/(1 + z²/n), half-width z/(1 + z²/n) √(p(1−p)/n + z²/4n²), for 3 of 10
    verdicts, gold = np.array([1.0] * 3 + [0.0] * 7), np.zeros(10)
    low, high = estimate_noise(verdicts, gold)["all"].false_positive_interval
    z, n, p = 1.959963984540054, 10, 0.3
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (low, high) == (pytest.approx(center - half, abs=1e-9), pytest.approx(center + half, abs=1e-9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: estimate_noise(v, v + 2), r"estimate_noise: gold holds 2.0, but a verdict is 0, 1, or NaN"),
        (lambda v: estimate_noise(v, v[:1]), r"estimate_noise: got 3 verdicts and 1 gold. Pass one of each"),
        (lambda v: estimate_noise(v, v, ["a"]), r"estimate_noise: 1 keys for 3 rows. Pass one key per row"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.zeros(3))
