"""`python -m benchmarks [NAME ...] [--markdown]`: run benchmarks and print their figures."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
from collections.abc import Callable, Sequence

from benchmarks.ratios import Ratio, ratio


def _audit_overhead() -> list[Ratio]:
    from benchmarks.audit_overhead import measure

    return measure()


def _worker_scaling() -> list[Ratio]:
    from benchmarks.worker_scaling import measure

    return measure()


def _ray_scaling() -> list[Ratio]:
    from benchmarks.ray_scaling import measure

    return measure()


def _trl_overhead() -> list[Ratio]:
    from benchmarks.trl_overhead import measure

    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):  # TRL prints its logs
        results = measure()
    named = {
        "ours": "with no option",
        "options": "with transform, advantage and filter",
        "monitored": "and a monitor",
        "clamped": "with log-ratio clamp and advantage filter",
    }
    return [
        ratio(
            f"our {trainer} {named[arm]}", "TRL's own", found["ratios"], note=f"{found['steps_per_second']:.2f} steps/s"
        )
        for trainer, arms in results.items()
        for arm, found in arms.items()
        if arm in named
    ]


def _reward_scoring() -> list[Ratio]:
    from benchmarks.reward_scoring import measure

    return measure()


def _reward_training() -> list[Ratio]:
    from benchmarks.reward_training import measure

    return measure()


def _judge_throughput() -> list[Ratio]:
    from benchmarks.judge_throughput import measure

    return measure()


def _preference_training() -> list[Ratio]:
    from benchmarks.preference_training import measure

    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):  # TRL prints its logs
        return measure()


BENCHMARKS: dict[str, Callable[[], list[Ratio]]] = {
    "audit_overhead": _audit_overhead,
    "worker_scaling": _worker_scaling,
    "ray_scaling": _ray_scaling,
    "trl_overhead": _trl_overhead,
    "reward_scoring": _reward_scoring,
    "reward_training": _reward_training,
    "preference_training": _preference_training,
    "judge_throughput": _judge_throughput,
}


def _cells(row: Ratio) -> tuple[str, ...]:
    quartiles = f"{row.low:.3f} to {row.high:.3f}"
    return row.what, row.over, f"{row.median:.3f}", quartiles, str(row.repeats), row.note


HEADINGS = ("time of", "over", "ratio (median)", "quartiles", "repeats", "note")


def markdown(rows: Sequence[Ratio]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _print(rows: Sequence[Ratio], *, title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*HEADINGS, title=title, box=box.SIMPLE)
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Every figure is a ratio within one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {unknown[0]!r}; choose from {', '.join(BENCHMARKS)}")
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start")
    for name in options.names or BENCHMARKS:
        rows = BENCHMARKS[name]()
        if options.markdown:
            print(f"\n### {name}\n\n{markdown(rows)}")
        else:
            _print(rows, title=name)


if __name__ == "__main__":
    main()
