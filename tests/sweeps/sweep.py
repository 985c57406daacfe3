"""Trials on fresh seeds, many of each, judged by the rate at which they pass: `make sweep`, or `make sweep SEED=7`.

Each result is written to disk as it comes, in `out/sweep-SEED.jsonl`; a sweep that was stopped goes on where it was. At
the end a table is written to `docs/sweep.md`. The exit code is 1 where a kind, or a name of it, passed less often than
chance allows at the rate that is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from rewardsmith._processes import end_with_parent
from tests.sweeps.trials import KINDS

FALSE_ALARM = 0.01
"""Chance that a sweep ends with 1 though every claimed rate is true."""


class Trial(NamedTuple):
    """One trial of a sweep, by its kind, name and number."""

    kind: str
    name: str
    draw: int

    def seed(self, sweep: int) -> int:
        """The trial's own seed; trials that share a world have one seed per draw."""
        part = "" if KINDS[self.kind].shared else self.name
        return random.Random(f"{sweep} {self.kind} {part} {self.draw}").randrange(2**31)


def trials(kinds: Iterable[str], share: float) -> list[Trial]:
    """Every trial, first draws first, so that a sweep that runs out of time has asked of each kind alike.

    share: of the draws of a full sweep; at least one of each name.
    """
    plan = []
    for kind in kinds:
        n = max(1, round(share * KINDS[kind].draws))
        plan += [((draw + 0.5) / n, Trial(kind, name, draw)) for name in KINDS[kind].names() for draw in range(n)]
    order = list(kinds)
    return [trial for _, trial in sorted(plan, key=lambda part: (part[0], order.index(part[1].kind)))]


def least_passes(n: int, claim: float, alarm: float) -> int:
    """The fewest passes of n that chance allows at the claimed rate: the `alarm` quantile of a binomial count.

    >>> least_passes(20, 0.95, 0.001), least_passes(7, 1.0, 0.001)  # P(X < 15) = 0.0003, P(X < 16) = 0.0026
    (15, 7)
    """
    from scipy.stats import binom

    return int(binom.ppf(alarm, n, claim)) if n else 0


class Row(NamedTuple):
    """How often a kind, or one name of it, passed."""

    kind: str
    name: str
    passes: int
    n: int
    least: int


def judged(results: Iterable[dict[str, Any]]) -> list[Row]:
    """One row per kind with the name "", and one per name."""
    n: Counter[tuple[str, str]] = Counter()
    passes: Counter[tuple[str, str]] = Counter()
    for result in results:
        for name in ("", result["name"]):
            n[result["kind"], name] += 1
            passes[result["kind"], name] += not result["seen"]
    alarm = FALSE_ALARM / max(len(n), 1)
    return [
        Row(kind, name, passes[kind, name], count, least_passes(count, KINDS[kind].claim, alarm))
        for (kind, name), count in n.items()
    ]


def table(results: list[dict[str, Any]], *, seed: int, planned: int) -> str:
    """The table of a sweep, in Markdown."""
    rows = judged(results)
    seconds = sum(result["seconds"] for result in results)
    lines = [
        "# Fresh seeds",
        "",
        f"Written by `make sweep SEED={seed}`: {len(results)} of {planned} trials in {seconds:.0f} CPU-seconds. "
        f"Were every claimed rate true, {FALSE_ALARM:.0%} of such tables would show a number below its least.",
        "",
        "| kind | claimed | passed | least | names below their own least |",
        "|---|---|---|---|---|",
    ]
    below: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.name and row.passes < row.least:
            below[row.kind].append(f"{row.name} ({row.passes} of {row.n}, least {row.least})")
    for row in rows:
        if not row.name:
            claim, under = KINDS[row.kind].claim, ", ".join(below[row.kind]) or "none"
            lines.append(f"| {row.kind} | {claim:.1%} | {row.passes} of {row.n} | {row.least} | {under} |")
    fallen = [result for result in results if result["seen"]]
    lines += ["", f"Trials that did not pass: {len(fallen)}.", ""]
    lines += [f"- {r['kind']}, {r['name']}, seed {r['seed']}: {_line(r['seen'])}" for r in fallen]
    return "\n".join(lines).rstrip() + "\n"


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:200]}…"


