"""Common parts of the commands: options, errors that end with exit code 2, and a clean standard output."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rewardsmith.auditing import Report

AsJson = Annotated[bool, typer.Option("--json", help="Print only the result as JSON.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print only the result as Markdown for GitHub.")]
FailOn = Annotated[str, typer.Option(help="Lowest severity that fails: info, low, medium, high or critical.")]
Seed = Annotated[int, typer.Option(help="Seed of all random draws.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Read at most this many rows.")]
Split = Annotated[str | None, typer.Option(help="Split to read.")]
Config = Annotated[str | None, typer.Option(help="Configuration of rows on the hub.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of rows on the hub.")]
PromptColumn = Annotated[
    str | None, typer.Option(help="Column of the prompt, or a path such as extra_info.question.", show_default="found")
]
AnswerColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of the right answer, or a path such as reward_model.ground_truth.target.", show_default="found"
    ),
]
CompletionColumn = Annotated[str | None, typer.Option(help="Column of the completion.", show_default="found")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the Python code in the folder or repository of a model.")
]
EndToken = Annotated[
    bool | None,
    typer.Option(
        "--end-token/--no-end-token",
        help="Whether a reward model reads strings with the tokenizer's end token after them.",
        show_default="as in its training, where recorded; else yes, as in TRL",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that score; 0: in this one, without a hard time limit.",
        show_default="1; 0 for a reward model",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        help="Seconds per row before it counts as unscored.",
        show_default="30; none for a reward model or a judge",
    ),
]
Concurrency = Annotated[int, typer.Option(min=1, help="Rows that an async reward scores at once; a judge decides.")]
Memory = Annotated[
    float | None, typer.Option(min=0.01, help="GiB of address space per worker.", show_default="no limit")
]

REMEDIES = {
    errno.ENOSPC: "Free some space there, and run the same command again",
    errno.EACCES: "Change its permissions, or name another place",
    errno.EROFS: "Name a place that can be written to",
    errno.ENOTDIR: "A part of its path is a file and no folder: name another place",
    errno.EISDIR: "It is a folder: name a file",
    errno.ENAMETOOLONG: "Name a shorter path",
}


def given(**options: str | bool | None) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


class VisibleFormatter(logging.Formatter):
    """Formatter of log lines whose texts, such as a file's name, cannot move or color the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message with invisible characters replaced by their names; line breaks stay."""
        from rewardsmith.auditing.render.visible import plain

        return "\n".join(plain(line, limit=2000) for line in super().format(record).split("\n"))


@contextlib.contextmanager
def explained_errors(kept: str, *also: type[Exception]) -> Iterator[None]:
    """End with exit code 2 on unusable input, and on Ctrl-C as a shell does, with the reason on standard error.

    kept: what is kept after Ctrl-C. also: exceptions for unusable input, beside our own, ValueError and OSError.
    """
    from rewardsmith.errors import RewardsmithError

    unusable: tuple[type[Exception], ...] = (RewardsmithError, ValueError, OSError, *also)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Interrupted: {kept}.", err=True)
        raise typer.Exit(130) from None
    except unusable as error:
        from rewardsmith.auditing.render.visible import plain

        said = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            todo = REMEDIES.get(error.errno or 0, "Name another place")
            said = f"{error.filename} cannot be used ({error.strerror}). {todo}."
        typer.echo(f"Error: {plain(said, limit=2000)}", err=True)
        raise typer.Exit(2) from error


def one_form(caller: str, as_json: bool, as_markdown: bool) -> None:
    """Raise if a result shall be printed both as JSON and as Markdown."""
    if as_json and as_markdown:
        raise ValueError(f"{caller}: --json and --markdown are two forms of one result. Choose one.")


def as_typed(report: Report) -> Report:
    """Return the report with the command line that made it, in place of the call in Python."""
    if report.provenance is None:
        return report
    command = shlex.join(["rewardsmith", *sys.argv[1:]])
    return replace(report, provenance=report.provenance._replace(command=command))


def what_is_kept(out: object) -> str:
    """Return the message about a run's kept results, which can be resumed if it has a folder or file `out`."""
    return "resume with the same command" if out else "nothing was kept; with --out DIR a run can be resumed"


def gibibytes(amount: float | None) -> int | None:
    """Return an amount in GiB as bytes.

    >>> gibibytes(0.5), gibibytes(None)
    (536870912, None)
    """
    return None if amount is None else int(amount * 2**30)


@contextlib.contextmanager
def stdout_kept_for_the_result() -> Iterator[None]:
    """Send what the reward, its imports and its worker processes print to stderr, so that stdout holds the result."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
