"""All papers of the atlas, and how far each is: planned until it has a page."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from rewardsmith._check import check_choice
from rewardsmith.atlas.discovery import read_pages
from rewardsmith.atlas.page import Page

Status = Literal["reproduced", "partly", "planned"]
STATUSES: tuple[Status, ...] = ("reproduced", "partly", "planned")
TAGS: dict[str, tuple[str, ...]] = {
    "paradigm": (
        "sft", "rlhf", "direct preference", "ai feedback", "verifiable rewards", "brain-inspired", "inference-time",
        "control",
    ),
    "feedback": ("demonstrations", "pairwise", "scalar", "rubric", "binary verifier", "process"),
    "objective": (
        "helpfulness", "harmlessness", "honesty", "robustness", "calibration", "diversity", "efficiency",
    ),
    "failure": (
        "misspecification", "over-optimization", "distribution shift", "noise", "oversight gap", "value pluralism",
        "continual drift",
    ),
}  # fmt: skip
"""The vocabulary of tags, after the survey of Lu et al. 2025, arXiv:2507.19672; `control` is ours.

A paradigm, the feedback that is learned from, the objective in the trade-off, and the failure that is addressed.
"""


@dataclass(frozen=True, slots=True)
class Paper:
    """One paper of the catalogue.

    number: the atlas' own, stable. name: what the method is called. identifier: the arXiv id. venue: "" if none is
    known. summary: one line in our own words. confirmed: False where the identifier has still to be checked.
    paradigm, feedback, objective, failure: tags of `TAGS`; no failure where the paper addresses none of them.
    """

    number: int
    name: str
    title: str
    authors: str
    year: int
    identifier: str
    family: str
    summary: str
    paradigm: tuple[str, ...]
    feedback: tuple[str, ...]
    objective: tuple[str, ...]
    failure: tuple[str, ...]
    venue: str = ""
    confirmed: bool = True

    def __post_init__(self) -> None:
        for kind, known in TAGS.items():
            given = tuple(getattr(self, kind))
            object.__setattr__(self, kind, given)
            if set(given) - set(known) or len(set(given)) < len(given) or not (given or kind == "failure"):
                raise ValueError(
                    f"atlas: paper {self.number} has {kind} {list(given)!r}. Choose from {', '.join(known)}, each once."
                )

    @property
    def url(self) -> str:
        """The paper's page on arXiv."""
        return f"https://arxiv.org/abs/{self.identifier}"

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags, in the order of `TAGS`."""
        return (*self.paradigm, *self.feedback, *self.objective, *self.failure)


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


def tagged(papers: Sequence[Paper], tags: Sequence[str]) -> tuple[Paper, ...]:
    """Return the papers that have every tag.

    Raises:
        ValueError: a tag is not of the vocabulary.
    """
    known = [tag for values in TAGS.values() for tag in values]
    for tag in tags:
        check_choice("atlas", "tag", tag, tuple(known))
    return tuple(paper for paper in papers if set(tags) <= set(paper.tags))


def search_catalogue(words: list[str]) -> tuple[Paper, ...]:
    """Papers in whose entry or page every word occurs, case aside; those with more in name and title first."""
    wanted = [word.lower() for word in words]
    hits = []
    for paper in load_catalogue():
        page = page_of(paper)
        head = f"{paper.number} {paper.name} {paper.title}".lower()
        body = f"{head} {paper.authors} {paper.year} {paper.identifier} {paper.venue} {paper.family} {paper.summary} "
        body += f"{' '.join(paper.tags)} "
        if page is not None:
            body += f"{page.slug} {page.advice} {page.claim} {' '.join(page.names)}"
        if all(word in body.lower() for word in wanted):
            hits.append((-sum(word in head for word in wanted), paper.number, paper))
    return tuple(paper for _, _, paper in sorted(hits))
