"""Agreement of a judge with labels: κ by scikit-learn and by hand, ties, noise, clusters."""

import numpy as np
import pytest

from rewardsmith.measures import judge_agreement


def test_kappa_is_that_of_a_slow_loop():
    rng = np.random.default_rng(0)
    labels = rng.choice([0.0, 0.5, 1.0], size=300, p=[0.5, 0.2, 0.3])
    verdicts = np.where(rng.random(300) < 0.7, labels, rng.choice([0.0, 0.5, 1.0], size=300))
    found = judge_agreement(verdicts, labels, symmetric=False)
    table = {(a, b): 0 for a in (0.0, 0.5, 1.0) for b in (0.0, 0.5, 1.0)}
    for a, b in zip(verdicts.tolist(), labels.tolist(), strict=True):
        table[a, b] += 1
    same = sum(table[c, c] for c in (0.0, 0.5, 1.0)) / 300
    chance = sum(
        sum(table[c, d] for d in (0.0, 0.5, 1.0)) * sum(table[d, c] for d in (0.0, 0.5, 1.0)) for c in (0.0, 0.5, 1.0)
    )
    expected = (same - chance / 300**2) / (1 - chance / 300**2)
    assert found.kappa.value == pytest.approx(expected)
    assert found.kappa.low < expected < found.kappa.high


def test_kappa_by_hand():
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: p_o = 0.7, p_e = 0.5 · 0.6 + 0.5 · 0.4 = 0.5, κ = 0.4
    verdicts, labels = [1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert judge_agreement(verdicts, labels, symmetric=False).kappa.value == pytest.approx(0.4)


def test_pairs_count_in_both_orders():
    # 8 of 10 right without ties: p_e = ½ whichever answer is named first, κ = 2 · 0.8 − 1
    assert judge_agreement([1] * 8 + [0] * 2, [1] * 10).kappa.value == pytest.approx(0.6)
    assert judge_agreement([1] * 8 + [0] * 2, [1] * 10, symmetric=False).kappa.value == pytest.approx(0.0)


def test_ties_count_half_and_are_left_out_of_the_decided():
    found = judge_agreement([1, 0.5, 0.2, np.nan, 0.5], [1, 1, 0, 1, 0.5])
    assert (found.accuracy.value, found.accuracy.n) == (3.5 / 4, 4)
    assert (found.decided.value, found.decided.n, found.ties.value) == (1.0, 2, 0.5)


def test_wrong_labels_are_undone_in_expectation():
    # a judge that is right in 90 % agrees with labels of which 20 % are wrong in 0.9 · 0.8 + 0.1 · 0.2 = 0.74
    found = judge_agreement([1] * 74 + [0] * 26, [1] * 100, label_noise=0.2)
    assert found.true_accuracy.value == pytest.approx(0.9)
    assert found.true_accuracy.low == pytest.approx((found.accuracy.low - 0.2) / 0.6)


def test_labels_that_are_ties_are_not_taken_for_wrong():
    # 100 rows: 40 labels are ties, of which the judge ties 30 and decides 10: 30 + 10/2 = 35 of them are right.
    # Of 60 with a winner it agrees with 42, .7 of them, which is (.7 − .2) / .6 = 5/6 of the truth: 50 of 60.
    verdicts = [0.5] * 30 + [1] * 10 + [1] * 42 + [0] * 18
    labels = [0.5] * 40 + [1] * 60
    assert judge_agreement(verdicts, labels, label_noise=0.2).true_accuracy.value == pytest.approx(0.85)
    assert judge_agreement([0.5] * 5, [0.5] * 5, label_noise=0.2).true_accuracy.value == pytest.approx(1.0)


def test_copies_of_a_prompt_do_not_narrow_the_interval():
    verdicts, labels = [1, 1, 1, 0, 1, 0, 1, 1] * 4, [1, 0, 1, 0, 1, 1, 1, 0] * 4
    alone = judge_agreement(verdicts, labels).kappa
    copied = judge_agreement(
        np.repeat(verdicts, 5), np.repeat(labels, 5), clusters=np.repeat(range(32), 5).tolist()
    ).kappa
    assert copied == pytest.approx(alone)


def test_unusable_columns_are_refused():
    with pytest.raises(ValueError, match=r"judge_agreement: 2.0 is not in \[0, 1\]. Give 1, 0"):
        judge_agreement([2.0], [1.0])
    with pytest.raises(ValueError, match=r"1 clusters for 2 rows. Name one for each row"):
        judge_agreement([1, 1], [1, 1], clusters=["a"])
    with pytest.raises(ValueError, match=r"label_noise is 0.5, outside \[0.0, 0.49\]"):
        judge_agreement([1], [1], label_noise=0.5)
