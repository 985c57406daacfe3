"""Pages are found by their folder, and read without running what they import."""

import subprocess
import sys
import types

import pytest

from rewardsmith.atlas import AtLeast, LoadedPage, Page, declarations, find_declaration, load_page, page_slugs
from rewardsmith.atlas.discovery import _declaration

PAGE_SOURCE = '''"""Sums are paid for padding.

More."""
import torch_that_is_not_installed

PAGE = Page(
    paper=64,
    component=(torch_that_is_not_installed.nn, other),
    claim="a" "b",
    criterion=All(AtLeast("m/a", 0.5)),
    scope="s",
    ablation="x",
    usage="u",
)


class World:
    """A chain."""

    n_steps: int = 8  # steps per chain
    noise: float = 0.1
'''


def test_a_declaration_is_read_without_running_the_page():
    found = _declaration("min_form", PAGE_SOURCE)
    assert (found.slug, found.summary, found.world) == ("min_form", "Sums are paid for padding.", "A chain.")
    assert found.page.claim == "ab"
    assert found.page.components == ("torch_that_is_not_installed.nn", "other")
    assert str(found.page.criterion) == "mean m/a ≥ 0.5"
    assert found.parameters == (("n_steps", "8", "steps per chain"), ("noise", "0.1", ""))


@pytest.mark.parametrize("slug", page_slugs())
def test_the_declaration_agrees_with_the_loaded_page(slug):
    read, loaded = find_declaration(slug), load_page(slug)
    for name in ("paper", "claim", "scope", "ablation", "usage", "notes", "falls_short"):
        assert getattr(read.page, name) == getattr(loaded.page, name)
    assert str(read.page.criterion) == str(loaded.page.criterion)
    assert read.summary == loaded.summary
    assert [name for name, _, _ in read.parameters] == list(loaded.world_defaults())


def test_every_page_in_the_folder_is_declared():
    assert {found.slug for found in declarations()} == set(page_slugs())


def test_a_page_is_found_by_number_and_by_name():
    assert find_declaration("24") is find_declaration("par")
    assert find_declaration("024") is find_declaration("24")
    assert find_declaration("noise-corrections").page.paper == 39
    with pytest.raises(ValueError, match=r"atlas: there is no page 'nope'. The implemented ones are 5 \(lsc\), "):
        find_declaration("nope")


def test_reading_the_atlas_loads_no_torch():
    code = (
        "import sys; from rewardsmith.atlas import declarations, load_catalogue, status_of;"
        "declarations(); [status_of(paper) for paper in load_catalogue()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_page_that_leaves_a_sentence_empty_is_refused():
    with pytest.raises(ValueError, match="Page: paper 1 leaves scope, usage empty"):
        Page(paper=1, component=len, claim="c", criterion=AtLeast("m/a", 0), scope=" ", ablation="a", usage="")


def test_a_module_that_lacks_part_of_the_interface_is_refused():
    module = types.ModuleType("pages.half")
    with pytest.raises(TypeError, match=r"LoadedPage: pages.half must hold PAGE = Page\(...\) and a dataclass World"):
        LoadedPage.of(module)
    real = load_page("par")
    module.PAGE, module.World, module.experiment = real.page, real.world, lambda seed, world: {}
    with pytest.raises(TypeError, match=r"pages.half must hold experiment\(seed, world, \*, broken=False\)"):
        LoadedPage.of(module)
