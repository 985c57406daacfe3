"""The site builds without a warning, its links lead somewhere, and its reference holds every export."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.installed import part_of

import rewardsmith

ROOT = Path(__file__).parents[2]
SOURCE = Path(rewardsmith.__file__).parent
hooks = part_of("mkdocs-material", "docs.hooks")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


class Seen(HTMLParser):
    """What a page holds: the places that links may name, and what it links to and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = {""}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        self.loads += [values[name] for name in ("src", "srcset") if name in values]
        if tag == "link" and values.get("rel") != "canonical":
            self.loads.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet, check=False)
    assert done.returncode == 0, done.stderr
    return {page.relative_to(out): Seen(page.read_text(encoding="utf-8")) for page in out.rglob("*.html")} | {
        file.relative_to(out): None for file in out.rglob("*") if file.suffix != ".html"
    }


def test_every_link_inside_the_site_leads_to_a_page_and_a_place_on_it(site):
    broken = []
    for page, seen in site.items():
        for link in [*seen.links, *seen.loads] if seen else ():
            url = urlsplit(link)
            if url.scheme or page.name == "404.html":
                continue
            target = os.path.normpath(page.parent / unquote(url.path)) if url.path else page
            there = site.get(Path(target), "absent")
            if there == "absent" or (there and unquote(url.fragment) not in there.places):
                broken.append(f"{page}: {link}")
    assert broken == []


def test_the_site_loads_nothing_from_elsewhere(site):
    loaded = {link for seen in site.values() if seen for link in seen.loads}
    assert {link for link in loaded if urlsplit(link).scheme not in ("", "data") or link.startswith("//")} == set()


def test_every_page_of_the_atlas_whose_results_are_kept_is_in_the_site(site):
    pages = {Path(f"atlas/{file.stem}.html") for file in (ROOT / "docs" / "atlas" / "results").glob("*.json")}
    made = {Path("atlas/index.html"), Path("atlas/families.html")}
    assert pages | made == {page for page in site if page.match("atlas/*.html")}


def test_a_paper_that_a_guide_names_leads_to_its_page_of_the_atlas_or_to_the_index(site):
    named = {"recipes.html": ["clip_delta", "gated_rewards", "min_form"], "verifiers.html": ["rlcr"]}  # 11, 34, 64; 48
    for page, slugs in named.items():
        assert {f"atlas/{slug}.html" for slug in slugs} <= set(site[Path(page)].links)
    assert hooks.PAPERS.sub(lambda m: re.sub(r"\d\d", hooks.in_the_atlas, m[0]), "Papers 06 and 01; 78 papers") == (
        "Papers [06](atlas/helping_or_herding.html) and [01](atlas/index.html); 78 papers"
    )


def rooms():
    """The packages that declare what they export, by name."""
    for init in sorted(SOURCE.rglob("__init__.py")):
        name = ".".join(("rewardsmith", *init.parent.relative_to(SOURCE).parts))
        if "__all__" in init.read_text(encoding="utf-8"):
            yield name, importlib.import_module(name)


def test_every_export_stands_in_the_reference(site):
    index = site[Path("reference/index.html")]
    for name, room in rooms():
        page = site.get(Path(f"reference/{name.removeprefix('rewardsmith.')}.html"))
        for export in room.__all__:
            if page is None:  # the names of a first day, which the index links to their rooms
                assert any(link.endswith(f".{export}") for link in index.links), export
            else:
                assert f"{name}.{export}" in page.places, export


def test_every_export_says_what_it_is_and_shows_its_use():
    """By a `>>>` of its own or by a block of a guide, both of which are run."""
    lacking = set()
    for name, room in rooms():
        for export in room.__all__:
            value = getattr(room, export)
            if not callable(value):
                continue
            documented = inspect.getdoc(value) or ""
            assert documented, f"{name}.{export} has no docstring"
            if ">>>" not in documented and (hooks.defined(name, export)[0], export) not in hooks.examples():
                lacking.add(f"{name}.{export}")
    assert lacking == set()
