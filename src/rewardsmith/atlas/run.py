"""Run a page over seeds and judge it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

from rewardsmith.atlas.criteria import Results, Verdict
from rewardsmith.atlas.discovery import load_page
from rewardsmith.atlas.page import LoadedPage, Page, changed_world
from rewardsmith.measures.intervals import student_interval


@dataclass(frozen=True, slots=True)
class Run:
    """One page's results over seeds, and what its criterion says of them.

    results: {"metric/arm": [one number per seed]}.
    intervals: {"metric/arm": (low, high)}, 95 % for the mean over seeds; empty where one seed ran.
    figure: the page's own drawing, if it has one.
    """

    page: Page
    seeds: tuple[int, ...]
    world: dict[str, Any]
    broken: bool
    results: dict[str, list[float]]
    intervals: dict[str, tuple[float, float]]
    verdict: Verdict
    seconds: float
    figure: Callable[[Results, Any], None] | None = None

    def as_json(self) -> dict[str, Any]:
        """What `rewardsmith atlas run --json` prints; NaN becomes null."""
        return {
            "paper": self.page.paper,
            "slug": self.page.slug,
            "criterion": self.verdict.sentence,
            "passed": self.verdict.passed,
            "results": {name: [_finite(value) for value in values] for name, values in self.results.items()},
            "intervals": {name: [_finite(bound) for bound in bounds] for name, bounds in self.intervals.items()},
            "seconds": round(self.seconds, 3),
            "world": self.world,
        }


def run_page(
    slug: str,
    *,
    seeds: Sequence[int],
    world: Mapping[str, str] | None = None,
    broken: bool = False,
    workers: int = 1,
    on_seed: Callable[[], None] | None = None,
) -> Run:
    """Run a page's experiment once per seed and judge the results.

    Args:
        slug: file name of the page.
        seeds: at least one, all different.
        world: parameters to change, as text; see `changed_world`.
        broken: run the page's declared ablation.
        workers: processes that run seeds at the same time; at most one per seed and per core of this machine.
        on_seed: called after every seed, such as to move a progress bar.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError(f"run_page: seeds are {list(seeds)}. Give at least one, all different and not negative.")
    loaded = load_page(slug)
    given = changed_world(loaded, world or {})
    started = time.perf_counter()
    rows = []
    for row in _rows(loaded, seeds, given, broken=broken, workers=workers):
        rows.append(row)
        if on_seed:
            on_seed()
    results = {name: [row[name] for row in rows] for name in rows[0]}
    return Run(
        page=loaded.page,
        seeds=tuple(seeds),
        world=asdict(given),
        broken=broken,
        results=results,
        intervals={name: student_interval(values) for name, values in results.items() if len(seeds) > 1},
        verdict=loaded.page.criterion.judge(results),
        seconds=time.perf_counter() - started,
        figure=loaded.figure,
    )


def _rows(
    loaded: LoadedPage, seeds: Sequence[int], world: Any, *, broken: bool, workers: int
) -> Iterator[dict[str, float]]:
    """One dict per seed, in order; seeds that a page runs side by side share a worker."""
    workers = max(1, min(workers, os.cpu_count() or 1, len(seeds)))
    size = math.ceil(len(seeds) / workers) if loaded.together else 1
    jobs = [(loaded.page.slug, seeds[start : start + size], world, broken) for start in range(0, len(seeds), size)]
    if workers == 1:
        for job in jobs:
            yield from _some_seeds(*job)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        for done in [executor.submit(_some_seeds, *job) for job in jobs]:
            yield from done.result()


def _some_seeds(slug: str, seeds: Sequence[int], world: Any, broken: bool) -> list[dict[str, float]]:
    """On one thread: small tensors run faster so, and give the same numbers on every machine's core count."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = load_page(slug).experiments(seeds, world, broken=broken)
    finally:
        torch.set_num_threads(before)
    return [{name: float(value) for name, value in row.items()} for row in rows]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
