"""The numbers behind the pictures."""

from __future__ import annotations

import pytest
from tests.auditing.render.report_samples import flawed_report

from rewardsmith.auditing.render.figures import forest, histogram
from rewardsmith.auditing.report import Rate


def test_the_forest_shows_paid_kinds_by_probe_and_counts_the_rest():
    picture = forest(flawed_report().rates)
    assert [(group.probe, [rate.rate for rate in group.rates], group.n_more) for group in picture.groups] == [
        ("enumeration", [61 / 64, 0.64, 0.02], 0),
        ("zero_width", [0.5], 0),
        ("opener", [0.03], 0),
    ]
    assert (picture.n_more, picture.n_never) == (0, 6)


def test_the_forest_keeps_the_surest_when_there_are_too_many():
    rates = [Rate(f"p{k % 10}", str(k), 0.5, k / 200, 0.9, 10) for k in range(100)] * 2  # repeats count once
    picture = forest(rates, per_probe=3, probes=2)
    assert [(g.probe, [r.label for r in g.rates], g.n_more) for g in picture.groups] == [
        ("p9", ["99", "89", "79"], 7),
        ("p8", ["98", "88", "78"], 7),
    ]
    assert (picture.n_more, picture.n_never) == (80, 0)


def test_the_histogram_counts_every_finite_score_once():
    picture = histogram({"right": [1.0, 1.0, 0.0, 0.49], "given": [0.5, float("nan"), None, float("inf")]}, bins=2)
    right, given = picture.strips
    assert [(bar.low, bar.high, bar.n) for bar in right.bars] == [(0.0, 0.5, 2), (0.5, 1.0, 2)]
    assert [bar.height for bar in right.bars] == [50.0, 50.0]  # half of its strip, against all of the other
    assert [(bar.left, bar.height, bar.n) for bar in given.bars] == [(50.0, 100.0, 1)]
    assert (right.n, right.mean) == (4, pytest.approx(2.49 / 4))
    assert (given.n, given.n_unscored, given.mean) == (1, 3, 0.5)


def test_one_repeated_score_sits_in_the_middle_of_its_axis():
    picture = histogram({"right": [2.0] * 5}, bins=2)
    assert (picture.low, picture.high) == (1.5, 2.5)
    assert [(bar.left, bar.n) for bar in picture.strips[0].bars] == [(50.0, 5)]


@pytest.mark.parametrize("levels", [{}, {"right": []}, {"right": [float("nan"), None]}, {"right": [-1.7e308, 1.7e308]}])
def test_without_a_drawable_score_there_is_no_histogram(levels):
    assert histogram(levels) is None
