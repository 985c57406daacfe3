"""All papers of the atlas, and how far each is: planned until it has a page."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from rewardsmith.atlas.discovery import read_pages
from rewardsmith.atlas.page import Page

Status = Literal["reproduced", "partly", "planned"]
STATUSES: tuple[Status, ...] = ("reproduced", "partly", "planned")


@dataclass(frozen=True, slots=True)
class Paper:
    """One paper of the catalogue.

    number: the atlas' own, stable. name: what the method is called. identifier: the arXiv id. venue: "" if none is
    known. summary: one line in our own words. confirmed: False where the identifier has still to be checked.
    """

    number: int
    name: str
    title: str
    authors: str
    year: int
    identifier: str
    family: str
    summary: str
    venue: str = ""
    confirmed: bool = True

    @property
    def url(self) -> str:
        """The paper's page on arXiv."""
        return f"https://arxiv.org/abs/{self.identifier}"


@cache
def load_catalogue() -> tuple[Paper, ...]:
    """Return all papers, by number."""
    text = files("rewardsmith.atlas").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tuple(sorted((Paper(**entry) for entry in tomllib.loads(text)["paper"]), key=lambda paper: paper.number))


def find_paper(number: int) -> Paper:
    """Return the paper with this number.

    Raises:
        ValueError: the catalogue has no such number.
    """
    for paper in load_catalogue():
        if paper.number == number:
            return paper
    raise ValueError(f"atlas: there is no paper {number}. Numbers run from 1 to {len(load_catalogue())}.")


def page_of(paper: Paper) -> Page | None:
    """Return the page that reproduces a paper, if it has been written."""
    return next((page for page in read_pages() if page.paper == paper.number), None)


def status_of(paper: Paper) -> Status:
    """Planned without a page; with one, reproduced, or partly where the page says what falls short."""
    page = page_of(paper)
    if page is None:
        return "planned"
    return "partly" if page.falls_short else "reproduced"


def search_catalogue(words: list[str]) -> tuple[Paper, ...]:
    """Papers in whose entry or page every word occurs, case aside; those with more in name and title first."""
    wanted = [word.lower() for word in words]
    hits = []
    for paper in load_catalogue():
        page = page_of(paper)
        head = f"{paper.number} {paper.name} {paper.title}".lower()
        body = f"{head} {paper.authors} {paper.year} {paper.identifier} {paper.venue} {paper.family} {paper.summary} "
        if page is not None:
            body += f"{page.slug} {page.advice} {page.claim} {' '.join(page.names)}"
        if all(word in body.lower() for word in wanted):
            hits.append((-sum(word in head for word in wanted), paper.number, paper))
    return tuple(paper for _, _, paper in sorted(hits))
