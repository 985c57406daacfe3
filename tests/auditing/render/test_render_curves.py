"""The picture of a curve: where its points lie, what is cut off, and what the page and the terminal say."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from rich.console import Console
from tests.auditing.render.report_samples import clean_report, curved_report, flawed_report

from rewardsmith.auditing.render.curves import LEAST_GAP, draw
from rewardsmith.auditing.render.html import render_html
from rewardsmith.auditing.render.text import render_text
from rewardsmith.auditing.render.wording import curve_line
from rewardsmith.auditing.report import Curve, CurvePoint, Turn

BEST, TILTED = curved_report().curves


def axes_of(curve):
    (axes,) = draw(curve).axes
    return axes


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_points_lie_where_their_kl_and_gain_say():
    lines = lines_of(axes_of(BEST))
    for name, column in (("reward", "rewards"), ("gold", "gold")):
        places = [(point.kl, getattr(point, column)) for point in BEST.points]
        assert lines[name].get_xydata().tolist() == [list(place) for place in places]
    assert list(lines["gold turns"].get_xdata()) == [1.84, 1.84]
    (band,) = axes_of(BEST).patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.64, 1.84))


def test_intervals_are_bands_around_the_lines():
    bands = [band.get_paths()[0].vertices for band in axes_of(BEST).collections]
    for vertices, ends in zip(bands, (("rewards_low", "rewards_high"), ("gold_low", "gold_high")), strict=True):
        corners = {(round(x, 9), round(y, 9)) for x, y in vertices}
        assert {(p.kl, round(getattr(p, end), 9)) for p in BEST.points for end in ends} <= corners


def test_only_a_sure_decline_is_marked():
    unsure = replace(BEST, turn=BEST.turn._replace(declines=False))
    assert list(lines_of(axes_of(unsure))) == ["reward", "gold"]
    assert list(lines_of(axes_of(TILTED))) == ["reward"]
    assert not [*axes_of(unsure).patches, *axes_of(TILTED).patches]


def test_labels_keep_apart_and_the_last_one_stays():
    axes = axes_of(Curve("c", "n", tuple(CurvePoint(k, k / 100, k, k, k) for k in range(101))))
    (top,) = axes.child_axes
    assert top.get_xticklabels()[0].get_text() == "100"
    places = sorted(top.get_xticks())
    assert all(b - a >= LEAST_GAP - 1e-9 for a, b in pairwise(places))  # the axis is one wide
    assert len(places) > 5


def test_a_wide_band_does_not_flatten_the_lines():
    points = tuple(CurvePoint(k, float(k), float(k), -1e6, 1e6) for k in range(1, 4))
    low, high = axes_of(Curve("c", "n", points)).get_ylim()
    assert (3.0 - 1.0) / (high - low) > 0.15  # of the height, between the lowest mean and the highest


@pytest.mark.parametrize("points", [(), (CurvePoint(1, 0.0, 0.0, 0.0, 0.0),), (CurvePoint(1, 0.0, 0, 0, 0),) * 3])
def test_without_width_there_is_no_picture(points):
    assert draw(Curve("c", "n", points)) is None


def test_one_sentence_says_the_rest():
    assert curve_line(BEST) == (
        "best of n, up to n = 64 (KL 3.17): reward +3.17, gold +0.20 standard deviations, gold highest at n = 16 "
        "(KL 1.84 [0.64, 1.84]), then falls"
    )
    assert curve_line(TILTED).endswith("reward +3.17 standard deviations, gold unknown")
    assert curve_line(replace(BEST, turn=None)).endswith("gold still rising")
    alone = replace(BEST, points=(CurvePoint(1, 0.0, 0.0, 0.0, 0.0, 0.0),))  # n = 1: a plain draw
    assert curve_line(alone) == "best of n: not drawn, as it needs more completions to a prompt"
    assert curve_line(replace(BEST, turn=Turn(16, 1.84, 0, 3, declines=False))).endswith("but may still rise")


@pytest.mark.slow
def test_the_page_draws_curves_and_escapes_them():
    page = render_html([replace(curved_report(), curves=(replace(BEST, name="<b>x</b>", note="<script>"), TILTED))])
    assert "How far it can be optimized" in page
    assert page.count('<img class="curve" src="data:image/svg+xml;base64,') == 2
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert page.count("<script>") == 1  # its own
    assert "&lt;script&gt;" in page
    row = '<td class="num">16</td><td class="num">1.84</td><td>+1.84 [+1.74, +1.94]</td><td>+0.70 [+0.50, +0.90]</td>'
    assert row in page


@pytest.mark.parametrize("report", [flawed_report(), clean_report()])
def test_a_report_without_curves_says_nothing_of_them(report):
    page = render_html([report])
    assert "How far it can be optimized" not in page
    assert 'class="curve"' not in page
    assert "curves" not in report.as_json()


@pytest.mark.slow
def test_rates_of_pairs_are_not_told_as_those_of_a_verifier():
    pairs, verifier = (
        render_html([replace(report(), rates=flawed_report().rates)]) for report in (curved_report, clean_report)
    )
    assert "raised a rejected answer above its chosen one" in pairs
    assert "honest wrong answer" not in pairs
    assert "scored above an honest wrong answer" in verifier


@pytest.mark.slow
def test_the_page_draws_how_often_a_model_is_right_by_how_sure_it_is():
    page = render_html([curved_report()])
    assert page.count('class="stated"') == 2
    pattern = r'<div class="rate t-high([^"]*)"><span class="label">states (\S+) <small>(\S+) pairs'
    calm, sure = re.findall(pattern, page)
    assert calm == (" unsure", "53%", "60")
    assert sure == ("", "97%", "1,240")
    assert "<b>80%</b> [74%, 85%]" in page
    assert "Stated probability and accuracy" not in render_html([clean_report()])


def test_the_terminal_prints_a_line_for_each_curve():
    console = Console(file=io.StringIO(), width=200, color_system=None)
    render_text(curved_report(), console)
    assert curve_line(BEST) in console.file.getvalue()
