"""Drawings show means with intervals, and follow the theme of the page that holds them."""

import base64
import math
import re
from functools import partial

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp

from rewardsmith.atlas.figures import curves, dots, picture, plain, plane, spread

SEEDS = np.random.default_rng(0).normal(size=(4, 6))
RESULTS = dict(zip(("gold_1/a", "gold_1/b_c", "gold_4/a", "gold_4/b_c"), SEEDS.tolist(), strict=True))
DOTS = partial(dots, RESULTS, series={"one": "gold_1/{}", "four": "gold_4/{}"}, label="gold")
PLANE = partial(plane, RESULTS, x=("gold_1", "at 1"), y=("gold_4", "at 4"))
CURVES = partial(
    curves, RESULTS, at=(1, 4), lines={"a": "gold_{0}/a", "gain": "gold_{0}/a − gold_{0}/b_c"}, label=("n", "y")
)


def half_width(values):
    interval = ttest_1samp(values, 0.0).confidence_interval(0.95)
    return (interval.high - interval.low) / 2


def drawn(draw):
    axes = Figure().add_subplot()
    draw(axes)
    return axes


def test_a_spread_is_the_mean_and_half_of_students_interval_paired_where_two_are_compared():
    assert spread(RESULTS, "gold_1/a") == pytest.approx((SEEDS[0].mean(), half_width(SEEDS[0])))
    gain = SEEDS[0] - SEEDS[1]
    assert spread(RESULTS, "gold_1/a − gold_1/b_c") == pytest.approx((gain.mean(), half_width(gain)))
    assert spread({"gold/a": [2.0]}, "gold/a") == (2.0, 0.0)


def test_dots_stand_at_the_means_with_their_intervals_and_rows_in_plain_words():
    axes = drawn(DOTS)
    for container, rows in zip(axes.containers, (SEEDS[:2], SEEDS[2:]), strict=True):
        dot, _, (bars,) = container.lines
        assert dot.get_xdata() == pytest.approx(rows.mean(axis=1))
        ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
        assert ends == [pytest.approx([row.mean() - half_width(row), row.mean() + half_width(row)]) for row in rows]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b c"]


def test_a_row_that_a_series_lacks_is_left_out_and_what_is_not_finite_does_not_stop_the_drawing():
    results = {"gold_1/a": [1.0, 2.0], "gold_1/b": [math.nan, 1.0], "gold_4/b": [3.0, 4.0]}
    axes = drawn(partial(dots, results, series={"one": "gold_1/{}", "four": "gold_4/{}"}, label="gold"))
    assert [len(container.lines[0].get_xdata()) for container in axes.containers] == [2, 1]
    assert all(map(math.isfinite, axes.get_xlim()))


def test_a_plane_holds_every_arm_with_both_intervals_and_a_named_level():
    axes = drawn(partial(PLANE, level=("best", "gold_4/a")))
    across, up = SEEDS[0].mean(), SEEDS[2].mean()
    assert axes.containers[0].lines[0].get_xydata().tolist() == [pytest.approx([across, up])]
    assert {"a", "b c", "best"} <= {text.get_text() for text in axes.figure.legends[0].get_texts()}
    level = next(line for line in axes.lines if line.get_label() == "best")
    assert list(level.get_ydata()) == pytest.approx([up, up])


def test_curves_go_through_the_means_with_bands_of_the_intervals():
    axes = drawn(CURVES)
    gains = SEEDS[[0, 2]] - SEEDS[[1, 3]]
    assert axes.lines[1].get_xydata().tolist() == [
        pytest.approx([x, y]) for x, y in zip((1, 4), gains.mean(1), strict=True)
    ]
    band = axes.collections[1].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(max(gain.mean() + half_width(gain) for gain in gains))


def test_intervals_of_few_seeds_do_not_squeeze_the_means():
    wide = {"gold/a": [0.0, 2.0], "gold/b": [1.0, 2.0]}  # means 1 and 1.5; half widths 12.7 and 6.4
    low, high = drawn(partial(dots, wide, series={"one": "gold/{}"}, label="gold")).get_xlim()
    assert high - low < 1.2  # twice the means' range of 0.5, and a margin


@pytest.mark.slow
@pytest.mark.parametrize("draw", [DOTS, PLANE, CURVES])
def test_a_picture_has_a_second_value_for_each_of_its_colors_and_is_always_the_same(draw):
    kind, _, data = picture(draw).partition(",")
    assert kind == "data:image/svg+xml;base64"
    head, _, body = base64.b64decode(data).decode().partition("</style>")
    assert "prefers-color-scheme:dark" in head
    assert "var(--c0)" in body
    assert not re.findall(r"#[0-9a-f]{6}(?![0-9a-f])", body)
    assert picture(draw) == f"{kind},{data}"


def test_names_become_words():
    assert plain("kl_at_beta_0.1") == "KL at beta 0.1"
