"""The sweep's arithmetic and its files; its trials are those of other tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from scipy.stats import binomtest

from tests.sweeps import sweep
from tests.sweeps.trials import KINDS

CHEAP = "calibrated confidences raise no alarm"
COMMAND = [sys.executable, "-m", "tests.sweeps.sweep", "--seed", "7", "--kinds", CHEAP, "--workers", "1"]


@pytest.mark.parametrize(("n", "claim"), [(20, 0.95), (100, 0.98), (7, 0.9)])
def test_as_few_passes_as_chance_allows_are_no_fault_and_one_fewer_is(n, claim):
    least = sweep.least_passes(n, claim, 0.001)
    assert binomtest(least, n, claim, alternative="less").pvalue >= 0.001
    assert binomtest(least - 1, n, claim, alternative="less").pvalue < 0.001


def test_a_certain_claim_allows_no_miss_and_nothing_is_asked_of_no_trial():
    assert sweep.least_passes(5, 1.0, 0.001) == 5
    assert sweep.least_passes(0, 0.95, 0.001) == 0


@pytest.mark.slow
def test_every_kind_is_drawn_from_its_start_on_and_each_trial_has_a_seed_of_its_own_but_where_a_world_is_shared():
    plan = sweep.trials(KINDS, 1.0)
    assert len(set(plan)) == len(plan)
    assert {trial.kind for trial in plan[: len(plan) // 10]} >= {name for name, kind in KINDS.items() if kind.draws > 5}
    shared = [trial for trial in plan if KINDS[trial.kind].shared]
    assert len({trial.seed(3) for trial in shared}) == max(trial.draw for trial in shared) + 1
    own = [trial.seed(3) for trial in plan if not KINDS[trial.kind].shared]
    assert len(set(own)) > 0.999 * len(own)  # of 2³¹
    assert own != [trial.seed(4) for trial in plan if not KINDS[trial.kind].shared]


def test_a_table_names_what_is_below_its_least_and_what_was_seen():
    results = [
        {"kind": "pages pass", "name": name, "draw": draw, "seed": 1, "seconds": 1.0, "seen": seen if draw < 9 else ""}
        for name, seen in (("par", ""), ("lsc", "gain: +0.1"))
        for draw in range(10)
    ]
    written = sweep.table(results, seed=5, planned=21)
    assert "20 of 21 trials in 20 CPU-seconds" in written
    assert "| pages pass | 95.0% | 11 of 20 | 16 | lsc (1 of 10, least 7) |" in written
    assert written.count("- pages pass, lsc, seed 1: gain: +0.1") == 9


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_ends_with_the_table_of_one_that_nobody_killed(tmp_path):
    def command(folder):
        return [*COMMAND, "--share", "0.1", "--out", str(tmp_path / folder), "--table", str(tmp_path / f"{folder}.md")]

    assert subprocess.run(command("whole"), check=False).returncode == 0
    results = tmp_path / "killed" / "sweep-7.jsonl"
    with subprocess.Popen(command("killed")) as process:
        while process.poll() is None and not (results.exists() and len(sweep.read(results)) > 20):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    kept = sweep.read(results)
    assert len(kept) > 20
    results.write_bytes(results.read_bytes() + json.dumps(kept[0]).encode()[:30])  # as if it had been cut off
    done = subprocess.run(command("killed"), check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("seed 7; make sweep SEED=7 repeats it\n")
    whole, killed = ((tmp_path / f"{name}.md").read_text().split("CPU-seconds") for name in ("whole", "killed"))
    assert killed[1] == whole[1]
    assert list((tmp_path / "killed").iterdir()) == []
