"""Calibration measures against slow loops, enumeration, SciPy's rank test, and what a calibrated answer must give."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from rewardsmith.measures import auroc, brier_score, expected_calibration_error, reliability_curve

GRID = [k / 10 for k in range(11)]


def slow_ece(confidence, correct, weights, bins):
    """Bin by bin, one answer at a time."""
    total, error = sum(weights), 0.0
    for k in range(bins):
        low, high = k / bins, (k + 1) / bins
        held = [
            (c, y, w)
            for c, y, w in zip(confidence, correct, weights, strict=True)
            if low <= c < high or (k == bins - 1 and c == 1.0)
        ]
        mass = sum(w for _, _, w in held)
        if mass:
            error += mass / total * abs(sum(w * c for c, _, w in held) / mass - sum(w * y for _, y, w in held) / mass)
    return error


def slow_auroc(confidence, correct, weights):
    """Every right answer against every wrong one."""
    won = pairs = 0.0
    for (c, y, w), (d, z, v) in product(zip(confidence, correct, weights, strict=True), repeat=2):
        mass = w * y * v * (1 - z)
        pairs += mass
        won += mass * ((c > d) + 0.5 * (c == d))
    return won / pairs if pairs else math.nan


def sample(seed, n, *, soft=False):
    rng = np.random.default_rng(seed)
    confidence = rng.choice([*GRID, *rng.random(5)], size=n)
    correct = rng.random(n) if soft else (rng.random(n) < confidence).astype(float)
    return confidence, correct, rng.random(n)


@pytest.mark.parametrize("bins", [1, 3, 10])
@pytest.mark.parametrize("soft", [False, True])
def test_measures_equal_their_slow_loops(bins, soft):
    c, y, w = sample(bins, 60, soft=soft)
    assert expected_calibration_error(c, y, bins=bins, weights=w) == pytest.approx(slow_ece(c, y, w, bins))
    assert auroc(c, y, weights=w) == pytest.approx(slow_auroc(c, y, w))
    expected = sum(v * (q * (1 - p) ** 2 + (1 - q) * p**2) for p, q, v in zip(c, y, w, strict=True)) / sum(w)
    assert brier_score(c, y, weights=w) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_the_normalized_rank_statistic(seed):
    c, y, _ = sample(seed, 80)
    right, wrong = c[y == 1], c[y == 0]
    assert auroc(c, y) == pytest.approx(mannwhitneyu(right, wrong).statistic / (len(right) * len(wrong)))


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(GRID), st.booleans(), st.integers(1, 4)), min_size=1, max_size=12))
def test_an_integer_weight_is_so_many_copies(rows):
    c, y, w = (list(column) for column in zip(*rows, strict=True))
    copies = [row for row in rows for _ in range(row[2])]
    many_c, many_y = [row[0] for row in copies], [row[1] for row in copies]
    assert expected_calibration_error(c, y, weights=w) == pytest.approx(expected_calibration_error(many_c, many_y))
    assert brier_score(c, y, weights=w) == pytest.approx(brier_score(many_c, many_y))
    assert auroc(c, y, weights=w) == pytest.approx(auroc(many_c, many_y), nan_ok=True)


def test_soft_labels_give_the_expectation_over_all_outcomes():
    c, y = [0.1, 0.6, 0.9], [0.3, 0.5, 0.8]
    outcomes = list(product([0, 1], repeat=3))
    odds = [math.prod(p if z else 1 - p for p, z in zip(y, outcome, strict=True)) for outcome in outcomes]
    assert brier_score(c, y) == pytest.approx(sum(o * brier_score(c, z) for o, z in zip(odds, outcomes, strict=True)))


def test_a_calibrated_answer_has_no_calibration_error_and_the_brier_score_of_its_own_doubt():
    p = np.linspace(0.05, 0.95, 19)
    assert expected_calibration_error(p, p) == pytest.approx(0.0, abs=1e-12)
    assert brier_score(p, p) == pytest.approx(np.mean(p * (1 - p)))


def test_no_report_beats_the_true_probability_on_the_brier_score():
    for p in (0.0, 0.3, 0.77, 1.0):
        scores = [brier_score([q], [p]) for q in np.linspace(0, 1, 101)]
        assert np.argmin(scores) == round(100 * p)


def test_zero_and_one_fall_in_the_end_bins_and_a_grid_value_opens_its_own():
    curve = reliability_curve(GRID, [1] * 11)
    assert curve.mass.tolist() == pytest.approx([1 / 11] * 9 + [2 / 11])
    assert curve.confidence[0] == 0.0
    assert curve.confidence[-1] == pytest.approx(0.95)
    assert curve.edges.tolist() == pytest.approx(GRID)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_precision_of_the_confidences_moves_no_grid_value_to_another_bin(dtype):
    mass = reliability_curve(torch.tensor(GRID, dtype=dtype), torch.ones(11, dtype=dtype)).mass
    assert mass.tolist() == pytest.approx([1 / 11] * 9 + [2 / 11])
    if dtype != torch.bfloat16:
        array = torch.tensor(GRID, dtype=dtype).numpy()
        assert reliability_curve(array, np.ones(11)).mass.tolist() == mass.tolist()


def test_an_empty_bin_is_unknown_and_not_zero():
    curve = reliability_curve([0.05], [1])
    assert np.isnan(curve.accuracy[1:]).all()
    assert np.isnan(curve.confidence[1:]).all()
    assert curve.mass[1:].sum() == 0


def test_entries_that_are_unscored_in_any_column_are_skipped():
    c, y, w = [0.9, None, 0.2, 0.4, 0.5], [1, 1, math.nan, 0, 1], [1, 1, 1, math.nan, 2]
    kept = ([0.9, 0.5], [1, 1], [1, 2])
    assert expected_calibration_error(c, y, weights=w) == expected_calibration_error(*kept[:2], weights=kept[2])
    assert auroc([0.9, 0.1, None], [1, 0, 0]) == 1.0


def test_tensors_that_carry_gradients_are_read():
    assert brier_score(torch.tensor([0.5], requires_grad=True), torch.tensor([1])) == 0.25


@pytest.mark.parametrize("correct", [[1, 1], [0, 0]])
def test_ranking_is_undefined_with_one_class(correct):
    assert math.isnan(auroc([0.2, 0.4], correct))


def test_without_entries_or_mass_nothing_is_known():
    for measure in (expected_calibration_error, brier_score, auroc):
        assert math.isnan(measure([], []))
        assert math.isnan(measure([math.nan], [1]))
        assert math.isnan(measure([0.4, 0.5], [1, 0], weights=[0, 0]))


def test_equal_confidences_rank_at_chance():
    assert auroc([0.7] * 6, [1, 0, 1, 0, 0, 1]) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: brier_score([1.5], [1]), r"brier_score: confidence holds 1.5, outside \[0, 1.0\]. Rescale"),
        (lambda: brier_score([math.inf], [1]), r"confidence holds inf"),
        (lambda: auroc([0.5], [-1]), r"auroc: correct holds -1.0, outside"),
        (lambda: auroc([0.5], [1], weights=[-1]), r"weights holds -1.0, outside \[0, inf\] or not finite"),
        (lambda: auroc([0.5], [1], weights=[math.inf]), r"weights holds inf"),
        (lambda: auroc([0.5], [1, 0]), r"have 1, 2 and 1 entries. Give one of each"),
        (lambda: auroc([[0.5]], [1]), r"confidence must have shape \(any\), got \(1, 1\). Flatten"),
        (lambda: reliability_curve([0.5], [1], bins=0), r"bins is 0, which leaves no bin"),
    ],
)
def test_refusals_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
