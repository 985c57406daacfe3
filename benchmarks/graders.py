"""Graders of mathematical answers side by side: `python -m benchmarks.graders [--python PATH ...]`.

Every grader gets every case of `data/grader_cases.jsonl`, in turns, in a process of its own (`grader_child.py`). It
runs under the first interpreter that has it: this one, then those of `--python`. An answer that takes more CPU time
than the limit is a hang. A wrong answer with verdict 1 is a false positive. A right one with any other verdict is a
false negative.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.grader_child import GRADERS

HERE = Path(__file__).parent
OURS, PEER = "rewardsmith math_equal", "math-verify, key in $…$"
START_LIMIT = 60.0  # seconds of CPU time; imports
PATIENCE = 6  # seconds of wall time for one of CPU time


class Case(NamedTuple):
    """One answer. policy: reasonable graders may differ, so that it is graded and not counted."""

    kind: str
    gold: str
    completion: str
    right: bool
    why: str
    policy: bool


def load(path: Path) -> list[Case]:
    """Read cases; `pad` of a row is a text and how often it stands for ⟨pad⟩ in the completion."""
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text, times = row.get("pad", ("", 0))
        completion = row["completion"].replace("⟨pad⟩", text * times)
        cases.append(Case(row["kind"], row["gold"], completion, row["right"], row["why"], row.get("policy", False)))
    return cases


class Child:
    """One grader: a process that has loaded it, and a copy of that process that answers, a new one after a hang."""

    def __init__(self, name: str, pythons: Sequence[str]) -> None:
        self.name, self.version, self.answering = name, "", 0
        for python in pythons:
            self.process = subprocess.Popen(
                [python, str(HERE / "grader_child.py"), name],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
            )  # fmt: skip
            if self._ready():
                return
            self.process.kill()
            self.process.communicate()

    def _ready(self) -> bool:
        """Wait for a process that answers; none comes where the grader is not installed."""
        self.answering = self.process.pid
        first = self._reply(START_LIMIT) or {}
        self.version, self.answering = first.get("version", ""), first.get("pid", 0)
        return bool(self.version)

    def _reply(self, limit: float) -> dict[str, Any] | None:
        """Return the next line: empty where the output ended, None where it took longer than the limit."""
        assert self.process.stdout is not None
        last, begun = time.monotonic() + PATIENCE * limit, cpu_seconds(self.answering)
        while not select.select([self.process.stdout], [], [], 0.25)[0]:
            if cpu_seconds(self.answering) - begun > limit or time.monotonic() > last:
                return None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {}

    def ask(self, case: Case, limit: float) -> tuple[str, float]:
        """Return verdict (1, 0, - for unscored, h for a hang, c for a crash) and seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"gold": case.gold, "completion": case.completion}) + "\n")
        self.process.stdin.flush()
        reply = self._reply(limit)
        if reply is None:
            os.kill(self.answering, signal.SIGKILL)
            self._ready()
            return "h", limit
        if "verdict" not in reply:  # the next process says that it is ready
            self.answering = reply["pid"]
            return "c", math.nan
        return ("-" if reply["verdict"] is None else str(reply["verdict"])), reply["seconds"]

    def close(self) -> None:
        """End both processes."""
        self.process.communicate()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, so that a busy machine makes no hang; 0 where /proc has none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


class Result(NamedTuple):
    """One grader's verdicts, a letter a case, and its seconds."""

    name: str
    version: str
    verdicts: str
    seconds: list[float]


def grade(cases: Sequence[Case], names: Iterable[str], pythons: Sequence[str], limit: float) -> list[Result]:
    """Ask every grader about every case, graders taking turns, so that they meet the same load."""
    children = [child for name in names if (child := Child(name, pythons)).version]
    answers: dict[str, list[tuple[str, float]]] = {child.name: [] for child in children}
    for number, case in enumerate(cases):
        shift = number % len(children)
        for child in children[shift:] + children[:shift]:
            answers[child.name].append(child.ask(case, limit))
        if number % 100 == 0:
            print(f"{number} of {len(cases)}", file=sys.stderr, flush=True)
    for child in children:
        child.close()
    return [
        Result(c.name, c.version, "".join(v for v, _ in answers[c.name]), [s for _, s in answers[c.name]])
        for c in children
    ]


def counts(cases: Sequence[Case], verdicts: str) -> dict[str, int]:
    """Count the errors on what is no policy case."""
    pairs = [(case, verdict) for case, verdict in zip(cases, verdicts, strict=True) if not case.policy]
    right = [verdict for case, verdict in pairs if case.right]
    return {
        "false positives": sum(verdict == "1" for case, verdict in pairs if not case.right),
        "false negatives": sum(verdict != "1" for verdict in right),
        "of these unscored": right.count("-"),
        "policy accepted": sum(
            verdict == "1" for case, verdict in zip(cases, verdicts, strict=True) if case.policy and case.right
        ),
        "hangs": verdicts.count("h"),
        "crashes": verdicts.count("c"),
    }


