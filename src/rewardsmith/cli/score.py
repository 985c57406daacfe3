"""`rewardsmith score`: parse, call the library, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewardsmith.cli.shell import (
    Concurrency,
    EndToken,
    Memory,
    Timeout,
    TrustRemoteCode,
    gibibytes,
    interrupted,
    model_options,
    refuse,
    stdout_kept_for_the_result,
)

if TYPE_CHECKING:
    from rewardsmith.scoring import Engine, ScoreSummary

ENGINES = ("local", "ray")
RowsName = Annotated[
    Path,
    typer.Argument(help="Rows as .jsonl, .json, .parquet or .csv, with `prompt` and `completion`.", show_default=False),
]
RewardNames = Annotated[
    list[str],
    typer.Option(
        help="pkg.mod:name, file.py:name, reasoning-gym:NAME, or a reward model's folder or hub name; a recipe too. "
        "Given several times, each has the columns reward/NAME and reason/NAME.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(help="A .jsonl or .parquet file; OUT.parts lets a run resume.", show_default=False)]
EngineName = Annotated[str, typer.Option(help="local, or ray: the workers of a Ray cluster (RAY_ADDRESS) or of this.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes; 0: in this one, where nothing ends a call that hangs.",
        show_default="1; 0 for a reward model; on Ray, what there is room for",
    ),
]
BlockSize = Annotated[
    int | None,
    typer.Option(
        min=1, help="Rows that a worker takes and finishes at a time.", show_default="1/32 of the rows, 64 to 1024"
    ),
]


def score_command(
    rows: RowsName,
    *,
    reward: RewardNames,
    out: Out,
    engine: EngineName = "local",
    workers: Workers = None,
    timeout: Timeout = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per call; a reward model makes its own batches.")] = 16,
    concurrency: Concurrency = 16,
    memory: Memory = None,
    block_size: BlockSize = None,
    gpus: Annotated[float, typer.Option(min=0.0, help="GPUs that each Ray worker takes.")] = 0.0,
    conversational: Annotated[bool, typer.Option("--conversational", help="Give messages, not strings.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Score at most this many rows.")] = None,
    trust_remote_code: TrustRemoteCode = False,
    end_token: EndToken = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the summary as JSON.")] = False,
) -> None:
    """Score a file of rows: the same rows, in order, with `reward` (null where unscored) and the `reason` why.

    A recipe, or a mapping from names to rewards, gets a column for each source, and `reward` is what they come to. Run
    again after a crash, the same command scores what is missing and asks again at most what was under way; after an
    edit of the reward's code it scores all rows anew. Exit code 1: no row could be scored. 2: the reward, the rows or
    an option is unusable.
    """
    from rewardsmith.errors import RewardsmithError

    options: dict[str, Any] = {"timeout": timeout, "batch_size": batch_size, "block_size": block_size, "limit": limit}
    options |= {"concurrency": concurrency, "conversational": conversational, "progress": sys.stderr.isatty()}
    options["memory"] = gibibytes(memory)
    try:
        with stdout_kept_for_the_result():
            given = model_options(trust_remote_code, end_token)
            summary = _scored(rows, reward, given, out, _engine(engine, workers, gpus), **options)
    except KeyboardInterrupt:
        interrupted("resume with the same command")
    except (RewardsmithError, ValueError, OSError) as error:
        refuse(error)
    typer.echo(json.dumps(summary._asdict() | {"out": str(summary.out)}) if as_json else _text(summary))
    several = (summary.by_reward or {}).values()
    raise typer.Exit(0 if summary.n_scored or any(counts.get("scored") for counts in several) else 1)


def _engine(name: str, workers: int | None, gpus: float) -> Engine:
    from rewardsmith._check import check_choice

    check_choice("rewardsmith score", "--engine", name, ENGINES)
    if name == "local":
        from rewardsmith.scoring import LocalEngine

        return LocalEngine(workers)
    from rewardsmith.engines.ray import RayEngine

    return RayEngine(workers or None, num_gpus=gpus)


def _scored(
    rows: Path, reward: list[str], given: dict[str, Any], out: Path, engine: Engine, **options: Any
) -> ScoreSummary:
    from rewardsmith.scoring import load_reward, score_file

    loaded = [load_reward(name, **given) for name in reward] if given else reward
    return score_file(rows, loaded, out, engine=engine, **options)


def _text(summary: ScoreSummary) -> str:
    from rewardsmith.auditing.render.visible import plain

    lines = [f"{summary.n_scored} of {summary.n_rows} rows scored in {summary.seconds:.1f} s"]
    if summary.by_reward:
        lines += [f"  {plain(label)}: {_listed(counts)}" for label, counts in summary.by_reward.items()]
    first = {reason: f"; the first: {plain(detail, limit=600)}" for reason, detail in (summary.first or {}).items()}
    listed = {reason: n for reason, n in summary.unscored.items() if reason in first or not summary.by_reward}
    lines += [f"  unscored, {reason}: {n}{first.get(reason, '')}" for reason, n in listed.items()]
    if summary.n_found:
        lines.append(f"  found finished: {summary.n_found}" + (f", made on {summary.made}" if summary.made else ""))
    return "\n".join([*lines, f"Saved: {plain(str(summary.out), limit=2000)}"])


def _listed(counts: dict[str, int]) -> str:
    unscored = [f", {n} unscored ({reason})" for reason, n in counts.items() if reason != "scored"]
    return f"{counts.get('scored', 0)} scored{''.join(unscored)}"
