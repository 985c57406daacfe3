"""Pages are found by their folder, and read without running what they import."""

import pkgutil
import sys
import types
from dataclasses import fields, replace

import pytest

from rewardsmith.atlas import Page, find_page, load_page, page_slugs, read_pages
from rewardsmith.atlas import pages as pages_folder
from rewardsmith.atlas.page import LoadedPage

TEXT = """paper = 64
components = ["torch_that_is_not_installed.nn", "other.thing"]
claim = '''a
b'''
scope = "s"
ablation = "x"
notes = ['''one
  two''']
usage = '''
u

v'''
advice = '''do
it.'''
changed = [{noise = 0.2, n_steps = 9}, {fair = true}]
"""
MODULE = '''"""Sums are paid for padding.

More."""
import torch_that_is_not_installed

CRITERION = All(AtLeast("m/a", 0.5), Within("m/b", -1, 2), RankAgreement("m", "n", arms=("a", "b"), at_least=0.9))


class World:
    """A chain."""

    n_steps: int = 8  # steps per chain
    noise: float = 0.1
'''


@pytest.fixture
def write(tmp_path):
    def written(text: str = TEXT, module: str = MODULE):
        (tmp_path / "min_form.toml").write_text(text, encoding="utf-8")
        (tmp_path / "min_form.py").write_text(module, encoding="utf-8")
        return tmp_path / "min_form.py"

    return written


def test_a_page_is_read_without_running_it(write):
    page = Page.read(write())
    assert (page.slug, page.summary) == ("min_form", "Sums are paid for padding.")
    assert (page.claim, page.notes, page.falls_short, page.usage) == ("a b", ("one two",), (), "u\n\nv")
    assert page.components == ("torch_that_is_not_installed.nn", "other.thing")
    assert page.names == ("nn", "thing")
    assert str(page.criterion) == (
        "mean m/a ≥ 0.5; and mean m/b in [-1, 2]; and Spearman of m and n over 2 arms' means ≥ 0.9"
    )
    assert page.parameters == (("n_steps", "8", "steps per chain"), ("noise", "0.1", ""))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('scope = "s"\n', "", r"atlas: min_form\.toml lacks scope\. Its fields are paper, components, claim, scope, "),
        ("scope", "scoop", r"atlas: min_form\.toml lacks scope and holds unknown scoop\. Its fields are "),
        ('"s"', '" "', r"atlas: min_form\.toml leaves scope empty\. Say it in a sentence\."),
        ("'''one\n  two'''", "", r"atlas: min_form\.toml leaves notes empty"),
        ('"s"', "3", r"atlas: min_form\.toml gives scope as 3\. Write a text\."),
        ("64", '"64"', r"atlas: min_form\.toml gives paper as '64'\. Write a whole number\."),
        ("'''one\n  two'''", "1", r"atlas: min_form\.toml gives notes as \[1\]\. Write a list of texts\."),
        ("'''do\nit.'''", '""', r"atlas: min_form\.toml leaves advice empty"),
        (
            "n_steps = 9}, {fair = true}",
            "fair = true}",
            r"toml gives changed as \[\{'noise': 0\.2, 'fair': True\}\]\. Write two tables of",
        ),
        ("{fair = true}", "{}", r"toml gives changed as \[.*\{\}\]\. Write two tables of"),
        ('"s"', "s", r"atlas: min_form\.toml is not TOML \(Invalid value \(at line 5, column 9\)\)\. Mend it\."),
    ],
)
def test_a_text_that_lacks_a_field_or_has_another_is_refused_by_file_and_field(write, old, new, message):
    with pytest.raises(ValueError, match=message):
        Page.read(write(text=TEXT.replace(old, new)))


def test_a_module_without_its_text_is_refused(write):
    module = write()
    module.with_suffix(".toml").unlink()
    with pytest.raises(ValueError, match=r"atlas: min_form\.py has no text\. Write min_form\.toml beside it"):
        Page.read(module)


def test_advice_and_changed_worlds_are_read_as_text(write):
    page = Page.read(write())
    assert page.advice == "do it."
    assert page.changed == ({"noise": "0.2", "n_steps": "9"}, {"fair": "True"})


@pytest.mark.parametrize(
    "given", ['AtLeast("m/a", 1 / 3)', "AtLeast(NAME, 1)", "print(1)", "PairedGain('a', over='b')"]
)
def test_a_criterion_that_is_not_of_criteria_and_literals_is_refused(write, given):
    with pytest.raises(ValueError, match=r"atlas: CRITERION of min_form\.py cannot be read \(.+\)\. Write it with"):
        Page.read(write(module=f"CRITERION = {given}"))


def test_a_module_without_criterion_is_refused(write):
    with pytest.raises(ValueError, match=r"atlas: min_form\.py holds no CRITERION\. Add CRITERION = "):
        Page.read(write(module="X = 1"))


@pytest.mark.parametrize("slug", page_slugs())
def test_what_is_read_agrees_with_the_loaded_module(slug):
    loaded = load_page(slug)
    module = sys.modules[f"{pages_folder.__name__}.{slug}"]
    assert str(loaded.page.criterion) == str(module.CRITERION)
    assert loaded.page.summary == module.__doc__.partition("\n")[0]
    assert [name for name, _, _ in loaded.page.parameters] == [field.name for field in fields(loaded.world)]


def test_a_page_is_found_by_number_and_by_name():
    assert find_page("24") is find_page("par")
    assert find_page("024") is find_page("24")
    assert find_page("noise-corrections").paper == 39
    assert {page.slug for page in read_pages()} == {
        module.name for module in pkgutil.iter_modules(pages_folder.__path__)
    }
    with pytest.raises(ValueError, match=r"there is no page 'nope'. The implemented ones are 3 \(alignment_survey\), "):
        find_page("nope")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zebras": "1"}, r"page par declares no world parameter 'zebras'\. It declares n_prompts=150"),
        ({"n_prompts": "2.5"}, r"page par cannot set n_prompts to '2\.5'\. Give a value of type int"),
    ],
)
def test_a_declared_change_that_the_world_cannot_take_is_refused_when_the_page_loads(changes, message):
    page = replace(find_page("par"), changed=({"hack_rate": "0.02"}, changes))
    with pytest.raises(ValueError, match=message):
        LoadedPage.of(sys.modules[type(load_page("par").world()).__module__], page)


def test_a_module_that_lacks_part_of_the_interface_is_refused():
    module, real = types.ModuleType("pages.half"), load_page("par")
    with pytest.raises(TypeError, match=r"LoadedPage: pages.half must hold a dataclass World"):
        LoadedPage.of(module, real.page)
    module.World, module.experiment = real.world, lambda seed, world: {}
    with pytest.raises(TypeError, match=r"pages.half must hold experiment\(seed, world, \*, broken=False\)"):
        LoadedPage.of(module, real.page)