def row(cases: Sequence[Case], result: Result) -> dict[str, Any]:
    """Return one line of the table: errors, and milliseconds of CPU time at the median and at the 99th percentile."""
    known = sorted(s for s in result.seconds if not math.isnan(s))
    times = {"median ms": statistics.median(known), "p99 ms": known[int(0.99 * (len(known) - 1))]}
    found = counts(cases, result.verdicts)
    return {"grader": result.name, "version": result.version, **found, **{k: 1e3 * v for k, v in times.items()}}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of one shape as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in line.values()] for line in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_kind(cases: Sequence[Case], results: dict[str, Result]) -> list[dict[str, Any]]:
    """Return the errors of us and of math-verify for each kind."""
    table = []
    for kind in dict.fromkeys(case.kind for case in cases):
        chosen = [i for i, case in enumerate(cases) if case.kind == kind]
        line: dict[str, Any] = {"kind": kind, "cases": sum(not cases[i].policy for i in chosen)}
        for label, name in (("ours", OURS), ("math-verify", PEER)):
            found = counts([cases[i] for i in chosen], "".join(results[name].verdicts[i] for i in chosen))
            line |= {f"FP {label}": found["false positives"], f"FN {label}": found["false negatives"]}
        table.append(line)
    return table


def disagreements(cases: Sequence[Case], ours: str, theirs: str) -> str:
    """List each case on which we and math-verify differ, by who is right."""
    sections: dict[str, list[str]] = {"rewardsmith is right": [], "math-verify is right": []}
    for case, mine, its in zip(cases, ours, theirs, strict=True):
        if (mine == "1") == (its == "1") or case.policy:
            continue
        who = "rewardsmith" if (mine == "1") == case.right else "math-verify"
        verdict = "right" if case.right else "wrong"
        cells = (case.kind, code(case.gold), code(short(case.completion)), verdict, case.why)
        sections[f"{who} is right"].append("| " + " | ".join(cells) + " |")
    head = "| kind | key | answer | the answer is | why |\n| --- | --- | --- | --- | --- |\n"
    return "\n\n".join(f"## {title}: {len(lines)}\n\n{head}" + "\n".join(lines) for title, lines in sections.items())


def short(completion: str) -> str:
    """Return the box of a completion, else the whole, cut at 160 characters."""
    start, end = completion.find("\\boxed{"), completion.rfind("}")
    text = completion[start + 7 : end] if completion.count("\\boxed{") == 1 and end > start else completion
    return text if len(text) <= 160 else f"{text[:120]}… ({len(text)} characters)"


def code(text: str) -> str:
    """Return text as code inside a Markdown table."""
    return "`` " + text.replace("\n", "⏎").replace("|", "\\|") + " ``"


def main() -> None:
    """Run, print the tables, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graders", description="Graders side by side.")
    parser.add_argument("--python", action="append", default=[], metavar="PATH", help="an interpreter with more")
    parser.add_argument("--cases", type=Path, default=HERE / "data" / "grader_cases.jsonl")
    parser.add_argument("--grader", action="append", metavar="NAME", help=f"of {', '.join(GRADERS)}; default: all")
    parser.add_argument("--kind", action="append", metavar="KIND", help="only cases of this kind")
    parser.add_argument("--limit", type=float, default=8.0, help="seconds of CPU time for one answer")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args()
    if unknown := set(options.grader or ()) - GRADERS.keys():
        parser.error(f"no grader is called {sorted(unknown)[0]!r}; choose from {', '.join(GRADERS)}")
    cases = [case for case in load(options.cases) if case.kind in (options.kind or [case.kind])]
    results = grade(cases, options.grader or GRADERS, [sys.executable, *options.python], options.limit)
    rows = [row(cases, result) for result in results]
    n_right = sum(case.right for case in cases if not case.policy)
    n_wrong = sum(not case.right for case in cases if not case.policy)
    print(f"{n_right} right and {n_wrong} wrong answers, {os.cpu_count()} processors\n\n{markdown(rows)}")
    for name in GRADERS.keys() - {result.name for result in results}:
        print(f"not installed or not asked: {name}")
    options.out.mkdir(parents=True, exist_ok=True)
    verdicts = {result.name: result.verdicts for result in results}
    found = {"right": n_right, "wrong": n_wrong, "rows": rows, "verdicts": verdicts}
    (options.out / "graders.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if {OURS, PEER} <= verdicts.keys():
        print("\n" + markdown(by_kind(cases, {result.name: result for result in results})))
        differ = disagreements(cases, verdicts[OURS], verdicts[PEER])
        (options.out / "disagreements.md").write_text(f"# rewardsmith and math-verify\n\n{differ}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
