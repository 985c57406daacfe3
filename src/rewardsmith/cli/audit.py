"""`rewardsmith audit`: parse, call the library, print."""

from __future__ import annotations

import sys
from datetime import datetime
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
    from rewardsmith.auditing import Report
    from rewardsmith.auditing.finding import Severity

TargetName = Annotated[
    str,
    typer.Argument(
        help="The reward: pkg.mod:name, file.py:name, reasoning-gym:NAME, which brings its own rows, or the folder or "
        "hub name of a reward model.",
        show_default=False,
    ),
]
RowsFile = Annotated[
    str | None,
    typer.Argument(
        help="Rows as .jsonl, .json, .parquet or .csv: `prompt` and, for verifiers, `answer`; or preference pairs, "
        "`prompt`, `chosen`, `rejected` or any public schema, also as a folder or hub name.",
        show_default=False,
    ),
]
Pool = Annotated[
    Path | None,
    typer.Option(help="With pairs: completions, several to a prompt, to choose the best of; `gold` where known."),
]
Gold = Annotated[str | None, typer.Option(help="With --pool: the reward that says how good its completions truly are.")]
Out = Annotated[Path | None, typer.Option(help="Folder for report.json and report.html; also lets a run resume.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print only the summary as JSON.")]
FailOn = Annotated[str, typer.Option(help="Mildest severity that fails: info, low, medium, high or critical.")]
Budget = Annotated[int, typer.Option(min=1, help="Completions to score, roughly.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that score; 0: in this one, without a hard time limit.",
        show_default="1; 0 for a reward model",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use at most this many rows.")]
Aggregate = Annotated[
    str | None,
    typer.Option(
        help="How a run uses a process reward's step scores: sum, min, mean, max, last, clip, delta or clip_delta.",
        show_default="sum",
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Step score from which a step passes, and which clip subtracts.", show_default="")
]


def audit_command(
    target: TargetName,
    rows: RowsFile = None,
    *,
    out: Out = None,
    as_json: AsJson = False,
    fail_on: FailOn = "medium",
    budget: Budget = 15_000,
    pool: Pool = None,
    gold: Gold = None,
    workers: Workers = None,
    timeout: Timeout = None,
    concurrency: Concurrency = 16,
    memory: Memory = None,
    seed: Seed = 0,
    limit: Limit = None,
    aggregate: Aggregate = None,
    threshold: Threshold = None,
    trust_remote_code: TrustRemoteCode = False,
    end_token: EndToken = None,
) -> None:
    """Audit a reward: what does it pay for that it should not?

    Exit code 0: clean. 1: findings at or above --fail-on. 2: the target, the rows or an option is unusable.
    """
    from rewardsmith.errors import RewardsmithError

    options: dict[str, Any] = {"budget": budget, "workers": workers, "timeout": timeout, "seed": seed, "out": out}
    options |= {"aggregate": aggregate, "threshold": threshold, "concurrency": concurrency}
    options["memory"] = gibibytes(memory)
    try:
        floor = _severity(fail_on)
        before = _kept(out)
        with stdout_kept_for_the_result():
            given = model_options(trust_remote_code, end_token)
            report = _audited(target, given, rows, limit=limit, pool=pool, gold=gold, **options)
        if before and before == _kept(out):
            made = datetime.fromtimestamp(max(before.values())).astimezone().isoformat(timespec="seconds")
            typer.echo(f"Found finished, made on {made}: no row was asked.", err=True)
        _print(report, floor=floor, out=out, as_json=as_json)
    except KeyboardInterrupt:
        kept = "resume with the same command" if out else "nothing was kept; with --out DIR a run can be resumed"
        interrupted(kept)
    except (RewardsmithError, ValueError, OSError) as error:
        refuse(error)
    raise typer.Exit(1 if report.at_least(floor) else 0)


def _kept(out: Path | None) -> dict[Path, float]:
    """When each journal of an audit was last written to."""
    return {} if out is None else {path: path.stat().st_mtime for path in out.glob("journal*.jsonl")}


def _audited(
    target: str,
    model: dict[str, Any],
    rows: str | None,
    *,
    limit: int | None,
    pool: Path | None,
    gold: str | None,
    **options: Any,
) -> Report:
    from rewardsmith.auditing import audit
    from rewardsmith.data import read_rows
    from rewardsmith.scoring import Target, load_reward, load_target, target_rows

    given: Any = None if rows is None else _read(rows, limit)
    loaded = load_reward(target, **model)
    if given is None and limit is not None and isinstance(loaded, Target):
        given = target_rows(loaded, limit, options["seed"])
    options |= {} if pool is None else {"pool": read_rows(pool)}
    options |= {} if gold is None else {"gold": load_target(gold)}
    report: Report = audit(loaded, given, progress=sys.stderr.isatty(), **options)
    return report


def _read(source: str, limit: int | None) -> Any:
    """Rows or preference pairs; what was left out is said on standard error."""
    from rewardsmith.auditing.render.visible import plain
    from rewardsmith.data.readers import read_rows_or_pairs

    given = read_rows_or_pairs(source, limit=limit)
    if given.note:
        typer.echo(plain(given.note, limit=2000), err=True)
    return given.rows


def _print(report: Report, *, floor: Severity, out: Path | None, as_json: bool) -> None:
    from rich.console import Console

    from rewardsmith.auditing import render_text, write_report
    from rewardsmith.auditing.render.write import strict_json

    paths = write_report(report, out, floor) if out else None
    if as_json:
        typer.echo(strict_json(report.summary(floor)))
        return
    render_text(report, Console(), floor=floor)
    typer.echo(f"Report: {paths.html} and {paths.json}" if paths else "Add --out DIR for the report with its rows.")


def _severity(name: str) -> Severity:
    from rewardsmith._check import check_choice
    from rewardsmith.auditing import SEVERITIES

    check_choice("rewardsmith audit", "--fail-on", name, SEVERITIES)
    return next(severity for severity in SEVERITIES if severity == name)
