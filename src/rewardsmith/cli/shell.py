"""What commands share at the shell: an error that ends with 2, and a standard output that holds the result alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import typer


def refuse(error: Exception) -> NoReturn:
    """Say on standard error what is unusable, and end with 2."""
    from rewardsmith.audit.render.visible import plain

    typer.echo(f"Error: {plain(str(error), limit=2000)}", err=True)
    raise typer.Exit(2)


def interrupted(kept: str) -> NoReturn:
    """Say on standard error what is kept, and end as a shell does on Ctrl-C."""
    typer.echo(f"Interrupted: {kept}.", err=True)
    raise typer.Exit(130)


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


__all__ = ["gibibytes", "interrupted", "refuse", "stdout_kept_for_the_result"]
