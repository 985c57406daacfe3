"""A report as one HTML file that opens offline, runs nothing and loads nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from rewardsmith.auditing.finding import SEVERITIES, Severity
from rewardsmith.auditing.render import wording
from rewardsmith.auditing.render.curves import plot
from rewardsmith.auditing.render.figures import forest, histogram, picture_uri
from rewardsmith.auditing.render.visible import plain, visible
from rewardsmith.auditing.report import Report

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

Cell = str | float | None


@dataclass(frozen=True, slots=True)
class Section:
    """A part that the caller adds to the page: words, then a picture, then a table. All of it is escaped.

    text: paragraphs, set apart by empty lines.
    picture: a matplotlib figure, best drawn under `HOUSE_STYLE`; `caption` says what it shows.
    table: the header, and rows of the same length; numbers are set to three digits, None shows as a dash.
    """

    title: str
    text: str = ""
    picture: Figure | None = None
    caption: str = ""
    table: tuple[Sequence[str], Sequence[Sequence[Cell]]] | None = None

    def __post_init__(self) -> None:
        """Refuse a table whose rows do not fit under its header."""
        if self.table is None:
            return
        header, rows = self.table
        for position, row in enumerate(rows):
            if len(row) != len(header):
                raise ValueError(
                    f"Section: row {position} of the table in {self.title!r} has {len(row)} cells under "
                    f"{len(header)} headings. Give every row one cell per heading."
                )


def render_html(
    reports: Sequence[Report],
    *,
    title: str = "",
    sections: Sequence[Section] = (),
    floor: Severity = "medium",
) -> str:
    """The page: the verdict at `floor`, the league table where there are several reports, sections, then each report.

    Whatever came from a model, a data set or a reward is escaped, and characters that would not show or would
    reorder their surroundings are replaced by their names.

    Raises:
        ValueError: there is no report.
    """
    if not reports:
        raise ValueError("render_html: reports is empty, so there is nothing to show. Pass at least one Report.")
    page = _environment().get_template("report.html")
    return page.render(
        title=title,
        reports=reports,
        order=wording.league_order(reports, floor=floor),
        sections=sections,
        floor=floor,
        severities=SEVERITIES[::-1],
        words=wording,
        forest=forest,
        histogram=histogram,
        plot=plot,
        picture_uri=picture_uri,
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rewardsmith.auditing.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(block=_markup, line=_line, prose=_prose, plain=plain, cell=_cell)
    environment.tests["a_number"] = _is_number
    return environment


def _markup(text: str, limit: int = 1200, *, multiline: bool = True, code: bool = False) -> Markup:
    """Text with nothing hidden; with `code`, what stands in backticks is set as code."""
    found = Markup("")
    for piece in visible(text, limit=limit, multiline=multiline):
        if piece.kind == "mark":
            found += Markup('<i class="mark">{}</i>').format(piece.text)
        elif piece.kind == "odd":
            names = (f"U+{ord(c):04X} {unicodedata.name(c, 'unnamed').lower()}" for c in dict.fromkeys(piece.text[:8]))
            found += Markup('<span class="odd" title="{}">{}</span>').format(", ".join(names), piece.text)
        else:
            parts = re.split(r"`([^`]+)`", piece.text) if code else [piece.text]  # every second stood in backticks
            for place, part in enumerate(parts):
                found += Markup("<code>{}</code>" if place % 2 else "{}").format(part)
    return found


def _line(text: str, limit: int = 400) -> Markup:
    return _markup(text, limit, multiline=False)


def _prose(text: str, limit: int = 800) -> Markup:
    return _markup(text, limit, multiline=False, code=True)


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Cell) -> Markup:
    if value is None:
        return Markup("–")
    shown = wording.number(float(value)) if _is_number(value) else None
    return Markup("{}").format(shown) if shown else _line(str(value))
