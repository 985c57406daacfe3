"""Rewards and rows for jobs that are killed: what was asked is noted in a file, so that it can be counted."""

from __future__ import annotations

import json
import os
import textwrap
from collections import Counter
from pathlib import Path

REWARDS = """
    import os, signal, time
    from pathlib import Path

    HERE = Path(__file__).parent

    def note(completions):
        with open(HERE / "asked", "a") as file:
            file.write("".join(f"{c}\\n" for c in completions))

    def once(name):
        try:
            os.close(os.open(HERE / name, os.O_CREAT | os.O_EXCL))
            return True
        except FileExistsError:
            return False

    def remainder(completions, answer, **columns):
        note(completions)
        time.sleep(float(os.environ.get("SCORING_DELAY", 0)))
        return [None if a is None else (int(c) * 7919 % 1000) / 7 + len(a) for c, a in zip(completions, answer)]

    def fragile(completions, answer, **columns):
        if "57" in completions:
            os.kill(os.getpid(), signal.SIGKILL)
        return remainder(completions, answer)

    def parricide(completions, answer, **columns):
        if "57" in completions and once("dead"):
            time.sleep(0.5)  # what was scored before is on disk by then
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return remainder(completions, answer)

    class Model:
        '''Scored in the worker's own process, as reward models are, in batches of its own.'''
        def plan(self, completions, **columns):
            return [list(range(i, min(i + 3, len(completions)))) for i in range(0, len(completions), 3)]
        def __call__(self, completions, answer, **columns):
            if "57" in completions and once("dead"):
                os.kill(os.getpid(), signal.SIGKILL)
            return remainder(completions, answer)
"""


def reward_file(folder: Path) -> Path:
    path = folder / "noting.py"
    path.write_text(textwrap.dedent(REWARDS))
    return path


def rows_file(folder: Path, n: int = 100) -> Path:
    """Every tenth row cannot be scored."""
    path = folder / "rows.jsonl"
    records = [{"prompt": f"{i}?", "completion": str(i), "answer": None if i % 10 == 9 else "x" * (i % 4), "id": i}
               for i in range(n)]  # fmt: skip
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def asked(folder: Path) -> Counter[str]:
    path = folder / "asked"
    return Counter(path.read_text().split() if path.exists() else [])


def expected(rows: Path) -> list[dict]:
    """What the job has to write, worked out row by row."""
    found = []
    for line in rows.read_text().splitlines():
        record = json.loads(line)
        n, answer = int(record["completion"]), record["answer"]
        reward = None if answer is None else (n * 7919 % 1000) / 7 + len(answer)
        found.append({**record, "reward": reward, "reason": "none" if answer is None else None})
    return found


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def on_disk(parts: Path, rows: Path, block_size: int) -> set[str]:
    """The completions of rows whose results are in a finished part, or, by number of rows, in a journal."""
    lines = [json.loads(line)["completion"] for line in rows.read_text().splitlines()]
    found: set[str] = set()
    for part in parts.glob("*.json"):
        start = int(part.stem) * block_size
        found.update(lines[start : start + len(json.loads(part.read_text())["rewards"])])
    for journal in parts.glob("*.journal"):
        start = int(journal.stem) * block_size
        whole = [line for line in journal.read_text().splitlines(keepends=True)[1:] if line.endswith("\n")]
        done = sum(len(json.loads(line).get("results", ())) for line in whole)
        found.update(lines[start : start + done])  # batches of one worker are journaled in order
    return found


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", **more}
