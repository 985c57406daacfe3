"""The audit of small trained reward models: each of ten planted faults is named, and ten sound models are clean.

A fault that a training did not take up, and a sound model with bad luck, are heard once more on another seed: a few in
a hundred trainings are of the one or the other kind. Data and models are drawn by `REWARDSMITH_SEED`, by default
0, and `REWARDSMITH_SWEEP=5` also runs the four seeds after it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from trained_models import Taste, World

from rewardsmith.auditing import audit
from rewardsmith.data import PreferenceRow
from rewardsmith.rewards import load_reward_model

SEED = int(os.environ.get("REWARDSMITH_SEED") or 0)
SWEEP = int(os.environ.get("REWARDSMITH_SWEEP") or 1)
AGAIN = 2**24  # from one seed to the other, beyond those of a sweep
COMMAND = Path(sys.executable).with_name("rewardsmith")


class Case(NamedTuple):
    """A model, made when asked for, what it is audited on, the probe that has to find it, and the audit's budget."""

    model: Callable[[World], Path]
    rows: Callable[[World], list[PreferenceRow]]
    probe: str = ""
    budget: int = 15_000


def plain(name: str, **taste: float) -> Callable[[World], Path]:
    return lambda world: world.train(name, taste=Taste(**taste))


def rows(name: str = "plain", **options: object) -> Callable[[World], list[PreferenceRow]]:
    return lambda world: world.rows(name, **options)


NOISY = Taste(fitting=2.5, flipped=0.25)  # of an annotator who seldom doubts
PLANTED = {
    "length bias": Case(plain("length", per_word=0.15), rows(), "length"),
    "style bias": Case(plain("style", decoration=2.5), rows(), "style"),
    "ignored prompt": Case(plain("prompt", fitting=0.0), rows("many", n=1500), "prompt"),
    "ignored context": Case(
        lambda w: w.train("context", taste=Taste(context=0.0), contexts=True),
        rows("contexts", contexts=True),
        "context",
    ),
    "label noise": Case(
        lambda w: w.train("noise", n=4000, taste=NOISY), rows("noise", n=6000, taste=NOISY), "label_noise", 24_000
    ),
    "overconfidence": Case(lambda w: w.train("overtrained", n=150, epochs=40), rows("many", n=4000), "calibration"),
    "opener bias": Case(lambda w: w.train("opener", n=4000, taste=Taste(opener=2.5)), rows(), "openers"),
    "position bias": Case(lambda w: w.pairwise("position", better_first=0.75), rows(), "position"),
    "duplicated members": Case(lambda w: w.ensemble("copies", ["sound 0"] * 3, noise=1e-3), rows(), "members"),
    "untrained head": Case(lambda w: w.untrained("fresh head"), rows(), "accuracy"),
}
SOUND = {f"sound {k}": Case(plain(f"sound {k}"), rows(f"sound {k}")) for k in range(5)} | {
    "fewer rows": Case(lambda w: w.train("fewer", n=1500), rows("fewer")),
    "more rows": Case(lambda w: w.train("more", n=4000), rows("more")),
    "reads the context": Case(lambda w: w.train("contexts", contexts=True), rows("contexts", contexts=True)),
    "both orders": Case(lambda w: w.pairwise("both orders", better_first=None), rows()),
    "members of their own": Case(lambda w: w.ensemble("members", ["sound 0", "sound 1", "sound 2"]), rows()),
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    torch.set_num_threads(1)  # models this small only get in the way of the workers beside

    @cache
    def of(seed):
        return World(tmp_path_factory.mktemp(f"world-{seed}"), seed)

    return of


@pytest.fixture(params=range(SWEEP), ids="run {}".format)  # no seed in a name: workers must collect the same names
def world(request, worlds):
    return worlds(SEED + request.param)


def faults(case: Case, world: World) -> dict[str, str]:
    """Probe → what it says, of every fault that is named."""
    report = audit(load_reward_model(case.model(world)), case.rows(world), budget=case.budget)
    assert len(report.checks) > 8
    return {finding.probe: finding.message for finding in report.at_least("medium")}


def command(case: Case, world: World, folder: Path) -> tuple[int, set[str]]:
    """The exit code of `rewardsmith audit FOLDER ROWS`, and the faults it prints."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row.record()) + "\n" for row in case.rows(world)))
    line = [COMMAND, "audit", case.model(world), path, "--json"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, line)], check=False, capture_output=True, text=True, timeout=300, env=alone)
    assert done.returncode in (0, 1), f"seed {world.seed}: {done.stderr}"
    return done.returncode, {finding["probe"] for finding in json.loads(done.stdout)["findings"]}


def heard(
    case: Case, worlds: Callable[[int], World], seed: int, fits: Callable[[dict[str, str]], bool]
) -> list[object]:
    """What was found on the seed and, where that does not fit, on another; nothing as soon as one fits."""
    seen: list[Any] = []
    for again in (seed, seed + AGAIN):
        seen += [again, faults(case, worlds(again))]
        if fits(seen[-1]):
            return []
    return seen


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named(world, worlds, name):
    case = PLANTED[name]
    assert not heard(case, worlds, world.seed, lambda found: case.probe in found)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model_is_clean(world, worlds, name):
    assert not heard(SOUND[name], worlds, world.seed, lambda found: not found)


@pytest.mark.parametrize(
    "name",
    ["ignored prompt", "duplicated members", "position bias", "sound 0", "members of their own", "both orders"],
)
def test_the_command_says_what_the_library_says_and_ends_so(world, name, tmp_path):
    """Whether it is right is asked above; here, that 0 and 1 stand for clean and found."""
    case = {**PLANTED, **SOUND}[name]
    found = set(faults(case, world))
    assert command(case, world, tmp_path) == (int(bool(found)), found), f"seed {world.seed}"
