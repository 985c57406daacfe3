"""`rewardsmith benchmark`: parse, read, score, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from rewardsmith.cli import shell

SPLITS = {"allenai/reward-bench": "filtered"}
"""Split that is scored, where a data set on the hub has others."""
TargetName = Annotated[
    str,
    typer.Argument(
        help="A reward model's folder or hub name, or a reward as pkg.mod:name or file.py:name.", show_default=False
    ),
]
RowsName = Annotated[
    str,
    typer.Argument(
        help="RewardBench, RewardBench 2, RM-Bench, RewardMATH, JudgeBench, PPE or ProcessBench: a file, a folder or "
        "a name on the hub.",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for benchmark.json; also lets a run resume.")]
Protocol = Annotated[
    str | None, typer.Option(help="The schema's name, as rewardbench2.", show_default="by the columns")
]
Ratings = Annotated[
    bool, typer.Option("--ratings", help="Count failed ratings and verdicts of a judge as the authors do.")
]
Aggregate = Annotated[
    str | None, typer.Option(help="Of a process reward: total of its step scores, such as min or geometric_mean.")
]
Threshold = Annotated[float, typer.Option(help="ProcessBench: score below which a step counts as wrong.")]


def benchmark_command(
    target: TargetName,
    rows: RowsName,
    *,
    out: Out = None,
    as_json: shell.AsJson = False,
    protocol: Protocol = None,
    split: shell.Split = None,
    limit: shell.Limit = None,
    ratings: Ratings = False,
    aggregate: Aggregate = None,
    threshold: Threshold = 0.5,
    workers: shell.Workers = None,
    timeout: shell.Timeout = None,
) -> None:
    """Score a reward on a reward model benchmark by the protocol of the benchmark's authors.

    Exit code 0: done. 1: no item could be scored. 2: the reward, the items or an option is unusable.
    """
    with shell.explained_errors(shell.what_is_kept(out)):
        from rewardsmith._disk import replacing
        from rewardsmith.auditing.render.write import strict_json
        from rewardsmith.benchmarks import run_benchmark
        from rewardsmith.data import read_benchmark
        from rewardsmith.scoring import load_target
        from rewardsmith.scoring.calling import is_model

        with shell.stdout_kept_for_the_result():
            read = read_benchmark(rows, schema=protocol, split=split or SPLITS.get(rows), limit=limit)
            reward = load_target(target)
            if read.card.dropped:
                typer.echo(read.card.as_text(), err=True)
            score = run_benchmark(
                reward,
                read.rows,
                protocol=read.card.schema,
                ratings=ratings,
                aggregate=cast(Any, aggregate),
                threshold=threshold,
                workers=(0 if is_model(reward) else 1) if workers is None else workers,
                timeout=timeout,
                journal=None if out is None else out / "journal.jsonl",
                progress=sys.stderr.isatty(),
            )
        record = strict_json(score.record())
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            with replacing(out / "benchmark.json") as file:
                file.write(f"{record}\n".encode())
        typer.echo(record if as_json else score.as_text())
        if out is not None and not as_json:
            typer.echo(f"Saved: {out / 'benchmark.json'}")
    raise typer.Exit(0 if score.n else 1)
