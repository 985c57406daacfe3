"""Jobs that are killed at random moments and given again: `python -m tests.sweeps.kills --kills 20`.

Each kind of job is killed as often as asked, up to three times on its way, and then left alone. Its output must be that
of a job that nobody killed. What was on disk at a kill must not be asked again: what is, is at most what was under way,
whose number the next run prints. No process and no temporary file may be left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

MOST_KILLS_A_JOB = 3
IN_FLIGHT = {"score": 2 * 2 * 4, "async": 16, "audit": 2 * 16}
"""Rows under way at most: a batch that runs and one that waits for each worker; or `--concurrency`."""
REWARDS = """
    import asyncio, os, time

    def note(rows):
        place = os.open(os.environ["ASKED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(place, b"." * rows)
        os.close(place)

    def worth(completion):
        return None if completion.endswith("9") else int(completion) * 7919 % 1000 / 7

    def plainly(completions, **columns):
        note(len(completions))
        time.sleep(0.003 * len(completions))
        return [worth(completion) for completion in completions]

    async def slowly(completions, **columns):
        note(len(completions))
        await asyncio.sleep(0.02 + int(completions[0]) * 7919 % 100 / 1000)
        return [worth(completion) for completion in completions]

    def exactly(prompt, completion, answer):
        note(1)
        time.sleep(0.002)
        return float(completion == answer)
"""


class Kind(NamedTuple):
    """A job: its command, what it writes, and how many rows it has on disk."""

    command: Callable[[Path], list[str]]
    output: Callable[[Path], str]


@dataclass
class Told:
    """What a sweep of one kind saw."""

    kills: int = 0
    jobs: int = 0
    again: int = 0
    printed: int = 0
    most_again: int = 0
    faults: list[str] = field(default_factory=list)


def scored(folder: Path, name: str, *options: str) -> list[str]:
    rows, reward = folder.parent / "rows.jsonl", folder.parent / "rewards.py"
    return ["score", str(rows), "--reward", f"{reward}:{name}", "--out", str(folder / "out.jsonl"), *options]


def audited(folder: Path) -> list[str]:
    reward, rows = folder.parent / "rewards.py", folder.parent / "prompts.jsonl"
    return ["audit", f"{reward}:exactly", str(rows), "--budget", "800", "--out", str(folder)]


def report_of(folder: Path) -> str:
    """The report without what the clock says, and without the command, which names the folder."""
    record = json.loads((folder / "report.json").read_text())
    record["provenance"] |= {"command": "", "date": ""}
    for part in ("findings", "observations"):
        record[part] = [finding for finding in record[part] if finding["probe"] != "latency"]
    return json.dumps({**record, "seconds": 0, "estimate": None})


KINDS = {
    "score": Kind(
        lambda folder: scored(folder, "plainly", "--workers", "2", "--batch-size", "4", "--block-size", "100"),
        lambda folder: (folder / "out.jsonl").read_text(),
    ),
    "async": Kind(
        lambda folder: scored(folder, "slowly", "--concurrency", "16", "--block-size", "200"),
        lambda folder: (folder / "out.jsonl").read_text(),
    ),
    "audit": Kind(audited, report_of),
}


def sweep(kind: str, kills: int, folder: Path, rng: random.Random) -> Told:
    """Kill jobs of one kind, `kills` times in all."""
    (folder / "rewards.py").write_text(textwrap.dedent(REWARDS))
    records = [{"prompt": f"{i}?", "completion": str(i)} for i in range(400)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    prompts = [{"prompt": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(3, 30)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in prompts))
    whole = _Job(KINDS[kind], folder / "whole")
    whole.run()
    total, told = whole.asked(), Told()
    assert whole.on_disk() == total, "the job that nobody killed"
    while told.kills < kills:
        job = _Job(KINDS[kind], folder / f"job{told.jobs}")
        told.jobs += 1
        _one(kind, job, total, min(MOST_KILLS_A_JOB, kills - told.kills), rng, told)
        if KINDS[kind].output(job.folder) != KINDS[kind].output(whole.folder):
            told.faults.append(f"{job.folder.name}: another output")
        told.faults += [f"{path} is left" for path in job.folder.rglob("*.tmp")]
        told.faults += [f"{path} is left" for path in job.temporary.iterdir()]
    return told


def _one(kind: str, job: _Job, total: int, kills: int, rng: random.Random, told: Told) -> None:
    """One job to its end: after each run, what it asked beyond what came to disk is what was under way."""
    flying = 0  # rows that the last run had asked about and that are not on disk
    for n in range(kills + 1):
        asked, kept = job.asked(), job.on_disk()
        said = job.run(None if n == kills else rng.randrange(max(total - kept, 1)), rng.uniform(0, 0.05))
        if said is None:
            told.kills += 1
        elif n < kills:
            break  # it was done before it could be killed
        printed = [int(number) for number in re.findall(r"continues\. (\d+) rows that the last run sent", job.errors)]
        if job.asked() > asked and sum(printed) < flying:
            told.faults.append(f"{job.folder.name}: {flying} rows were under way, {printed} printed")
        told.printed += sum(printed)
        flying = (job.asked() - asked) - (job.on_disk() - kept)
        told.again, told.most_again = told.again + flying, max(told.most_again, flying)
        if not 0 <= flying <= IN_FLIGHT[kind]:
            told.faults.append(f"{job.folder.name}: {flying} rows asked and not on disk")
        told.faults += [f"{job.folder.name}: process {left} is left" for left in job.left()]
    if flying or job.on_disk() != total:
        told.faults.append(
            f"{job.folder.name}: {job.on_disk()} of {total} rows on disk, {flying} asked again at the end"
        )


class _Job:
    def __init__(self, kind: Kind, folder: Path) -> None:
        self.folder, self.kind, self.mark, self.errors = folder, kind, uuid.uuid4().hex, ""
        self.temporary = folder.with_name(f"{folder.name}-tmp")
        folder.mkdir()
        self.temporary.mkdir()

    def asked(self) -> int:
        """Rows that the reward has been asked about, in all runs."""
        path = self.temporary.with_name(f"{self.folder.name}-asked")
        return path.stat().st_size if path.exists() else 0

    def on_disk(self) -> int:
        """Rows whose result is in a journal or a finished part; a block may have both."""
        parts = {path.stem: _results(path) for path in self.folder.glob("*.parts/*.json")}
        journals = [path for path in self.folder.rglob("*.journal") if path.stem not in parts]
        return sum(parts.values()) + sum(map(_results, [*journals, *self.folder.glob("journal*.jsonl")]))

    def run(self, rows: int | None = None, seconds: float = 0.0) -> str | None:
        """What it printed; None if it was killed, so many seconds after it had asked about so many rows."""
        place = self.temporary.with_name(f"{self.folder.name}-asked")
        environment = {**os.environ, "ASKED": str(place), "KILLS_JOB": self.mark, "TMPDIR": str(self.temporary)}
        command = [sys.executable, "-m", "rewardsmith", *self.kind.command(self.folder)]
        before = self.asked()
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            while rows is not None and process.poll() is None:
                if self.asked() - before > rows:
                    time.sleep(seconds)
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.001)
            printed, self.errors = process.communicate()
        if process.returncode == -signal.SIGKILL:
            return None
        assert process.returncode in (0, 1), self.errors
        return printed

    def left(self) -> list[int]:
        """Processes of this job that are still there after five seconds."""
        deadline = time.monotonic() + 5
        while (found := _with_mark(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found


def _results(path: Path) -> int:
    """Rows in the lines of a journal that hold results, or in a finished part."""
    records = [
        json.loads(line)
        for line in path.read_bytes().split(b"\n")[:-1]
        if b'"results":' in line or b'"rewards":' in line
    ]
    return sum(len(record.get("results", record.get("rewards"))) for record in records)


def _with_mark(mark: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def main() -> None:
    """Sweep every kind, and end with 1 where a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="for each kind of job")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    broken = False
    print(f"seed {options.seed}")
    for kind in options.kinds:
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            told = sweep(kind, options.kills, Path(folder), random.Random(f"{options.seed} {kind}"))
        again = f"{told.again} rows asked again (at most {told.most_again} after a kill), {told.printed} printed"
        again = f"{told.again} rows asked again (at most {told.most_again} after a kill), {told.printed} printed"
        print(f"{kind}: {told.kills} kills of {told.jobs} jobs, {again}, {len(told.faults)} faults", flush=True)
        print("".join(f"  {fault}\n" for fault in told.faults), end="", flush=True)
        broken |= bool(told.faults)
    raise SystemExit(broken)


if __name__ == "__main__":
    main()
