"""Every page, whatever its paper: it says what it must, its numbers repeat, and its ablation does not pass."""

import ast
import importlib
import inspect
import json
import math
from dataclasses import fields, is_dataclass, replace
from operator import attrgetter
from pathlib import Path

import pytest

from rewardsmith.atlas import find_paper, load_page, page_slugs, run_page
from rewardsmith.atlas.criteria import All, AtMost, LowerBound, PairedGain, seeds_to_judge
from rewardsmith.atlas.results import Held, read_results
from rewardsmith.atlas.site import write_site

SLUGS = page_slugs()
RESULTS = Path(__file__).parents[2] / "docs" / "atlas" / "results"


def seconds_per_seed(slug, name):
    """What a run took when the documentation's results were made; 0 where there are none yet."""
    path = RESULTS / f"{slug}.json"
    run = json.loads(path.read_text(encoding="utf-8"))["runs"][name] if path.is_file() else None
    return run["seconds"] / len(run["seeds"]) if run else 0.0


@pytest.mark.parametrize("slug", SLUGS)
def test_a_page_says_what_it_shows_and_what_it_does_not(slug):
    loaded = load_page(slug)
    page = loaded.page
    assert find_paper(page.paper)
    assert page.summary.endswith(".")
    assert is_dataclass(loaded.world)
    assert loaded.world.__doc__
    module = importlib.import_module(f"rewardsmith.atlas.pages.{slug}")
    assert (module.experiments if loaded.together else module.experiment).__doc__
    assert "```" in page.usage, "show how to use it at real scale, with code"
    for component in page.components:
        room, name = component.rsplit(".", 1)
        assert room.startswith("rewardsmith."), "a page exercises the library, not a copy"
        assert hasattr(importlib.import_module(room), name), f"{component} is gone"
    for text in (page.claim, page.scope, page.ablation, *page.notes, *page.falls_short):
        assert text.rstrip().endswith((".", "?")), text


@pytest.mark.parametrize("slug", SLUGS)
def test_every_declared_parameter_is_read(slug):
    """By name, or by a function that `parameters` fills: one that nothing reads would be set without effect."""
    module = importlib.import_module(f"rewardsmith.atlas.pages.{slug}")
    read = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Attribute):
            read.add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "parameters":
            read |= set(inspect.signature(attrgetter(ast.unparse(node.args[1]))(module)).parameters)
    assert not {field.name for field in fields(load_page(slug).world)} - read


@pytest.mark.parametrize("slug", SLUGS)
def test_a_page_passes_on_the_seeds_that_the_documentation_shows_and_its_ablation_does_not(slug):
    page = load_page(slug).page
    held = read_results(RESULTS, page)
    assert not held.stale, "the page changed: run `make atlas`"
    default, ablation = held.runs["default"], held.runs["ablation"]
    assert len(default.seeds) >= 10 >= seeds_to_judge(page.criterion)
    fallen = [(part.sentence, part.observed) for part in default.verdict.parts if not part.passed]
    assert default.verdict.passed, fallen
    assert ablation.seeds == default.seeds
    assert not ablation.verdict.passed


CHAOTIC = {
    "dynamic_beta",
    "implicit_rewards",
    "master_keys",
    "reward_inconsistency",
    "stable_reinforce",
}
"""Pages whose training is so unsteady, or so long in single precision, that the last digit decides whole answers."""


def repeated(slug, name, place=-1):
    """One of the seeds that the documentation shows, run alone, and the names of the numbers that it gives otherwise.

    There it ran with others beside it. Another processor rounds otherwise, and training carries that on: up to a
    quarter of the spread over seeds is allowed (SSE2 in place of AVX-512: .18). On a chaotic page that is another
    seed: four fifths of the numbers must lie no further outside the ten seeds' range than it is wide.
    """
    shown = read_results(RESULTS, load_page(slug).page).runs[name]
    run = run_page(slug, seeds=[shown.seeds[place]], broken=name == "ablation")
    assert run.results.keys() == shown.results.keys()
    otherwise = []
    for of, values in shown.results.items():
        known = [one for one in values if not math.isnan(one)] or [0.0]
        spread, digits = max(known) - min(known), 1e-5 * max(map(abs, known)) + 1e-9
        middle, allowed = values[place], 0.25 * spread + digits
        if slug in CHAOTIC:
            middle, allowed = (max(known) + min(known)) / 2, 1.5 * spread + digits
        if run.results[of] != [pytest.approx(middle, abs=allowed, rel=0, nan_ok=True)]:
            otherwise.append(of)
    return run, otherwise if slug not in CHAOTIC or len(otherwise) > len(shown.results) / 5 else []


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS)
def test_a_seed_alone_gives_the_numbers_that_the_documentation_shows(slug, tmp_path):
    """`make sweep` asks each page on seeds of its own."""
    run, otherwise = repeated(slug, "default")
    assert otherwise == []
    ablation = read_results(RESULTS, run.page).runs["ablation"]
    write_site(tmp_path, {slug: Held({"default": run, "ablation": ablation})})
    assert (tmp_path / f"{slug}.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("slug", [slug for slug in SLUGS if seconds_per_seed(slug, "ablation") < 1])
def test_so_does_a_seed_of_an_ablation(slug):
    """`make sweep` asks all ablations, also those that take longer."""
    _, otherwise = repeated(slug, "ablation")
    assert otherwise == []


def test_a_criterion_is_asked_in_full_from_its_intervals_and_p_values_on():
    """2⁻⁵ = 0.031 ≤ 0.05 < 2⁻⁴ = 0.0625."""
    gain = PairedGain("a/x", over="a/y", at_least=0.0)
    assert seeds_to_judge(gain) == 1
    assert seeds_to_judge(replace(gain, p_value=0.05)) == 5
    assert seeds_to_judge(All(gain, LowerBound("a/x", above=0.0, least_seeds=8), AtMost("a/y", 1.0))) == 8
