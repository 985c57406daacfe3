"""The command line: `rewardsmith audit | atlas | benchmark | demo | diff | score | study | train-reward`.

It parses; the library works.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from rewardsmith.cli.atlas import app as atlas_app
from rewardsmith.cli.audit import audit_command
from rewardsmith.cli.benchmark import benchmark_command
from rewardsmith.cli.demo import demo_command
from rewardsmith.cli.diff import diff_command
from rewardsmith.cli.score import score_command
from rewardsmith.cli.shell import VisibleFormatter
from rewardsmith.cli.study import study_command
from rewardsmith.cli.train_reward import train_reward_command

app = typer.Typer(
    name="rewardsmith",
    help="Audit and repair rewards for reinforcement learning, and see small reproductions of the field's papers.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("audit")(audit_command)
app.command("benchmark")(benchmark_command)
app.command("demo")(demo_command)
app.command("diff")(diff_command)
app.command("score")(score_command)
app.command("study")(study_command)
app.command("train-reward")(train_reward_command)
app.add_typer(atlas_app, name="atlas", help="The field's papers, each with a component and a page that reproduces it.")


def _version(shown: bool) -> None:
    if shown:
        from rewardsmith import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if logging.lastResort is not None:  # it prints warnings where nobody has configured the log
        logging.lastResort.setFormatter(VisibleFormatter())


def main() -> None:
    """Run the command line."""
    from rewardsmith.errors import MissingExtraError

    try:
        app()
    except MissingExtraError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)


__all__ = ["app", "main"]
