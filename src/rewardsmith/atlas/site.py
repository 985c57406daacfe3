"""Write the atlas as a static site: one index of all papers and one file per page, each complete in itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from rewardsmith.atlas.catalogue import STATUSES, Paper, find_paper, load_catalogue, status_of
from rewardsmith.atlas.criteria import mean_of
from rewardsmith.atlas.figures import dots, plain, svg
from rewardsmith.atlas.run import Run


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of a page's table; bounds and `ablated` are None where unknown."""

    name: str
    mean: float
    interval: tuple[float, float] | None
    ablated: float | None


def write_site(out: Path, *, runs: Mapping[str, Run], ablations: Mapping[str, Run]) -> Path:
    """Write `index.html` and `<slug>.html` for every run into `out`.

    Args:
        out: folder, made if missing.
        runs: what each page's experiment gave, by slug.
        ablations: the same for its declared ablation.

    Returns:
        The path of the index.
    """
    out.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=PackageLoader("rewardsmith.atlas"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for slug, run in runs.items():
        page, paper, ablation = run.page, find_paper(run.page.paper), ablations[slug]
        table = metrics(run, ablation)
        pieces = re.split(r"```[a-z]*\n(.*?)```", page.usage, flags=re.DOTALL)  # every second one is code
        text = environment.get_template("page.html").render(
            paper=paper,
            page=page,
            status=shown_status(paper, run),
            run=run,
            ablation=ablation,
            parts=run.verdict.parts or (run.verdict,),
            cut_parts=ablation.verdict.parts or (ablation.verdict,),
            metrics=table,
            figures=_figures(run, table),
            usage=[(piece.strip("\n"), bool(i % 2)) for i, piece in enumerate(pieces) if piece.strip()],
        )
        (out / f"{slug}.html").write_text(text, encoding="utf-8")
    by_paper = {run.page.paper: run for run in runs.values()}
    shown = [(paper, by_paper.get(paper.number)) for paper in load_catalogue()]
    entries = [{"paper": p, "status": shown_status(p, r), "slug": r.page.slug if r else None} for p, r in shown]
    entries.sort(key=lambda entry: entry["slug"] is None)  # pages first, each part by number
    found = Counter(entry["status"] for entry in entries)
    counts = {status: found[status] for status in (*STATUSES[:2], "not reproduced", STATUSES[2]) if status in found}
    index = out / "index.html"
    index.write_text(environment.get_template("index.html").render(entries=entries, counts=counts), encoding="utf-8")
    return index


def shown_status(paper: Paper, run: Run | None) -> str:
    """The catalogue's status, except that a page whose run did not pass is not reproduced, whatever it declares."""
    return "not reproduced" if run is not None and not run.verdict.passed else status_of(paper)


def metrics(run: Run, ablation: Run) -> dict[str, list[Arm]]:
    """The results by metric, arms in the order of the experiment."""
    table: dict[str, list[Arm]] = {}
    for name in run.results:
        metric, _, arm = name.partition("/")
        ablated = mean_of(ablation.results, name) if ablation.results.get(name) else None
        row = Arm(arm or metric, mean_of(run.results, name), run.intervals.get(name), ablated)
        table.setdefault(metric, []).append(row)
    return table


def _figures(run: Run, table: dict[str, list[Arm]]) -> list[str]:
    """SVG elements: the page's own figure, or one per metric that compares arms."""
    if run.figure is not None:
        return [svg(partial(run.figure, run.results), title=run.page.claim)]
    return [
        svg(partial(dots, run.results, series={metric: f"{metric}/{{}}"}, label=plain(metric)), title=plain(metric))
        for metric, arms in table.items()
        if len(arms) > 1
    ]
