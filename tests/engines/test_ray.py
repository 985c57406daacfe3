"""score_file on a Ray of two workers, on two processes and in one: the same rows, whoever is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from rewardsmith.errors import RewardsmithError
from rewardsmith.scoring import LocalEngine, score_file
from tests.engines.scoring_jobs import asked, environment, expected, on_disk, read, reward_file, rows_file
from tests.installed import part_of
from tests.small_models import llama_classifier, saved

ray = part_of("ray", "ray")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

from rewardsmith.engines.ray import RayEngine  # noqa: E402

LIMITS = {"num_cpus": 2, "object_store_memory": 200 * 2**20, "include_dashboard": False, "log_to_driver": False}


@pytest.fixture(scope="module")
def two_workers():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(**LIMITS)
    yield RayEngine(2)
    ray.shutdown()


def test_a_function_gets_the_same_rows_from_ray_two_processes_and_one(tmp_path, two_workers):
    rows, reward = rows_file(tmp_path), f"{reward_file(tmp_path)}:fragile"
    want = expected(rows)
    want[57] |= {"reward": None, "reason": "crash: its process ended: killed by SIGKILL"}  # the fault of one row
    for name, engine in (("one", LocalEngine(1)), ("two", LocalEngine(2)), ("ray", two_workers)):
        found = score_file(rows, reward, tmp_path / f"{name}.jsonl", engine=engine, block_size=16, batch_size=5)
        assert read(found.out) == want
        assert (found.n_rows, found.n_scored, found.unscored) == (100, 89, {"crash": 1, "none": 10})
    assert asked(tmp_path) == {str(i): 3 for i in range(100) if i != 57}


def test_a_reward_model_gets_the_same_rows_from_ray_two_processes_and_one(tmp_path, two_workers):
    torch.set_num_threads(1)
    folder = saved(llama_classifier().float(), tmp_path / "rm")
    rows = tmp_path / "rows.jsonl"
    long = "so maybe " * 200  # more than the model takes
    completions = [long if i % 13 == 12 else "so " * (i * 7 % 11) + str(i) for i in range(60)]
    records = [{"prompt": f"{i % 5}+{i % 3}=", "completion": c} for i, c in enumerate(completions)]
    rows.write_text("".join(json.dumps(record) + "\n" for record in records))
    engines = {"one": LocalEngine(), "two": LocalEngine(2), "ray": two_workers}
    tables = {
        name: read(score_file(rows, str(folder), tmp_path / f"{name}.jsonl", engine=engine, block_size=16).out)
        for name, engine in engines.items()
    }
    assert tables["ray"] == tables["one"]
    assert tables["two"] == tables["one"]
    found = tables["one"]
    assert [row["completion"] for row in found] == completions
    assert [row["reward"] is None for row in found] == [c == long for c in completions]
    assert found[12]["reason"].startswith("none: too long")
    assert len({row["reward"] for row in found}) > 40


@pytest.mark.parametrize("reward", ["Model", "parricide"])
def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing(reward, tmp_path, two_workers):
    rows, spec = rows_file(tmp_path), f"{reward_file(tmp_path)}:{reward}"
    found = score_file(rows, spec, tmp_path / "ray.jsonl", engine=two_workers, block_size=32, batch_size=3)
    assert any(tmp_path.glob("dead*"))  # one was
    assert read(found.out) == expected(rows)
    assert asked(tmp_path) == {str(i): 1 for i in range(100)}
    parts = tmp_path / "ray.jsonl.parts"
    assert sorted(path.name for path in parts.iterdir()) == [*(f"{k:07d}.json" for k in range(4)), "job"]
    assert sum(len(json.loads(path.read_text())["rewards"]) for path in parts.glob("*.json")) == 100


def test_a_block_that_ends_its_worker_every_time_ends_the_job_and_keeps_the_rest(tmp_path, two_workers):
    rows, spec = rows_file(tmp_path), f"{reward_file(tmp_path)}:Model"
    out = tmp_path / "ray.jsonl"
    with pytest.raises(
        RewardsmithError, match=r"RayEngine: a worker failed \(block 1: .*it has ended its worker 1 times"
    ):
        score_file(rows, spec, out, engine=RayEngine(2, most_attempts=1), block_size=32)
    assert not out.exists()
    before = asked(tmp_path)
    score_file(rows, spec, out, engine=LocalEngine(), block_size=32)  # which goes on from what Ray has left
    assert read(out) == expected(rows)
    assert asked(tmp_path) == {str(i): 1 for i in range(100)}
    assert 0 < sum(before.values()) < 100


def test_the_command_can_be_killed_and_given_again(tmp_path):
    rows, spec, out = rows_file(tmp_path, 120), f"{reward_file(tmp_path)}:remainder", tmp_path / "out.jsonl"
    command = [sys.executable, "-c", "from rewardsmith.cli import main; main()", "score", rows, "--reward", spec,
               "--out", out, "--engine", "ray", "--workers", "2", "--batch-size", "2", "--block-size", "20",
               "--json"]  # fmt: skip
    small = {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(200 * 2**20)}
    log = (tmp_path / "log").open("w")
    first = subprocess.Popen(command, env=environment(SCORING_DELAY="0.1", **small), stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while sum(asked(tmp_path).values()) < 60:
        assert first.poll() is None, (tmp_path / "log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = on_disk(tmp_path / "out.jsonl.parts", rows, 20)
    assert not out.exists()
    assert len(kept) >= 40
    again = subprocess.run(command, env=environment(**small), capture_output=True, check=True, timeout=120)
    assert json.loads(again.stdout)["n_scored"] == 108
    assert read(out) == expected(rows)
    counts = asked(tmp_path)
    assert all(counts[completion] == 1 for completion in kept)
    assert set(counts) == {str(i) for i in range(120)}
    assert sum(counts.values()) <= 120 + 2 * 3 * 2  # two workers' batches: running, waiting, not yet written


def test_what_a_worker_warns_of_reaches_the_driver(tmp_path, two_workers, caplog):
    rows, spec, out = rows_file(tmp_path), f"{reward_file(tmp_path)}:remainder", tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.parts").mkdir()
    (tmp_path / "out.jsonl.parts" / "0000001.journal").write_bytes(b'{"schema":"rewardsmith.journal/4","tar')
    score_file(rows, spec, out, engine=two_workers, block_size=32)
    assert read(out) == expected(rows)
    assert "0000001.journal has damaged records (1, the first at byte 0). Their rows are scored again" in caplog.text


def test_a_reward_that_loads_here_but_not_on_a_worker_says_so(tmp_path, two_workers):
    reward = tmp_path / "moody.py"
    reward.write_text(
        "from pathlib import Path\n"
        "if Path(__file__).with_name('loaded').exists():\n    raise OSError('no such device')\n"
        "Path(__file__).with_name('loaded').touch()\n"
        "def pays(completions, **columns):\n    return [1.0] * len(completions)\n"
    )
    said = r"RayEngine: a worker failed \(OSError: no such device\)\. Finished blocks are kept\. Repair the reward"
    with pytest.raises(RewardsmithError, match=said):
        score_file(rows_file(tmp_path, 4), f"{reward}:pays", tmp_path / "out.jsonl", engine=two_workers)


def test_no_room_for_a_worker_is_said_and_so_is_a_missing_ray(tmp_path, two_workers, monkeypatch):
    rows, spec = rows_file(tmp_path, 4), f"{reward_file(tmp_path)}:remainder"
    with pytest.raises(RewardsmithError, match=r"the cluster has 2 CPUs and 0 GPUs, too few for a worker of 3 and 0"):
        score_file(rows, spec, tmp_path / "a.jsonl", engine=RayEngine(num_cpus=3))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RewardsmithError, match=r'RayEngine: ray cannot be imported .*pip install "\.\[ray\]"'):
        score_file(rows, spec, tmp_path / "b.jsonl", engine=RayEngine())


def test_the_workers_stay_with_their_reward_for_the_next_job_and_an_edit_of_it_brings_new_ones(tmp_path, two_workers):
    rows, reward = rows_file(tmp_path), tmp_path / "counted.py"
    code = (
        "import os\nfrom pathlib import Path\n"
        "class Counted:\n"
        "    def __init__(self):\n"
        "        with open(Path(__file__).with_name('loads'), 'a') as file:\n"
        "            file.write(f'{os.getpid()} ')\n"
        "    def plan(self, completions, **columns):\n"
        "        return [list(range(len(completions)))]\n"
        "    def __call__(self, completions, **columns):\n"
        "        return [float(c) for c in completions]\n"
    )
    loaded = {}
    for name, edit in (("a", ""), ("b", ""), ("c", "# edited\n")):
        reward.write_text(code + edit)
        found = score_file(rows, f"{reward}:Counted", tmp_path / f"{name}.jsonl", engine=two_workers)
        assert [row["reward"] for row in read(found.out)] == [float(i) for i in range(100)]
        processes = [int(n) for n in (tmp_path / "loads").read_text().split() if int(n) != os.getpid()]
        assert len(processes) == len(set(processes))  # none has loaded it twice
        loaded[name] = len(processes)
    assert 1 <= loaded["a"] <= loaded["b"] <= 2
    assert loaded["c"] > loaded["b"]


def test_the_file_is_read_no_faster_than_the_workers_take_blocks(tmp_path, two_workers):
    rows, quick = rows_file(tmp_path), reward_file(tmp_path)
    slow = "    time.sleep(0.3)  # a block is under way when the next one is read\n"
    head = "def remainder(completions, answer, **columns):\n"
    quick.write_text(quick.read_text().replace(head, head + slow))
    spec, ahead, done = f"{quick}:remainder", [], []

    def engine(blocks, job, advance):
        def watched():
            for block in blocks:
                ahead.append(block.index + 1 - len(done))
                yield block

        for index, results in two_workers(watched(), job, advance):
            done.append(index)
            yield index, results

    out = score_file(rows, spec, tmp_path / "out.jsonl", engine=engine, block_size=5).out
    assert read(out) == expected(rows)
    assert len(done) == 20
    assert max(ahead) == 2


def test_blocks_on_ray_are_a_quarter_of_a_workers_share_in_whole_batches_of_at_most_1024_rows():
    sizes = [RayEngine(2).block_size(n_rows, 16) for n_rows in (1, 2000, 100_000)]
    assert sizes == [16, 256, 1024]  # 2000 / (4 · 2) = 250, in batches of 16
    assert RayEngine(100).block_size(3200, 3) == 9  # 3200 / 400 = 8
