"""What worker processes buy: a `Scorer` on the same rows with 0, 1 and 2 of them, beside a bare loop."""

from __future__ import annotations

import time

from benchmarks.busy import bare_seconds, completed, costing, sums
from benchmarks.ratios import Ratio, ratio
from rewardsmith.scoring import Scorer

SECONDS, N_ROWS, REPEATS = 0.002, 2_000, 5
WORKERS = (0, 1, 2)


def measure(*, seconds: float = SECONDS, n_rows: int = N_ROWS, repeats: int = REPEATS) -> list[Ratio]:
    """Wall time of scoring over the bare loop of the same repeat; the order of the arms rotates."""
    ratios: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for repeat in range(repeats):
        bare = bare_seconds(n_rows, seconds=seconds)
        shift = repeat % len(WORKERS)
        for workers in (*WORKERS[shift:], *WORKERS[:shift]):
            ratios[workers].append(_scored_seconds(workers, seconds=seconds, n_rows=n_rows) / bare)
    note = f"{n_rows:,} rows of {1e3 * seconds:g} ms"
    return [ratio(_name(workers), "a bare loop", values, note=note) for workers, values in ratios.items()]


def _name(workers: int) -> str:
    return f"scoring with {workers} worker{'s' * (workers > 1)}" if workers else "scoring in this process"


def _scored_seconds(workers: int, *, seconds: float, n_rows: int) -> float:
    """Wall time of one job once its workers run: a first row of each starts them, as in a long job."""
    rows = completed(sums(n_rows))
    with Scorer(costing(seconds), workers=workers) as scorer:
        scorer.score(completed(sums(2)), nonce="start", batch_size=1)
        start = time.perf_counter()
        scorer.score(rows)
        return time.perf_counter() - start
