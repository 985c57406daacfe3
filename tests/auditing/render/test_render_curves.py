"""The picture of a curve: where its points lie, what is cut off, and what the page and the terminal say."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from report_samples import clean_report, curved_report, flawed_report
from rich.console import Console

from rewardsmith.auditing.render.curves import LEAST_GAP, plot
from rewardsmith.auditing.render.html import render_html
from rewardsmith.auditing.render.text import render_text
from rewardsmith.auditing.render.wording import curve_line
from rewardsmith.auditing.report import Curve, CurvePoint, Turn

BEST, TILTED = curved_report().curves


def test_points_lie_where_their_kl_and_gain_say():
    picture = plot(BEST)
    assert [line.name for line in picture.lines] == ["reward", "gold"]
    zero, one = (next(label.at for label in picture.gains if label.text == text) for text in ("0", "+1"))
    for line, column in zip(picture.lines, ("rewards", "gold"), strict=True):
        for (x, y), point in zip(line.points, BEST.points, strict=True):
            assert x == pytest.approx(100 * point.kl / 3.17)
            assert y == pytest.approx(zero + (one - zero) * getattr(point, column))
    assert picture.turn == pytest.approx(tuple(100 * kl / 3.17 for kl in (1.84, 0.64, 1.84)))


def test_only_a_sure_decline_is_marked():
    unsure = replace(BEST, turn=BEST.turn._replace(declines=False))
    assert (plot(unsure).turn, plot(TILTED).turn) == (None, None)
    assert len(plot(TILTED).lines) == 1


def test_labels_keep_apart_and_the_last_one_stays():
    crowded = Curve("c", "n", tuple(CurvePoint(k, k / 100, k, k, k) for k in range(101)))
    labels = plot(crowded).pressures
    assert labels[-1].text == "100"
    assert all(b.at - a.at >= LEAST_GAP for a, b in pairwise(labels))
    assert 3 <= len(plot(crowded).nats) <= 8


def test_a_wide_band_does_not_flatten_the_lines():
    points = tuple(CurvePoint(k, float(k), float(k), -1e6, 1e6) for k in range(1, 4))
    (line,) = plot(Curve("c", "n", points)).lines
    heights = [y for _, y in line.points]
    assert max(heights) - min(heights) > 15  # percent
    assert all(-500 <= float(pair.split(",")[1]) <= 500 for pair in line.band.split())


@pytest.mark.parametrize("points", [(), (CurvePoint(1, 0.0, 0.0, 0.0, 0.0),), (CurvePoint(1, 0.0, 0, 0, 0),) * 3])
def test_without_width_there_is_no_picture(points):
    assert plot(Curve("c", "n", points)) is None


def test_one_sentence_says_the_rest():
    assert curve_line(BEST) == (
        "best of n, up to n = 64 (KL 3.17): reward +3.17, gold +0.20 standard deviations, gold highest at n = 16 "
        "(KL 1.84 [0.64, 1.84]), then falls"
    )
    assert curve_line(TILTED).endswith("reward +3.17 standard deviations, gold unknown")
    assert curve_line(replace(BEST, turn=None)).endswith("gold still rising")
    assert curve_line(replace(BEST, turn=Turn(16, 1.84, 0, 3, declines=False))).endswith("not surely so")


def test_the_page_draws_curves_and_escapes_them():
    page = render_html([replace(curved_report(), curves=(replace(BEST, name="<b>x</b>", note="<script>"), TILTED))])
    assert "How far it can be optimized" in page
    assert page.count("<polyline") == 3
    assert page.count('<line class="turn"') == 1
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "<script>" not in page
    assert "gold +0.70 [+0.50, +0.90] at n = 16, KL 1.84" in page


@pytest.mark.parametrize("report", [flawed_report(), clean_report()])
def test_a_report_without_curves_says_nothing_of_them(report):
    page = render_html([report])
    assert "How far it can be optimized" not in page
    assert ".curve" not in page
    assert "curves" not in report.as_json()


def test_rates_of_pairs_are_not_told_as_those_of_a_verifier():
    pairs, verifier = (
        render_html([replace(report(), rates=flawed_report().rates)]) for report in (curved_report, clean_report)
    )
    assert "lifted a rejected answer past its chosen one" in pairs
    assert "honest wrong answer" not in pairs
    assert "was paid more than an honest wrong answer" in verifier


def test_the_page_draws_how_often_a_model_is_right_by_how_sure_it_is():
    page = render_html([curved_report()])
    assert page.count('class="stated"') == 2
    calm, sure = re.findall(r'<div class="rate([^"]*)"><span class="label">says (\S+) <small>(\S+) pairs', page)
    assert calm == (" unsure", "53%", "60")
    assert sure == ("", "97%", "1,240")
    assert "<b>80%</b> [74%, 85%]" in page
    assert "As sure as it is right?" not in render_html([clean_report()])


def test_the_terminal_prints_a_line_for_each_curve():
    console = Console(file=io.StringIO(), width=200, color_system=None)
    render_text(curved_report(), console)
    assert curve_line(BEST) in console.file.getvalue()
