"""`rewardsmith diff`: parse, compare, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from rewardsmith.cli import shell

if TYPE_CHECKING:
    from rewardsmith.auditing.finding import Severity

Before = Annotated[
    Path, typer.Argument(help="The report.json of the earlier audit, or its folder.", show_default=False)
]
After = Annotated[Path, typer.Argument(help="The report.json of the later audit, or its folder.", show_default=False)]


def diff_command(
    before: Before,
    after: After,
    *,
    as_json: shell.AsJson = False,
    as_markdown: shell.AsMarkdown = False,
    fail_on: shell.FailOn = "medium",
) -> None:
    """Compare two reports on the same rows: findings fixed, new and changed, and questions asked in one only.

    Exit code 0: nothing new. 1: a new or graver finding at or above --fail-on, or a worse verdict. 2: a file is no
    report, or the reports cannot be compared.
    """
    with shell.explained_errors("nothing was kept"):
        from rewardsmith._check import check_choice
        from rewardsmith.auditing import SEVERITIES, compare_reports, render_markdown
        from rewardsmith.auditing.render.text import render_comparison
        from rewardsmith.auditing.render.write import strict_json

        check_choice("rewardsmith diff", "--fail-on", fail_on, SEVERITIES)
        shell.one_form("rewardsmith diff", as_json, as_markdown)
        comparison = compare_reports(before, after, floor=cast("Severity", fail_on))
        if as_json:
            typer.echo(strict_json(comparison.as_json()))
        elif as_markdown:
            typer.echo(render_markdown(comparison), nl=False)
        else:
            from rich.console import Console

            render_comparison(comparison, Console())
    raise typer.Exit(1 if comparison.worse else 0)
