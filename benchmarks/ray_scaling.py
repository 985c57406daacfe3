"""What Ray costs beside local processes: `score_file` with two workers of each, in turns, once they are there."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benchmarks.busy import completed, costing, sums
from benchmarks.ratios import Ratio, ratio
from rewardsmith.engines.ray import RayEngine
from rewardsmith.scoring import LocalEngine, score_file
from rewardsmith.scoring.blocks import Engine

SECONDS, N_ROWS, REPEATS, WORKERS = 0.02, 2_000, 3, 2


def measure(*, seconds: float = SECONDS, n_rows: int = N_ROWS, repeats: int = REPEATS) -> list[Ratio]:
    """Wall time of two Ray workers over that of two local processes of the same repeat; files are compared."""
    engines: dict[str, Engine] = {"local": LocalEngine(WORKERS), "ray": RayEngine(WORKERS)}
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        rows = Path(name) / "rows.jsonl"
        records = [{"prompt": r.prompt, "completion": r.completion, **r.columns} for r in completed(sums(n_rows))]
        rows.write_text("".join(json.dumps(record) + "\n" for record in records))
        for arm, engine in engines.items():  # unmeasured: Ray and its workers start
            score_file(rows, costing(seconds), Path(name) / f"{arm}-warm.jsonl", engine=engine, limit=64)
        for repeat in range(repeats):
            walls: dict[str, float] = {}
            outs = {arm: Path(name) / f"{arm}-{repeat}.jsonl" for arm in engines}
            for arm in list(engines)[:: 1 if repeat % 2 else -1]:
                start = time.perf_counter()
                score_file(rows, costing(seconds), outs[arm], engine=engines[arm])
                walls[arm] = time.perf_counter() - start
            if outs["ray"].read_bytes() != outs["local"].read_bytes():
                raise RuntimeError("ray_scaling: the two files differ. One of the engines is wrong.")
            ratios.append(walls["ray"] / walls["local"])
    note = f"{n_rows:,} rows of {1e3 * seconds:g} ms, {WORKERS} workers each, warm"
    return [ratio("score_file on Ray", "local processes", ratios, note=note)]
