"""`rewardsmith audit`: parse, call the library, print."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rewardsmith.cli import shell

if TYPE_CHECKING:
    from rewardsmith.auditing.finding import Severity
    from rewardsmith.auditing.report import Estimate

TargetName = Annotated[
    str,
    typer.Argument(
        help="The reward: pkg.mod:name, file.py:name, reasoning-gym:NAME (with its own rows), or the folder or hub "
        "name of a reward model; or the folder of a self-training run.",
        show_default=False,
    ),
]
RowsFile = Annotated[
    str | None,
    typer.Argument(
        help="Rows as .jsonl, .json, .parquet, .arrow or .csv, a folder or a hub name: `prompt` and, for verifiers, "
        "`answer`; or preference pairs, `prompt`, `chosen`, `rejected` or any public schema.",
        show_default=False,
    ),
]
Pool = Annotated[
    Path | None,
    typer.Option(help="With pairs: completions, several per prompt, to select the best from; `gold` where known."),
]
Gold = Annotated[str | None, typer.Option(help="With --pool: the reward that gives the true score of completions.")]
Out = Annotated[Path | None, typer.Option(help="Folder for report.json and report.html; also lets a run resume.")]
Junit = Annotated[Path | None, typer.Option(help="File for the result as JUnit XML, one test case per question.")]
Budget = Annotated[int, typer.Option(min=1, help="Approximate number of completions to score.")]
MaxCalls = Annotated[
    int | None,
    typer.Option(
        min=1, help="Largest number of completions to score; 400 find flaws on 20 % of rows.", show_default=""
    ),
]
Price = Annotated[float | None, typer.Option(min=0.0, help="Money per call, for the estimate.", show_default="")]
Aggregate = Annotated[
    str | None,
    typer.Option(
        help="Aggregation of a process reward's step scores: sum, min, mean, max, last, clip, delta or clip_delta.",
        show_default="sum",
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Lowest score of a passing step; clip subtracts it.", show_default="")
]


def audit_command(
    target: TargetName,
    rows: RowsFile = None,
    *,
    out: Out = None,
    as_json: shell.AsJson = False,
    as_markdown: shell.AsMarkdown = False,
    junit: Junit = None,
    fail_on: shell.FailOn = "medium",
    budget: Budget = 15_000,
    max_calls: MaxCalls = None,
    price: Price = None,
    pool: Pool = None,
    gold: Gold = None,
    workers: shell.Workers = None,
    timeout: shell.Timeout = None,
    concurrency: shell.Concurrency = 16,
    memory: shell.Memory = None,
    seed: shell.Seed = 0,
    limit: shell.Limit = None,
    config: shell.Config = None,
    split: shell.Split = None,
    revision: shell.Revision = None,
    prompt_column: shell.PromptColumn = None,
    answer_column: shell.AnswerColumn = None,
    completion_column: shell.CompletionColumn = None,
    aggregate: Aggregate = None,
    threshold: Threshold = None,
    trust_remote_code: shell.TrustRemoteCode = False,
    end_token: shell.EndToken = None,
) -> None:
    """Audit a reward: find flaws that training on it would exploit.

    Exit code 0: clean. 1: findings at or above --fail-on. 2: the target, the rows or an option is unusable. 3: not
    judged.
    """
    with shell.explained_errors(shell.what_is_kept(out)):
        from rewardsmith._check import check_choice
        from rewardsmith.auditing import (
            SEVERITIES,
            audit,
            audit_run,
            render_junit,
            render_markdown,
            render_text,
            write_report,
        )
        from rewardsmith.auditing.render.visible import plain
        from rewardsmith.auditing.render.write import replace_file, strict_json
        from rewardsmith.auditing.subjects.self_training import is_run
        from rewardsmith.data import read_rows
        from rewardsmith.data.readers import read_rows_or_pairs
        from rewardsmith.scoring import Target, load_reward, load_target
        from rewardsmith.scoring.loading import target_rows

        check_choice("rewardsmith audit", "--fail-on", fail_on, SEVERITIES)
        shell.one_form("rewardsmith audit", as_json, as_markdown)
        floor = cast("Severity", fail_on)
        reading = shell.given(
            config=config, split=split, revision=revision, prompt_column=prompt_column, answer_column=answer_column,
            completion_column=completion_column,
        )  # fmt: skip
        before = _journals(out)
        with shell.stdout_kept_for_the_result():
            given: Any = None
            if rows is not None and is_run(target):
                raise ValueError("rewardsmith audit: a self-training run has rows of its own. Leave the rows out.")
            if rows is not None:
                read, reading = read_rows_or_pairs(rows, limit=limit, **reading), {}
                if read.note:
                    typer.echo(plain(read.note, limit=2000), err=True)
                given = read.rows
            of_model = shell.given(trust_remote_code=trust_remote_code or None, eos=end_token)
            loaded = None if is_run(target) else load_reward(target, **of_model)
            if given is None and limit is not None and isinstance(loaded, Target):
                given = target_rows(loaded, limit, seed)
            options: dict[str, Any] = {} if pool is None else {"pool": read_rows(pool)}
            options |= {} if gold is None else {"gold": load_target(gold)}
            report = shell.as_typed(audit_run(target) if loaded is None else audit(
                loaded, given, budget=budget, max_calls=max_calls, price=price, announce=_announce,
                workers=workers, timeout=timeout, seed=seed, out=out,
                aggregate=aggregate, threshold=threshold, concurrency=concurrency,
                memory=shell.gibibytes(memory), progress=sys.stderr.isatty(), **options, **reading,
            ))  # fmt: skip
        after = _journals(out)
        if before and before == after:
            made = datetime.fromtimestamp(max(before.values())).astimezone().isoformat(timespec="seconds")
            typer.echo(f"Found finished, made on {made}: no row was scored again.", err=True)
        paths = write_report(report, out, floor) if out else None
        if junit is not None:
            replace_file(junit, render_junit(report, floor=floor))
        if as_json:
            typer.echo(strict_json(report.summary(floor)))
        elif as_markdown:
            typer.echo(render_markdown(report, floor=floor), nl=False)
        else:
            from rich.console import Console

            render_text(report, Console(), floor=floor)
            saved = f"Report: {paths.html} and {paths.json}" if paths else "Add --out DIR for the report with its rows."
            typer.echo(saved)
    raise typer.Exit({"clean": 0, "findings": 1, "not judged": 3}[report.verdict(floor)])


def _announce(estimate: Estimate) -> None:
    from rewardsmith.auditing.render.wording import duration

    money = "" if estimate.money is None else f", at a cost of {estimate.money:.4g}"
    typer.echo(
        f"Estimate: {estimate.calls:,} calls, {duration(estimate.seconds)} in the reward itself{money}.", err=True
    )


def _journals(out: Path | None) -> dict[Path, float]:
    """Return the time of the last write to each journal of an audit."""
    return {} if out is None else {path: path.stat().st_mtime for path in out.glob("journal*.jsonl")}
