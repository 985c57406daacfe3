"""Every example that trains runs through its trainer, briefly, and brings back what it draws."""

import importlib
import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "examples").glob("*.py"))
TRAINED = [path.stem for path in PAGES if "\ndef run(" in path.read_text(encoding="utf-8")]
STEPS = 2
WARM_STEPS = 20  # of imitation, in place of up to 1,200
SMALLER: dict[str, dict[str, int]] = {
    "reward_model": {"pairs": 200, "fit_steps": 10},
    "programs": {"batch": 16},
    "implicit_prm": {"prompts": 8, "fit_steps": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_an_example_brings_back_a_finite_curve_for_every_quantity_and_arm(name, monkeypatch):
    example = importlib.import_module(f"examples.{name}")
    build = example.build
    if hasattr(example, "N"):
        monkeypatch.setattr(example, "N", 3)  # operands, of which the example also audits all pairs
    monkeypatch.setattr(example, "build", lambda *task, **options: build(*task, **options | {"steps": WARM_STEPS}))
    panels = example.run(steps=STEPS, seed=1, **SMALLER.get(name, {}))
    arms = [list(curves) for curves in panels.values()]
    assert len(arms[0]) >= 2
    assert all(named == arms[0] for named in arms)
    for quantity, curves in panels.items():
        for arm, curve in curves.items():
            assert len(curve) == STEPS, f"{quantity} of {arm}"
            assert all(math.isfinite(value) for value in curve), f"{quantity} of {arm}"


@pytest.mark.parametrize("name", TRAINED)
def test_an_example_is_a_page_that_says_how_it_is_run_and_has_its_picture_in_the_guide(name):
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert text.startswith(f'"""make .venv/.installed && .venv/bin/python -m examples.{name}\n')
    assert len(text.splitlines()) <= 110
    guide = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    (picture,) = re.findall(rf"\]\((images/examples/{name}\.svg)\)", guide)
    assert f"-m examples.{name}" in guide
    assert (ROOT / "docs" / picture).is_file()


def test_there_are_examples():
    assert len(TRAINED) >= 4
