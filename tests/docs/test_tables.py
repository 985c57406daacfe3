"""The tables of the guides name every option and every probe there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from rewardsmith.auditing.subjects import answers, pairs, sources, steps
from rewardsmith.cli import app

DOCS = Path(__file__).parents[2] / "docs"


def named(page: str) -> set[str]:
    """What a guide writes as code outside of blocks, one word each."""
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"[\w-]+", code)}


@pytest.mark.parametrize(("command", "page"), [("audit", "audit.md"), ("score", "scaling.md")])
def test_a_guide_names_every_option_of_its_command(command, page):
    options = {
        name for option in get_command(app).commands[command].params for name in (*option.opts, *option.secondary_opts)
    }
    long = {name for name in options if name.startswith("--")} - {"--help"}
    assert len(long) > 10
    assert long <= named(page), long - named(page)


@pytest.mark.parametrize(
    ("probes", "page"),
    [
        (answers.PROBES, "audit.md"),
        (steps.PROBES, "audit.md"),
        (sources.PROBES, "audit.md"),
        (pairs.EDIT_PROBES, "reward_models.md"),
    ],
)
def test_a_guide_names_every_probe(probes, page):
    names = {probe.name for probe in probes} - {"rollouts"}  # which has a table of its own
    assert names <= named(page), names - named(page)


def test_every_file_that_the_guide_to_extending_names_exists():
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    files = {code for code in re.findall(r"`([\w./]*/[\w./]+)`", text) if "NAME" not in code}
    places = (DOCS.parent, DOCS.parent / "src" / "rewardsmith")
    assert len(files) > 40
    assert {file for file in files if not any((place / file).exists() for place in places)} == set()
