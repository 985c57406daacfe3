"""Write a report as one HTML file that opens offline and loads nothing; its only script filters."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from rewardsmith._pictures import picture_uri
from rewardsmith.auditing.finding import NOTHING_TO_DO, SEVERITIES, Severity
from rewardsmith.auditing.render import wording
from rewardsmith.auditing.render.curves import draw
from rewardsmith.auditing.render.figures import forest, histogram
from rewardsmith.auditing.render.visible import plain, visible
from rewardsmith.scoring.score_rows import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

    from rewardsmith.auditing.report import Report

Cell = str | float | None
PILLS = {"critical": "#a4133c", "high": "#c2410c", "medium": "#a16207", "low": "#2f6db3", "info": "#64748b"}
"""Colors of a severity under white letters, for a notebook."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part that the caller adds to the page: words, then pictures, then a table. All of it is escaped.

    text: paragraphs, set apart by empty lines.
    pictures: matplotlib figures, best drawn under `HOUSE_STYLE`, with their `caption`; side by side if there is room.
    table: the header, and rows of the same length; numbers are set to three digits, None shows as a dash.
    """

    title: str
    text: str = ""
    pictures: Sequence[Figure] = ()
    caption: str = ""
    table: tuple[Sequence[str], Sequence[Sequence[Cell]]] | None = None

    def __post_init__(self) -> None:
        """Raise for a table row that does not match the header."""
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
    """Return the page: verdict at `floor`, table of rewards if several, sections, then each report.

    All text from models, data or rewards is escaped. Characters that are invisible or would reorder their surroundings
    are replaced by their names.

    Raises:
        ValueError: `reports` is empty.
    """
    if not reports:
        raise ValueError("render_html: reports is empty. Pass at least one Report.")
    script = _environment().get_template("report.js").render()
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    tones = {wording.tone([report], floor=floor) for report in reports}
    if len(reports) == 1:
        tones = {finding.severity for finding in reports[0].findings}
        tones |= {{"clean": "clean", "not run": "unasked"}.get(check.status, "") for check in reports[0].checks}
    made = [report.provenance for report in reports if report.provenance is not None]
    page = _environment().get_template("report.html")
    return page.render(
        title=title,
        reports=reports,
        script=Markup(script),
        script_hash=f"sha256-{seal}",
        tones=[tone for tone in (*SEVERITIES[::-1], "unasked", "clean") if tone in tones],
        clean=sum(not report.at_least(floor) for report in reports),
        versions={name: version for own in made for name, version in own.versions.items()},
        nothing=NOTHING_TO_DO,
        order=wording.league_order(reports, floor=floor),
        sections=sections,
        floor=floor,
        severities=SEVERITIES[::-1],
        words=wording,
        forest=forest,
        histogram=histogram,
        draw=draw,
        picture_uri=picture_uri,
    )


def render_table(report: Report, *, floor: Severity = "medium") -> str:
    """Return the findings of a report as an escaped table for a notebook."""
    template = _environment().get_template("notebook.html")
    return template.render(report=report, found=report.at_least(floor), floor=floor, words=wording, colors=PILLS)


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
    environment.filters["sentence"] = lambda text: _prose(f"{text[:1].upper()}{text[1:]}.")
    environment.filters["code"] = printable
    environment.tests["a_number"] = _is_number
    return environment


def _markup(text: str, limit: int = 1200, *, multiline: bool = True, code: bool = False) -> Markup:
    """Return escaped text with invisible characters marked; `code` sets text in backticks as code."""
    found = Markup("")
    for piece in visible(text, limit=limit, multiline=multiline):
        if piece.kind == "mark":
            found += Markup('<i class="mark">{}</i>').format(piece.text)
        elif piece.kind == "odd":
            names = (f"U+{ord(c):04X} {unicodedata.name(c, 'unnamed').lower()}" for c in dict.fromkeys(piece.text[:8]))
            found += Markup('<span class="odd" title="{}">{}</span>').format(", ".join(names), piece.text)
        else:
            parts = re.split(r"`([^`]+)`", piece.text) if code else [piece.text]  # every second part was in backticks
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
