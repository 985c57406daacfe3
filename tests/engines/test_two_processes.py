"""`accelerate launch` on two CPU processes gives what one process gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close
from typer.testing import CliRunner

from rewardsmith.cli import app
from tests.engines.two_processes import FORMS, SETTINGS, THEN, pairs, preferred, trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("two processes")]  # one process has the runs

SCRIPT = Path(__file__).with_name("two_processes.py")
# Without MPI, `accelerate launch --cpu` starts one process whatever --num_processes says; torchrun, started as its
# module, makes the two. The test checks that there were two.
ACCELERATE = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu"]
LAUNCH = [*ACCELERATE, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def launched(world, tmp_path_factory):
    """What the files of one launch begin with: `rewardsmith train-reward` twice, then training in all settings."""
    folder = tmp_path_factory.mktemp("two-processes")
    out, compared, outcomes = folder / "two", folder / "pairs.jsonl", folder / "outcomes.jsonl"
    pairs(world.folder).save_to_disk(f"{out}.rows")
    sums = [(a, b) for a in range(7) for b in range(7)]
    records = [{"prompt": f"{a}+{b}=", "chosen": str(a + b), "rejected": f"maybe {a} or {b}"} for a, b in sums]
    compared.write_text("".join(json.dumps(record) + "\n" for record in records))
    texts = [(f"{a}+{b}=", text, k == 0) for a, b in sums[:24] for k, text in enumerate([f"so {a + b}", "maybe"])]
    labeled = [dict(zip(("prompt", "completion", "label"), row, strict=True)) for row in texts]
    outcomes.write_text("".join(json.dumps(record) + "\n" for record in labeled))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    train_reward = ["train-reward", compared, "--model", world.folder, "--out", folder / "rm", "--json",
                    "--max-steps", "12", "--learning-rate", "3e-3", "--batch-size", "8"]  # fmt: skip
    from_outcomes = [*of_outcomes(world, outcomes), "--out", folder / "two-implicit", "--batch-size", "4"]
    command = [sys.executable, *LAUNCH, SCRIPT, world.folder, out, *train_reward, THEN, *from_outcomes]
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    said = "".join(file.read_text() for file in folder.glob("*.stderr"))
    assert done.returncode == 0, f"{said[-3000:]}\n{done.stderr[-4000:]}"
    return out


@pytest.fixture(scope="module")
def results(world, launched):
    """By setting, what one process came to and what each of two did."""
    two = [torch.load(f"{launched}.{rank}", weights_only=False) for rank in (0, 1)]
    one = {name: trained(world.folder, name, processes=1) for name in SETTINGS}
    one |= {form: preferred(world.folder, form, pairs(world.folder), processes=1) for form in FORMS}
    return {name: (result, *(each[name] for each in two)) for name, result in one.items()}


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_two_processes_give_the_rewards_advantages_and_parameters_of_one(algorithm, results):
    one, *two = results[algorithm]
    assert [result["processes"] for result in (one, *two)] == [1, 2, 2]
    for result in two:
        assert len(result["seen"]) == len(one["seen"]) == 4
        for mine, single in zip(result["seen"], one["seen"], strict=True):
            for gathered, alone in zip(mine, single, strict=True):
                # RLOO's advantages hold the model's own KL, which is equal to rounding; all else is equal to the bit.
                rounding = algorithm == "rloo" and gathered is mine[2]
                assert_close(
                    gathered, alone, rtol=1e-5 * rounding, atol=1e-7 * rounding, equal_nan=True, check_dtype=False
                )
        moved = (one["weights"] - one["start"]).abs().max()
        assert (result["weights"] - one["weights"]).abs().max() < 1e-3 * moved  # float32 rounding, through Adam
    assert [record["gold"] for record in two[0]["history"]] == [record["gold"] for record in one["history"]]
    assert two[1]["history"] == []  # only the main process scores gold and keeps records
    assert two[0]["kept_rate"] == one["kept_rate"]
    if algorithm == "steps":
        check_that_steps_differed(one["seen"])
    else:
        assert any(source.isnan().any() for source, *_ in one["seen"])  # the run did meet unscored rows
        assert min(one["kept_rate"]) < 1 <= max(one["kept_rate"])  # and dead groups, beside live ones


@pytest.mark.parametrize("form", FORMS)
def test_two_processes_prefer_what_one_prefers(form, results):
    one, *two = results[form]
    assert [result["processes"] for result in (one, *two)] == [1, 2, 2]
    moved = (one["weights"] - one["start"]).abs().max()
    for result in two:
        assert (result["weights"] - one["weights"]).abs().max() < 1e-3 * moved  # float32 rounding, through Adam
    assert_close(two[0]["logs"], one["logs"], rtol=1e-4, atol=1e-5)


def test_of_two_processes_that_train_a_reward_model_one_speaks(launched):
    stdout, stderr = (
        "".join(Path(f"{launched}.{rank}.{name}").read_text() for rank in (0, 1)) for name in ("stdout", "stderr")
    )
    assert json.loads(stdout)["figures"]["accuracy"]["value"] == 1.0  # one JSON and nothing else
    assert stderr.count("Training ") == 1


def of_outcomes(world, outcomes):
    return ["train-reward", "--kind", "implicit", "--outcomes", outcomes, "--model", world.folder, "--held-out", "0",
            "--max-steps", "3", "--learning-rate", "3e-3", "--beta", "0.5", "--loss", "kto"]  # fmt: skip


def test_two_processes_learn_from_outcomes_what_one_learns(world, launched):
    folder = launched.parent
    one = folder / "implicit"
    command = [*of_outcomes(world, folder / "outcomes.jsonl"), "--out", one, "--batch-size", "8"]
    assert CliRunner().invoke(app, [*map(str, command)]).exit_code == 0
    single, double, start = (
        load_file(place / "model.safetensors") for place in (one, folder / "two-implicit", world.folder)
    )
    moved = max(float((single[name] - start[name]).abs().max()) for name in single)
    apart = max(float((single[name] - double[name]).abs().max()) for name in single)
    assert apart < 1e-2 * moved  # float32 rounding, through Adam


def check_that_steps_differed(seen):
    """The run met what could tell two processes from one."""
    widths = [[int(half.sum(dim=1).max()) for half in mask.chunk(2)] for *_, mask, _ in seen]
    assert any(first != second for first, second in widths)  # so that one of them had to be padded to the other
    assert any((source[:, 0] != rewards).any() for source, rewards, *_ in seen)  # the easiest prompt was shaped
    assert any(scores[mask].isnan().any() for *_, scores, mask, _ in seen)
    assert any((advantages.diff(dim=1) != 0).any() for _, _, advantages, *_ in seen)
