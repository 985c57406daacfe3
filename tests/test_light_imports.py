"""What loads no heavy library: one process loads the light parts in turn and says what each has brought in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

RUN = """
    import contextlib, io, json, sys
    steps, heavy = json.load(sys.stdin)
    for name, code in steps.items():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            exec(code, {})
        loaded = sorted(set(heavy) & set(sys.modules))
        rooms = sorted({name.split(".")[1] for name in sys.modules if name.startswith("rewardsmith.")})
        print(json.dumps([name, loaded, rooms, printed.getvalue()]))
"""
TRAINERS = {"trl", "transformers", "datasets"}
MODELS = {"torch", "safetensors", *TRAINERS}
DRAWN = {"matplotlib", "scipy", "sympy"}
LIGHT = {  # what comes earlier may load less, as what it has loaded stays
    "scoring's workers": (
        "import rewardsmith.scoring.worker",
        MODELS | DRAWN | {"numpy", "math_verify", "rich", "reasoning_gym"},
    ),
    "data": ("import rewardsmith.data", MODELS | DRAWN),
    "rewards": ("import rewardsmith.rewards", MODELS | DRAWN),
    "the command line": ("import rewardsmith.cli", MODELS | DRAWN),
    "audit --help": ("from rewardsmith.cli import app; app(['audit', '--help'])", MODELS | DRAWN),
    "train-reward --help": ("from rewardsmith.cli import app; app(['train-reward', '--help'])", MODELS),
    "benchmark --help": ("from rewardsmith.cli import app; app(['benchmark', '--help'])", MODELS),
    "atlas --help": ("from rewardsmith.cli.atlas import app; app(['--help'])", MODELS),
    "atlas list": ("from rewardsmith.cli.atlas import app; app(['list'])", MODELS),
    "atlas show": ("from rewardsmith.cli.atlas import app; app(['show', '24'])", MODELS),
    "atlas search": ("from rewardsmith.cli.atlas import app; app(['search', 'judge'])", MODELS),
    "the atlas's texts": (
        "from rewardsmith.atlas import load_catalogue, read_pages, status_of; read_pages(); "
        "[status_of(paper) for paper in load_catalogue()]",
        MODELS,
    ),
    "auditing": ("import rewardsmith.auditing", MODELS | {"matplotlib"}),
    "a report without pictures": ("import rewardsmith.auditing.render.html", MODELS | {"matplotlib"}),
    "measures": ("from rewardsmith.measures import *; reward_reliability([0, 1, 2], [0, 1, 3])", MODELS),
}
WITH_TORCH = {
    "objectives": ("import rewardsmith.objectives", {*TRAINERS, "scipy"}),
    "worlds and monitors": ("import rewardsmith.worlds, rewardsmith.monitors", {*TRAINERS, "scipy"}),
}


def loaded_by(parts):
    """Name → (heavy libraries that are loaded by then, our rooms that are, what was printed)."""
    heavy = sorted(set().union(*(forbidden for _, forbidden in parts.values())))
    given = json.dumps([{name: code for name, (code, _) in parts.items()}, heavy])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUN)],
        input=given, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    lines = map(json.loads, done.stdout.splitlines())
    return {name: (set(loaded), set(rooms), text) for name, loaded, rooms, text in lines}


@pytest.fixture(scope="module")
def light():
    return loaded_by(LIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_it_loads_no_heavy_library(light, name):
    assert light[name][0] & LIGHT[name][1] == set()


@pytest.mark.slow
def test_help_tells_the_options(light):
    assert "--fail-on" in light["audit --help"][2]
    assert "--subset" in light["train-reward --help"][2]
    assert "Usage" in light["benchmark --help"][2]


@pytest.mark.slow
def test_wanting_a_loss_loads_torch_and_no_other_room_and_worlds_and_monitors_load_no_trainer():
    found = loaded_by(WITH_TORCH)
    assert found["objectives"][1] <= {"objectives", "_check", "_torch", "errors"}
    assert all(loaded & WITH_TORCH[name][1] == set() for name, (loaded, _, _) in found.items())
