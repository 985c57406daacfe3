"""Pictures: one image that is the same each time, sealed off, and in two themes."""

from __future__ import annotations

import base64
import math
import re
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from rewardsmith._pictures import HOUSE_STYLE, IN_THE_DARK, picture_uri, themed_svg


def drawn() -> Figure:
    with matplotlib.rc_context(fname=HOUSE_STYLE):
        figure = Figure()
        figure.subplots().plot([0, 1], [0, math.pi], label="a <b> & c")
    return figure


def svg_of(uri: str) -> str:
    kind, data = uri.split(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(data).decode()


@pytest.mark.slow
def test_a_figure_becomes_one_self_contained_image_and_the_same_each_time():
    svg = svg_of(picture_uri(drawn()))
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r'href="(?!#)|<script|@import', svg)
    assert picture_uri(drawn()) == picture_uri(drawn())


@pytest.mark.slow
def test_every_color_of_the_style_has_a_second_value_in_the_dark():
    svg = svg_of(picture_uri(drawn()))
    style, _, rest = svg.partition("</style>")
    assert not re.findall(r"#[0-9a-f]{6}", rest)  # outside the style no color is fixed
    places = re.findall(r"(--c\d+):(#[0-9a-f]{6})", style)
    assert {name for name, _ in places} == set(re.findall(r"var\((--c\d+)\)", rest))
    assert all(sum(name == other for other, _ in places) == 2 for name, _ in places)


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


INKS = ("#1c2330", "#5b6475", "#2f6db3", "#c2410c", "#1b7f5c", "#7c5cbf", "#64748b", "#b7791f")


@pytest.mark.parametrize("color", INKS)
def test_letters_and_lines_stand_out_on_either_page(color):
    for ink, paper in ((color, "#ffffff"), (IN_THE_DARK[color], IN_THE_DARK["#ffffff"])):
        bright, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3.0  # WCAG 2.1, 1.4.11: graphical objects


def test_black_letters_turn_light_in_the_dark():
    figure = Figure()
    figure.text(0.5, 0.5, "black by default")
    style, _, rest = svg_of(picture_uri(figure)).partition("</style>")
    assert re.findall(r":root\{fill:(#[0-9a-f]{6});", style) == ["#1c2330", IN_THE_DARK["#1c2330"]]
    assert 'id="text_1"' in rest
    assert "#000000" not in rest


def test_a_color_that_is_not_ours_stays():
    assert 'fill="#123456"' in themed_svg('<svg><path fill="#123456"/></svg>')
