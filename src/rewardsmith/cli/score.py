"""`rewardsmith score`: parse, call the library, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewardsmith.cli import shell

if TYPE_CHECKING:
    from rewardsmith.scoring.blocks import Engine

ENGINES = ("local", "ray")
RowsName = Annotated[
    str,
    typer.Argument(
        help="Rows as .jsonl, .json, .parquet, .arrow or .csv, a folder or a hub name, with `prompt` and `completion`.",
        show_default=False,
    ),
]
RewardNames = Annotated[
    list[str],
    typer.Option(
        help="pkg.mod:name, file.py:name, reasoning-gym:NAME, or a reward model's folder or hub name; a recipe too. "
        "Repeat it for several rewards, with columns reward/NAME and reason/NAME.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(help="A .jsonl or .parquet file; OUT.parts lets a run resume.", show_default=False)]
EngineName = Annotated[str, typer.Option(help="local, or ray: workers of the cluster RAY_ADDRESS or of this machine.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes; 0: in this one, where a call that hangs cannot be ended.",
        show_default="1; 0 for a reward model; on Ray, as many as there is room for",
    ),
]
BlockSize = Annotated[
    int | None,
    typer.Option(min=1, help="Rows that a worker takes at a time.", show_default="1/32 of the rows, 64 to 1024"),
]


def score_command(
    rows: RowsName,
    *,
    reward: RewardNames,
    out: Out,
    engine: EngineName = "local",
    workers: Workers = None,
    timeout: shell.Timeout = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per call; a reward model makes its own batches.")] = 16,
    concurrency: shell.Concurrency = 16,
    memory: shell.Memory = None,
    block_size: BlockSize = None,
    gpus: Annotated[float, typer.Option(min=0.0, help="GPUs that each Ray worker takes.")] = 0.0,
    conversational: Annotated[bool, typer.Option("--conversational", help="Pass messages, not strings.")] = False,
    limit: shell.Limit = None,
    config: shell.Config = None,
    split: shell.Split = None,
    revision: shell.Revision = None,
    prompt_column: shell.PromptColumn = None,
    answer_column: shell.AnswerColumn = None,
    completion_column: shell.CompletionColumn = None,
    trust_remote_code: shell.TrustRemoteCode = False,
    end_token: shell.EndToken = None,
    as_json: shell.AsJson = False,
) -> None:
    """Score a file of rows: write the same rows, in order, with `reward` (null if unscored) and `reason`.

    A recipe, or a mapping from names to rewards, gets a column for each source, and `reward` is their result. The same
    command after a crash scores the missing rows and repeats at most the calls that were running. After an edit of the
    reward's code it scores all rows anew. Exit code 1: no row could be scored. 2: the reward, the rows or an option is
    unusable.
    """
    with shell.explained_errors("resume with the same command"), shell.stdout_kept_for_the_result():
        from rewardsmith._check import check_choice
        from rewardsmith.scoring import LocalEngine, load_reward, score_file

        check_choice("rewardsmith score", "--engine", engine, ENGINES)
        reading = shell.given(
            config=config, split=split, revision=revision, prompt_column=prompt_column, answer_column=answer_column,
            completion_column=completion_column,
        )  # fmt: skip
        with_model = shell.given(trust_remote_code=trust_remote_code or None, eos=end_token)
        runs_on: Engine = LocalEngine(workers)
        if engine == "ray":
            from rewardsmith.engines.ray import RayEngine

            runs_on = RayEngine(workers or None, num_gpus=gpus)
        summary = score_file(
            rows, [load_reward(name, **with_model) for name in reward] if with_model else reward, out, engine=runs_on,
            timeout=timeout, batch_size=batch_size, block_size=block_size, limit=limit, concurrency=concurrency,
            conversational=conversational, memory=shell.gibibytes(memory), progress=sys.stderr.isatty(),
            **reading,
        )  # fmt: skip
    several = summary.by_reward or {}
    if as_json:
        typer.echo(json.dumps(summary._asdict() | {"out": str(summary.out)}))
    else:
        from rewardsmith.auditing.render.visible import plain

        lines = [f"{summary.n_scored} of {summary.n_rows} rows scored in {summary.seconds:.1f} s"]
        for label, counts in several.items():
            unscored = [f", {n} unscored ({reason})" for reason, n in counts.items() if reason != "scored"]
            lines.append(f"  {plain(label)}: {counts.get('scored', 0)} scored{''.join(unscored)}")
        first = {reason: f"; the first: {plain(detail, limit=600)}" for reason, detail in (summary.first or {}).items()}
        listed = {reason: n for reason, n in summary.unscored.items() if reason in first or not several}
        lines += [f"  unscored, {reason}: {n}{first.get(reason, '')}" for reason, n in listed.items()]
        if summary.n_found:
            made = f", made on {summary.made}" if summary.made else ""
            lines.append(f"  found finished: {summary.n_found}{made}")
        typer.echo("\n".join([*lines, f"Saved: {plain(str(summary.out), limit=2000)}"]))
    raise typer.Exit(0 if summary.n_scored else 1)
