"""Write the atlas as a static site: one index of all papers and one file per page, each complete in itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rewardsmith.atlas.catalogue import STATUSES, TAGS, Paper, find_paper, load_catalogue, page_of, status_of
from rewardsmith.atlas.discovery import find_page
from rewardsmith.atlas.figures import plain
from rewardsmith.atlas.page import Page
from rewardsmith.atlas.results import Held

ORDER = (*STATUSES[:2], "not reproduced", "not built", STATUSES[2])


def write_site(out: Path, pages: Mapping[str, Held]) -> Path:
    """Write `<slug>.html` for every page's runs into `out`, `index.html` of all papers and `families.html` of advice.

    Returns:
        The path of the index.
    """
    out.mkdir(parents=True, exist_ok=True)
    for slug, held in pages.items():
        (out / f"{slug}.html").write_text(page_html(find_page(slug), held), encoding="utf-8")
    entries: list[dict[str, Any]] = []
    for paper in load_catalogue():
        page = page_of(paper)
        of = pages.get(page.slug) if page else None
        entries.append({"paper": paper, "page": page, "held": of, "status": shown_status(paper, of)})
    found = Counter(str(entry["status"]) for entry in entries)
    families = sorted({paper.family for paper in load_catalogue()})
    index = ENVIRONMENT.get_template("index.html").render(
        entries=entries,
        counts={status: found[status] for status in ORDER if status in found},
        families=families,
        vocabulary=TAGS,
        tags=sorted({tag for page in map(page_of, load_catalogue()) if page for tag in page.tags}),
    )
    (out / "index.html").write_text(index, encoding="utf-8")
    entries.sort(key=lambda entry: (entry["paper"].failure, ORDER.index(entry["status"])))  # what one looks for
    by_family = {family: [entry for entry in entries if entry["paper"].family == family] for family in families}
    by_family = dict(sorted(by_family.items(), key=lambda item: not any(entry["held"] for entry in item[1])))
    overview = ENVIRONMENT.get_template("families.html").render(families=by_family)
    (out / "families.html").write_text(overview, encoding="utf-8")
    return out / "index.html"


def page_html(page: Page, held: Held) -> str:
    """Return a page of the site as text."""
    pieces = re.split(r"```[a-z]*\n(.*?)```", page.usage, flags=re.DOTALL)  # every second one is code
    return ENVIRONMENT.get_template("page.html").render(
        paper=find_paper(page.paper),
        page=page,
        status=shown_status(find_paper(page.paper), held),
        held=held,
        run=held.runs["default"],
        meanings={name: meaning for name, _, meaning in page.parameters},
        usage=[(piece.strip("\n"), bool(i % 2)) for i, piece in enumerate(pieces) if piece.strip()],
    )


def shown_status(paper: Paper, held: Held | None) -> str:
    """Return the catalogue's status, unless the page did not pass or is not part of this build."""
    if page_of(paper) is not None and held is None:
        return "not built"
    return "not reproduced" if held and not held.runs["default"].verdict.passed else status_of(paper)


def _prose(text: str) -> Markup:
    """Escape a text, and set what stands in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _sentence(text: str) -> str:
    """Return a criterion's sentence with names of results as words.

    >>> _sentence("mean gold_at_kl_1/par_10 ≥ 0.5")
    'mean gold at KL 1 (PAR 10) ≥ 0.5'
    """
    text = re.sub(r"([\w.]+)/([\w.]+)", lambda name: f"{plain(name[1])} ({plain(name[2])})", text)
    return _minus(re.sub(r"\w*_\w*", lambda name: plain(name[0]), text))


def _digits(value: float) -> str:
    return _minus(f"{round(value, 3) + 0.0:.3f}")  # + 0.0: no minus before a zero


def _minus(value: object) -> str:
    """Set the sign of negative numbers as in the texts around them.

    >>> _minus("≥ -0.1, a 1e-05 of best-of-4")
    '≥ −0.1, a 1e-05 of best-of-4'
    """
    return re.sub(r"(?<![\w-])-(?=[\d.])", "−", str(value))


ENVIRONMENT = Environment(
    loader=PackageLoader("rewardsmith.atlas"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters.update(digits=_digits, mean=fmean, minus=_minus, plain=plain, prose=_prose, sentence=_sentence)