def read(path: Path) -> list[dict[str, Any]]:
    """The results of a file; the line that a kill cut off is left out, and its trial is run again."""
    results = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with suppress(json.JSONDecodeError):
            results.append(json.loads(line))
    return results


def run(some: list[Trial], seed: int, path: Path, deadline: float) -> None:
    """Run trials one after the other until the deadline, and append each result to the file."""
    for trial in some:
        if time.monotonic() > deadline:
            return
        kind, own = KINDS[trial.kind], trial.seed(seed)
        before = _cpu()
        with _folder(path.with_suffix(""), trial, own) as folder:
            try:
                seen = kind.trial(trial.name, own, Path(folder))
            except Exception as error:
                seen = f"{type(error).__name__}: {error}"
        result = {**trial._asdict(), "seed": own, "seen": seen, "seconds": round(_cpu() - before, 2)}
        with path.open("ab", buffering=0) as file:  # one write, so that two processes' lines do not mix
            file.write(
                b"\n" + json.dumps(result).encode() + b"\n"
            )  # ahead, lest a line that was cut off spoil this one


def _folder(work: Path, trial: Trial, seed: int) -> tempfile.TemporaryDirectory[str]:
    """An empty folder of a trial's own; what trials share lies in its parent until the sweep is done."""
    parent = work / f"shared-{seed}" if KINDS[trial.kind].shared else work
    parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="trial-", dir=parent)


def _cpu() -> float:
    return sum(os.times()[:4])


def _jobs(left: list[Trial]) -> list[list[Trial]]:
    """Trials in the order given; those that share what they make go to one process, one after the other."""
    jobs: dict[Any, list[Trial]] = {}
    for trial in left:
        jobs.setdefault((trial.kind, trial.draw) if KINDS[trial.kind].shared else trial, []).append(trial)
    return list(jobs.values())


def file_of(seed: int | None, out: Path) -> tuple[int, Path]:
    """The seed and the file of results: those of a sweep that was stopped, where no other seed is asked for."""
    if seed is None:
        stopped = sorted(out.glob("sweep-*.jsonl"), key=lambda path: path.stat().st_mtime)
        seed = int(stopped[-1].stem.partition("-")[2]) if stopped else random.SystemRandom().randrange(10**6)
    return seed, out / f"sweep-{seed}.jsonl"


def main() -> None:
    """Run a sweep, or the rest of one, and write its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweeps.sweep", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeat this sweep; by default go on with one that was stopped")
    parser.add_argument("--share", type=float, default=1.0, help="share of a full sweep's draws, at least one a name")
    parser.add_argument("--minutes", type=float, default=55.0, help="no trial starts later than this")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the results as they come")
    parser.add_argument("--table", type=Path, default=Path("docs/sweep.md"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    seed, path = file_of(options.seed, options.out)
    print(f"seed {seed}; make sweep SEED={seed} repeats it", flush=True)
    plan = trials(options.kinds, options.share)
    done = {(result["kind"], result["name"], result["draw"]) for result in read(path)}
    jobs = _jobs([trial for trial in plan if trial not in done])
    deadline = time.monotonic() + 60 * options.minutes
    with ProcessPoolExecutor(options.workers, get_context("spawn"), end_with_parent) as pool:
        for n, job in enumerate(as_completed([pool.submit(run, job, seed, path, deadline) for job in jobs])):
            job.result()
            if n % 20 == 0:
                print(f"{len(read(path))} of {len(plan)} trials", flush=True)
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    wanted = set(plan)
    results = [result for result in read(path) if Trial(result["kind"], result["name"], result["draw"]) in wanted]
    options.table.write_text(table(results, seed=seed, planned=len(plan)))
    if len(results) == len(plan):
        path.unlink()
    low = [row for row in judged(results) if row.passes < row.least]
    for row in low:
        print(f"{row.kind}, {row.name or 'all'}: {row.passes} of {row.n} passed, at least {row.least} should")
    rest = "" if len(results) == len(plan) else "; the same command goes on with the rest"
    print(f"{len(results)} of {len(plan)} trials ran; the table is in {options.table}{rest}")
    raise SystemExit(bool(low))


if __name__ == "__main__":
    main()
