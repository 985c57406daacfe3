"""`rewardsmith demo`: audit published rewards, train on a flawed and on a repaired one, and write one report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewardsmith.cli.shell import Seed

Tasks = Annotated[int | None, typer.Option(min=0, help="Audit only this many reasoning-gym tasks; all by default.")]


def demo_command(
    *,
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")] = Path("rewardsmith-report"),
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(min=20, help="Training steps of each arm.")] = 120,
    tasks: Tasks = None,
) -> None:
    """Audit published rewards, train against a flawed one and against its repair, and write the report.

    It takes about three minutes on two cores. It needs `pip install ".[demo]"` in a checkout.
    """
    import os

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from rewardsmith.errors import missing_extra

    try:
        from rewardsmith.cli.demo.story import tell
    except ImportError as error:
        raise missing_extra("rewardsmith demo", "demo", error) from error
    tell(out, seed=seed, steps=steps, n_tasks=tasks)
