"""Pictures made by matplotlib: one style, and an SVG that follows the reader's theme."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOUSE_STYLE = Path(__file__).with_name("house.mplstyle")
"""For `matplotlib.rc_context(fname=HOUSE_STYLE)`, so that pictures match the page around them."""
IN_THE_DARK: Mapping[str, str] = {
    "#ffffff": "#14181f", "#1c2330": "#e4e8ef", "#1a202c": "#e4e8ef", "#000000": "#e4e8ef", "#5b6475": "#9aa5b5",
    "#777777": "#9aa5b5", "#9aa3b2": "#667080", "#9a9a9a": "#7d8794", "#e3e6ec": "#2d3541", "#4a5568": "#aab4c3",
    "#2f6db3": "#86b0ee", "#c2410c": "#f59e6b", "#1b7f5c": "#6fd3a0", "#7c5cbf": "#b7a1ea", "#64748b": "#94a3b8",
    "#b7791f": "#e6b65c", "#e7eef7": "#243447", "#fdebc8": "#4a3a14", "#f9d3c5": "#55291b", "#e6d8ef": "#3d2c4d",
}  # fmt: skip
"""Colors of our pictures (the house style's and a recipe's) to what they are on a dark page; others stay."""


def themed_svg(svg: str) -> str:
    """Give each color of ours in an SVG image a second value, for a reader who prefers a dark page.

    >>> themed_svg('<svg><path style="fill: #ffffff"/></svg>').split("</style>")[1]
    '<path style="fill: var(--c0)"/></svg>'
    """
    used = [color for color in IN_THE_DARK if color in svg]
    for place, color in enumerate(used):
        svg = svg.replace(color, f"var(--c{place})")
    light = "".join(f"--c{place}:{color};" for place, color in enumerate(used))
    dark = "".join(f"--c{place}:{IN_THE_DARK[color]};" for place, color in enumerate(used))
    # Matplotlib writes no color where it is black, as of letters: they take that of the root.
    light, dark = f"fill:#1c2330;{light}", f"fill:{IN_THE_DARK['#1c2330']};{dark}"
    style = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    end = svg.index(">", svg.index("<svg")) + 1
    return svg[:end] + style + svg[end:]


def picture_svg(figure: Figure) -> str:
    """Return a figure as an SVG image in the reader's theme.

    The same figure gives the same bytes: no date, identifiers from a fixed salt.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "rewardsmith"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return themed_svg(buffer.getvalue())


def picture_uri(figure: Figure) -> str:
    """Return a figure as a `data:` address of an SVG image: sharp, in the reader's theme, sealed off from the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(picture_svg(figure).encode()).decode("ascii")
