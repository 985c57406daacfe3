"""Run a page over seeds and judge it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from markupsafe import Markup

from rewardsmith._processes import worker_pool
from rewardsmith.atlas.criteria import Results, Verdict, seeds_to_judge
from rewardsmith.atlas.discovery import load_page
from rewardsmith.atlas.figures import dots, picture, plain
from rewardsmith.atlas.page import LoadedPage, Page, changed_world
from rewardsmith.measures.intervals import student_interval


@dataclass(frozen=True, slots=True)
class Run:
    """One page's results over seeds, and what its criterion says of them.

    results: {"metric/arm": [one number per seed]}.
    intervals: {"metric/arm": (low, high)}, 95 % for the mean over seeds; empty where one seed ran.
    figure: the page's own drawing, if it has one.
    changes: what of the world was changed, as text.
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
    changes: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """Say whether it passed, and whether too few seeds ran for its intervals and p-values."""
        needed = seeds_to_judge(self.page.criterion)
        few = f", judged by means: intervals and p-values take {needed} seeds" if len(self.seeds) < needed else ""
        return f"{'Passed' if self.verdict.passed else 'Not passed'}{few}"

    def as_json(self) -> dict[str, Any]:
        """Return what `rewardsmith atlas run --json` prints; NaN becomes null."""
        return {
            "paper": self.page.paper,
            "slug": self.page.slug,
            "criterion": self.verdict.sentence,
            "passed": self.verdict.passed,
            "results": {name: [_finite(value) for value in values] for name, values in self.results.items()},
            "intervals": {name: [_finite(bound) for bound in bounds] for name, bounds in self.intervals.items()},
            "seconds": round(self.seconds, 3),
            "world": self.world,
            "changed": dict(self.changes),
            "ablation": self.broken,
        }

    @property
    def metrics(self) -> dict[str, list[str]]:
        """Return names of results by metric, in the order of the experiment."""
        found: dict[str, list[str]] = {}
        for name in self.results:
            found.setdefault(name.partition("/")[0], []).append(name)
        return found

    def figures(self) -> list[str]:
        """Return addresses of images: the page's own figure, or one per metric that compares arms."""
        if self.figure is not None:
            return [picture(partial(self.figure, self.results))]
        compared = [metric for metric, names in self.metrics.items() if len(names) > 1]
        return [picture(partial(dots, self.results, series={m: f"{m}/{{}}"}, label=plain(m))) for m in compared]

    def _repr_html_(self) -> str:
        """Show outcome, criterion and figures in a notebook."""
        line = Markup("<tr><td>{}</td><td>{}</td><td>{}</td></tr>")
        parts = self.verdict.parts or (self.verdict,)
        table = Markup("").join(line.format("✓" if one.passed else "✗", one.sentence, one.observed) for one in parts)
        head = Markup("<p><b>{}</b>: {}</p><table>{}</table>").format(self.page.slug, self.outcome, table)
        return "".join([head, *(f'<img src="{address}" style="width: 36rem">' for address in self.figures())])


def judged(page: Page, results: dict[str, list[float]], *, seeds: Sequence[int], **rest: Any) -> Run:
    """Return results as a run: with their intervals, and judged by the page's criterion."""
    intervals = {name: student_interval(values) for name, values in results.items() if len(seeds) > 1}
    verdict = page.criterion.judge(results)
    return Run(page=page, seeds=tuple(seeds), results=results, intervals=intervals, verdict=verdict, **rest)


def run_page(
    slug: str,
    *,
    seeds: Sequence[int],
    world: Mapping[str, str] | None = None,
    broken: bool = False,
    workers: int = 1,
    pool: Executor | None = None,
    on_seed: Callable[[], None] | None = None,
) -> Run:
    """Run a page's experiment once per seed and judge the results.

    Args:
        slug: file name of the page.
        seeds: at least one, all different.
        world: parameters to change, as text; see `changed_world`.
        broken: run the page's declared ablation.
        workers: processes that run seeds at the same time; at most one per seed and per core of this machine.
        pool: what `worker_pool` returned, for several pages; else each call starts processes of its own.
        on_seed: called after every seed, such as to move a progress bar.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError(f"run_page: seeds are {list(seeds)}. Give at least one, all different and not negative.")
    loaded = load_page(slug)
    given = changed_world(loaded, world or {})
    started = time.perf_counter()
    rows = []
    for row in _rows(loaded, seeds, given, broken=broken, workers=workers, pool=pool):
        rows.append(row)
        if on_seed:
            on_seed()
    results = {name: [row[name] for row in rows] for name in rows[0]}
    return judged(
        loaded.page,
        results,
        seeds=seeds,
        world=asdict(given),
        broken=broken,
        seconds=time.perf_counter() - started,
        figure=loaded.figure,
        changes=dict(world or {}),
    )


def _rows(
    loaded: LoadedPage, seeds: Sequence[int], world: Any, *, broken: bool, workers: int, pool: Executor | None
) -> Iterator[dict[str, float]]:
    """One dict per seed, in order; seeds that a page runs side by side share a worker."""
    workers = max(1, min(workers, os.cpu_count() or 1, len(seeds)))
    size = math.ceil(len(seeds) / workers) if loaded.together else 1
    jobs = [(loaded.page.slug, seeds[start : start + size], world, broken) for start in range(0, len(seeds), size)]
    if workers == 1:
        for job in jobs:
            yield from _some_seeds(*job)
        return
    with nullcontext(pool) if pool else worker_pool(workers) as executor:
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
