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
from rewardsmith.auditing.render.visible import Piece, plain, visible
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
    environment.filters.update(block=_block, line=_line, prose=_prose, plain=plain, cell=_cell)
    environment.tests["a_number"] = _is_number
    return environment


def _block(text: str) -> Markup:
    """Text for a box: several lines, nothing hidden."""
    return _markup(visible(text))


def _line(text: str, limit: int = 400) -> Markup:
    """Text within a sentence: one line, nothing hidden."""
    return _markup(visible(text, limit=limit, multiline=False))


def _prose(text: str, limit: int = 800) -> Markup:
    """A sentence of ours: what stands in backticks is set as code."""
    return Markup("").join(
        _code_set(piece.text) if piece.kind == "plain" else _piece_markup(piece)
        for piece in visible(text, limit=limit, multiline=False)
    )


def _code_set(text: str) -> Markup:
    parts = re.split(r"`([^`]+)`", text)  # every second part stood in backticks
    return Markup("").join(Markup("<code>{}</code>" if i % 2 else "{}").format(part) for i, part in enumerate(parts))


def _markup(pieces: Sequence[Piece]) -> Markup:
    return Markup("").join(_piece_markup(piece) for piece in pieces)


def _piece_markup(piece: Piece) -> Markup:
    if piece.kind == "mark":
        return Markup('<i class="mark">{}</i>').format(piece.text)
    if piece.kind == "odd":
        return Markup('<span class="odd" title="{}">{}</span>').format(_name(piece.text), piece.text)
    return Markup("{}").format(piece.text)


def _name(text: str) -> str:
    return ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, 'unnamed').lower()}" for c in dict.fromkeys(text[:8]))


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Cell) -> Markup:
    if value is None:
        return Markup("–")
    return Markup("{}").format(wording.number(float(value))) if _is_number(value) else _line(str(value))
