"""The audit of small trained reward models: each of ten planted faults is named, and ten sound models are clean.

Here all are of seed 0, and of the plain sound models there is one. They lie trained in `planted_models.safetensors`;
where the trainer refuses one because its rows or settings changed, `python -m tests.auditing.test_planted_models`
trains all of them again, in some three minutes. `make sweep` trains fresh ones, counts how often they pass, and audits
each with twice the budget of here.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.auditing.trained_models import Taste, World
from typer.testing import CliRunner

from rewardsmith.auditing import audit
from rewardsmith.cli import app
from rewardsmith.data import PreferenceRow
from rewardsmith.rewards import Batching, load_reward_model

KEPT = Path(__file__).with_name("planted_models.safetensors")
COMMAND = Path(sys.executable).with_name("rewardsmith")


class Case(NamedTuple):
    """A model, made when asked for, what it is audited on, the probe that has to find it, and the audit's budget."""

    model: Callable[[World], Path]
    rows: Callable[[World], list[PreferenceRow]]
    probe: str = ""
    budget: int = 6_000


def plain(name: str, **taste: float) -> Callable[[World], Path]:
    return lambda world: world.train(name, taste=Taste(**taste))


def biased(trait: str, strength: float, **options: int) -> Callable[[World], Path]:
    return lambda world: world.biased(trait, strength, **options)


def rows(name: str = "plain", n: int = 300, **options: object) -> Callable[[World], list[PreferenceRow]]:
    return lambda world: world.rows(name, n, **options)


NOISY = Taste(fitting=2.5, flipped=0.25)  # of an annotator who seldom doubts
PLANTED = {
    "length bias": Case(biased("per_word", 0.15), rows(), "length"),
    "style bias": Case(biased("decoration", 2.5), rows(), "style"),
    "ignored prompt": Case(plain("prompt", fitting=0.0), rows("many", n=1500), "prompt"),
    "ignored context": Case(
        lambda w: w.train("context", taste=Taste(context=0.0), contexts=True),
        rows("contexts", contexts=True),
        "context",
    ),
    "label noise": Case(
        lambda w: w.train("noise", n=4000, taste=NOISY), rows("noise", n=6000, taste=NOISY), "label_noise", 24_000
    ),
    "overconfidence": Case(
        lambda w: w.train("overtrained", n=100, epochs=40), rows("many", n=1500), "margin_calibration", 4_000
    ),
    "opener bias": Case(biased("opener", 2.5, n=4000), rows(), "openers"),
    "position bias": Case(lambda w: w.pairwise("position", better_first=0.75, steps=150), rows(), "position", 4_000),
    "duplicated members": Case(lambda w: w.ensemble("copies", ["sound 0"] * 2, noise=1e-3), rows(), "members"),
    "untrained head": Case(lambda w: w.untrained("fresh head"), rows(), "accuracy"),
}
SOUND = {f"sound {k}": Case(plain(f"sound {k}"), rows(f"sound {k}")) for k in range(5)} | {
    "fewer rows": Case(lambda w: w.train("fewer", n=1500), rows("fewer")),
    "more rows": Case(lambda w: w.train("more", n=4000), rows("more")),
    "reads the context": Case(lambda w: w.train("contexts", contexts=True), rows("contexts", contexts=True)),
    "both orders": Case(lambda w: w.pairwise("both orders", better_first=None, steps=200), rows(), budget=4_000),
    "members of their own": Case(lambda w: w.ensemble("members", ["sound 0", "sound 1"]), rows()),
}
CASES = PLANTED | SOUND
BY_COMMAND = {"duplicated members", "position bias", "untrained head", "sound 0"}  # one of each kind of folder
AT_THE_SHELL = {"untrained head"}  # the others in this process
BATCHING = Batching(token_budget=4096)  # a pass of a small model costs little, so fewer and larger ones
DRAWN_BY_THE_SWEEP = {*(f"sound {k}" for k in range(1, 5)), "fewer rows", "more rows"}  # "sound 0" in other draws

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("planted models")]  # one process trains the models they share


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"), 0, KEPT)


@pytest.fixture(scope="module")
def found(world, tmp_path_factory):
    """Name of a case → `faults` of it, asked once, of the command or of the library."""
    folder = tmp_path_factory.mktemp("rows")

    @functools.cache
    def ask(name: str) -> dict[str, str]:
        case = halved(name)
        return command_faults(case, world, folder / f"{name}.jsonl") if name in BY_COMMAND else faults(case, world)

    return ask


def halved(name: str) -> Case:
    return CASES[name]._replace(budget=CASES[name].budget // 2)


def faults(case: Case, world: World) -> dict[str, str]:
    """Probe → what it says, of every fault that is named."""
    reward = load_reward_model(case.model(world), batching=BATCHING)
    report = audit(reward, case.rows(world), budget=case.budget)
    assert len(report.checks) > 8
    return {finding.probe: finding.message for finding in report.at_least("medium")}


def command_faults(case: Case, world: World, path: Path) -> dict[str, str]:
    """As `faults`, from the command line, which has to end with 1 where there are any."""
    path.write_text("".join(json.dumps(row.record()) + "\n" for row in case.rows(world)))
    line = ["audit", case.model(world), path, "--json", "--budget", case.budget, "--out", path.with_suffix("")]
    if path.stem in AT_THE_SHELL:
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [COMMAND, *map(str, line)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=alone)
        code = done.returncode
    else:
        done = CliRunner().invoke(app, [*map(str, line)])
        code = done.exit_code
    assert code in (0, 1), done.stderr
    report = json.loads((path.with_suffix("") / "report.json").read_text())
    assert len(report["checks"]) > 8
    assert report["findings"] == json.loads(done.stdout)["findings"]
    named = {finding["probe"]: finding["message"] for finding in report["findings"]}
    assert code == int(bool(named))
    return named


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named(found, name):
    assert PLANTED[name].probe in found(name)


@pytest.mark.parametrize("name", [name for name in SOUND if name not in DRAWN_BY_THE_SWEEP])
def test_a_sound_model_is_clean(found, name):
    assert found(name) == {}


def test_the_command_says_what_the_library_says(world, found):
    assert found("untrained head") == faults(halved("untrained head"), world)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        trained = World(Path(folder), 0)
        for name in CASES.keys() - DRAWN_BY_THE_SWEEP:
            CASES[name].model(trained)
        trained.keep(KEPT)
