"""Find the pages by their folder; read what they declare without running them, or load them."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from rewardsmith.atlas import pages
from rewardsmith.atlas.page import LoadedPage, Page


def page_slugs() -> tuple[str, ...]:
    """File names in `atlas/pages/`, sorted."""
    return tuple(sorted(page.slug for page in read_pages()))


def load_page(slug: str) -> LoadedPage:
    """Import a page, and with it what it needs (torch)."""
    from rewardsmith._torch import torch  # noqa: F401 - its error says how to install it

    page = find_page(slug)
    return LoadedPage.of(importlib.import_module(f"{pages.__name__}.{page.slug}"), page)


@cache
def read_pages() -> tuple[Page, ...]:
    """Return all pages by paper number, read from their files, so that no page's imports run."""
    modules = (path for path in Path(next(iter(pages.__path__))).glob("*.py") if path.stem != "__init__")
    return tuple(sorted(map(Page.read, modules), key=lambda page: page.paper))


def find_page(identifier: str) -> Page:
    """Return the page with this paper number or slug.

    Raises:
        ValueError: there is none.
    """
    wanted = str(int(identifier)) if identifier.isdecimal() else identifier.replace("-", "_")
    for page in read_pages():
        if wanted in (str(page.paper), page.slug):
            return page
    known = ", ".join(f"{page.paper} ({page.slug})" for page in read_pages())
    raise ValueError(f"atlas: there is no page {identifier!r}. The implemented ones are {known}.")
