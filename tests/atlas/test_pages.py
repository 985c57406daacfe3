"""Every page, whatever its paper: it says what it must, its numbers repeat, and its ablation does not pass."""

import importlib
import os
import random
from dataclasses import is_dataclass

import pytest

from rewardsmith.atlas import find_paper, load_page, page_slugs, run_page

SLUGS = page_slugs()


SEED = os.environ.get("REWARDSMITH_SEED") or "0"


def seeds_of(slug: str, n: int) -> list[int]:
    """Seeds of a page, drawn by `REWARDSMITH_SEED`."""
    return random.Random(f"{SEED} {slug}").sample(range(10_000, 2**31), n)


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


def test_a_page_drawn_at_random_runs_and_its_ablation_does_not_pass():
    slug = random.Random(SEED).choice(SLUGS)
    run = run_page(slug, seeds=seeds_of(slug, 1), broken=True)
    assert not run.verdict.passed, f"{slug}, seeds {run.seeds}"
    assert all("/" in name for name in run.results)


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS)
def test_an_ablation_does_not_pass(slug):
    seeds = seeds_of(slug, 1)
    assert not run_page(slug, seeds=seeds, broken=True).verdict.passed, f"seeds {seeds}"


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS)
def test_a_page_passes_and_a_seed_alone_gives_the_same_numbers(slug):
    """On five seeds; a page that falls there is heard once more, on ten others, as a true claim may meet bad luck.

    One of the first five is run again by itself: its numbers repeat, and do not depend on the seeds beside it.
    """
    first, others = (seeds := seeds_of(slug, 15))[:5], seeds[5:]
    run = together = run_page(slug, seeds=first)
    if not run.verdict.passed:
        print(f"{slug} fell on seeds {first}; now on {others}")
        run = run_page(slug, seeds=others)
    fallen = [(part.sentence, part.observed) for part in run.verdict.parts if not part.passed]
    assert run.verdict.passed, f"seeds {run.seeds}: {fallen}"
    tolerance = 1e-6 if load_page(slug).together else 0.0  # side by side, sums are taken in another order
    for name, (value,) in run_page(slug, seeds=first[2:3]).results.items():
        assert together.results[name][2] == pytest.approx(value, abs=tolerance, rel=0, nan_ok=True), f"{name}, {first}"
