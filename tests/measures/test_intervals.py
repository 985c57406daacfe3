import math

import numpy as np
import pytest
from scipy import stats

from rewardsmith.measures.intervals import (
    family_alpha,
    mean_interval,
    mean_or_nan,
    rank_correlations,
    student_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (1, 5), (5, 5), (7, 64), (64, 64), (300, 1000)])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 160])
def test_wilson_interval_is_scipys(successes: int, n: int, alpha: float) -> None:
    theirs = stats.binomtest(successes, n).proportion_ci(confidence_level=1 - alpha, method="wilson")
    low, high = wilson_interval(successes, n, alpha=alpha)
    assert low == pytest.approx(theirs.low, abs=1e-12)
    assert high == pytest.approx(theirs.high, abs=1e-12)


def test_nothing_seen_is_nothing_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert mean_interval([]) == (-math.inf, math.inf)
    assert mean_interval([2.5]) == (2.5, 2.5)


def test_mean_interval_is_scipys_normal_interval() -> None:
    values = [0.1, 0.4, 0.35, 0.8, -0.2, 0.0]
    error = stats.sem(values)
    assert mean_interval(values, alpha=0.1) == pytest.approx(stats.norm.interval(0.9, sum(values) / 6, error))


@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_student_interval_is_scipys(alpha: float) -> None:
    values = [0.1, 0.4, 0.35, 0.8, -0.2, 0.0]
    theirs = stats.t.interval(1 - alpha, 5, sum(values) / 6, stats.sem(values))
    assert student_interval(values, alpha=alpha) == pytest.approx(theirs, rel=1e-9)
    assert student_interval([1.0], alpha=alpha) == (-math.inf, math.inf)
    assert student_interval([2.0, 2.0], alpha=alpha) == (2.0, 2.0)


def test_rank_correlations_are_scipys_ties_included() -> None:
    table = np.random.default_rng(0).integers(0, 6, size=(40, 3)).astype(float)
    assert rank_correlations(table) == pytest.approx(stats.spearmanr(table).statistic, abs=1e-14)
    table[:, 1] = 2.0  # what does not vary has no ranks
    table[0, 2] = math.nan
    found = rank_correlations(table)
    assert found[0, 0] == 1.0
    assert np.isnan(found[:, 1:]).all()


def test_the_mean_of_nothing_is_not_known() -> None:
    assert math.isnan(mean_or_nan([]))
    assert mean_or_nan([1.0, 2.0]) == 1.5


def test_family_alpha_divides_the_level() -> None:
    assert family_alpha(160) == pytest.approx(0.05 / 160)
    assert family_alpha(0) == 0.05
