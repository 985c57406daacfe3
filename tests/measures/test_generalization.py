"""Rates of checkpoints in environments, with intervals as of scipy's own."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from scipy.stats import binomtest

from rewardsmith.atlas.figures import draw_matrix, heat_map
from rewardsmith.measures import generalization_matrix

COUNTS, N = [[0, 45, 7], [3, 10, 20]], [[100_000, 32_768, 32_768], [3, 10, 40]]


@pytest.mark.parametrize(("interval", "method"), [("wilson", "wilson"), ("exact", "exact")])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_intervals_are_those_of_scipy(interval, method, alpha):
    found = generalization_matrix(COUNTS, N, interval=interval, alpha=alpha)
    for at in np.ndindex(2, 3):
        expected = binomtest(COUNTS[at[0]][at[1]], N[at[0]][at[1]]).proportion_ci(1 - alpha, method=method)
        assert_allclose((found.low[at], found.high[at]), expected, rtol=1e-6, atol=1e-12)
    assert_allclose(found.rate, np.array(COUNTS) / N)


def test_the_bound_of_no_count_is_that_of_the_paper():
    """0 of 100 000: p with (1 − p)^n = .025, which is 3.7e-5."""
    high = generalization_matrix([[0]], 100_000, interval="exact").high[0, 0]
    assert_allclose((1 - high) ** 100_000, 0.025, rtol=1e-9)


def test_one_number_of_episodes_serves_all_and_none_is_unknown():
    found = generalization_matrix([[1, 0], [2, 4]], 4)
    assert found.n.tolist() == [[4, 4], [4, 4]]
    empty = generalization_matrix([[0]], [[0]])
    assert np.isnan(empty.rate).all()
    assert (empty.low[0, 0], empty.high[0, 0]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("counts", "n"), [([[5]], 4), ([[-1]], 4), ([[0.5]], 4), ([1, 2], 4), ([[1]], [[4, 4]]), ([[np.nan]], 4)]
)
def test_what_are_no_counts_are_refused(counts, n):
    with pytest.raises(ValueError, match=r"generalization_matrix: counts of shape .* Count episodes"):
        generalization_matrix(counts, n)
    with pytest.raises(ValueError, match="interval"):
        generalization_matrix([[1]], 4, interval="normal")


def test_the_drawing_writes_each_rate_with_its_interval():
    found = generalization_matrix([[0, 45]], [[100_000, 32_768]], interval="exact")
    axes = Figure().add_subplot()
    draw_matrix(axes, found.rate, found.low, found.high, rows=["last"], columns=["a", "b"])
    assert [text.get_text() for text in axes.texts] == ["0.00%", "0.00 to 0.00", "0.14%", "0.10 to 0.18"]


def test_of_results_the_mean_over_seeds_is_drawn_and_its_interval_stays_within_0_and_1():
    axes = Figure().add_subplot()
    heat_map({"after/e": [1.0, 0.8]}, axes, rows={"after": "After"}, columns={"e": "E"}, label="rate")
    assert [text.get_text() for text in axes.texts] == ["90.00%", "0.00 to 100.00"]
    assert (axes.get_yticklabels()[0].get_text(), axes.get_xlabel()) == ("After", "rate")
