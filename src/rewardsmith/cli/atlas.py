"""`rewardsmith atlas`: list, show, search, run and build; parse, call the library, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewardsmith.cli.shell import AsJson, explained_errors

if TYPE_CHECKING:
    from rewardsmith.atlas import Page, Paper, Run

app = typer.Typer(
    name="atlas",
    help="78 papers on rewards: what each found, and the pages on which we run its claim and judge it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Seeds = Annotated[str | None, typer.Option(help="Seeds, separated by commas.", show_default=False)]
SeedStart = Annotated[int, typer.Option(min=0, help="First seed, where --seeds is not given.")]
NSeeds = Annotated[int, typer.Option(min=1, help="How many seeds, where --seeds is not given.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that run seeds at the same time, one per core at most.")]
ChangedWorld = Annotated[
    list[str] | None, typer.Option("--set", help="name=value of a declared world parameter.", show_default=False)
]


@app.command("list")
def list_command(
    *,
    family: Annotated[str | None, typer.Option(help="Only this family of papers.", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(help="Only reproduced, partly or planned.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List the papers with their status."""
    with explained_errors("nothing was kept"):
        from rewardsmith._check import check_choice
        from rewardsmith.atlas import load_catalogue, status_of
        from rewardsmith.atlas.catalogue import STATUSES

        families = sorted({paper.family for paper in load_catalogue()})
        check_choice("rewardsmith atlas list", "--family", family, (None, *families))
        check_choice("rewardsmith atlas list", "--status", status, (None, *STATUSES))
        papers = [
            paper
            for paper in load_catalogue()
            if (family is None or paper.family == family) and (status is None or status_of(paper) == status)
        ]
    _print_papers(papers, as_json=as_json)


@app.command("search")
def search_command(words: Annotated[list[str], typer.Argument(show_default=False)], *, as_json: AsJson = False) -> None:
    """Find papers in whose entry or page every word occurs. Exit code 1 where there are none."""
    from rewardsmith.atlas import search_catalogue

    papers = search_catalogue(words)
    _print_papers(papers, as_json=as_json)
    raise typer.Exit(0 if papers else 1)


@app.command("show")
def show_command(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Paper number or page name.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one paper: what it says and, where there is a page, what we run, how it is judged and what falls short."""
    with explained_errors("nothing was kept"):
        from rewardsmith.atlas import find_page, find_paper
        from rewardsmith.atlas.catalogue import page_of

        paper = find_paper(int(identifier) if identifier.isdecimal() else find_page(identifier).paper)
        page = page_of(paper)
    if not as_json:
        _print_paper(paper, page)
        return
    more = {} if page is None else {
        "components": list(page.names),
        "claim": page.claim,
        "criterion": str(page.criterion),
        "ablation": page.ablation,
        "scope": page.scope,
        "falls_short": list(page.falls_short),
        "notes": list(page.notes),
        "usage": page.usage,
        "world": {name: default for name, default, _ in page.parameters},
    }  # fmt: skip
    print(json.dumps(_paper_json(paper) | more, ensure_ascii=False))


@app.command("run")
def run_command(
    ids: Annotated[list[str], typer.Argument(help="Paper numbers or page names, or `all`.", show_default=False)],
    *,
    seeds: Seeds = None,
    seed_start: SeedStart = 0,
    n_seeds: NSeeds = 5,
    ablation: Annotated[bool, typer.Option("--ablation", help="Run what must come out not passed.")] = False,
    changes: ChangedWorld = None,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Run pages and judge them. With --json, one object per line.

    Exit code 0: every page passed. 1: one did not, as every ablation should. 2: usage.
    """
    passed = []
    with explained_errors("nothing was kept"):
        from rewardsmith.atlas import find_page, read_pages

        pages = read_pages() if "all" in ids else [find_page(identifier) for identifier in ids]
        slugs = dict.fromkeys(page.slug for page in pages)
        chosen = _seeds(seeds, seed_start, n_seeds)
        pairs = [change.partition("=") for change in changes or ()]
        for name, equals, value in pairs:
            if not (name and equals and value):
                raise ValueError(
                    f"--set is {name + equals + value!r}, which is not name=value. Write it as name=value."
                )
        world = {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}
        for slug in slugs:
            try:
                run = _with_progress(slug, chosen, world=world, broken=ablation, workers=workers)
            except (RuntimeError, ZeroDivisionError) as error:
                if not world:
                    raise
                raise ValueError(f"page {slug} cannot run with {world} ({error}). Change less.") from error
            passed.append(run.verdict.passed)
            if as_json:
                print(json.dumps(run.as_json(), ensure_ascii=False), flush=True)
            else:
                _print_run(run)
    raise typer.Exit(0 if all(passed) else 1)


@app.command("build")
def build_command(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write the site into.", show_default=False)],
    seeds: Seeds = None,
    seed_start: SeedStart = 0,
    n_seeds: NSeeds = 3,
    workers: Workers = 1,
) -> None:
    """Run every page and its ablation, and write the static site: an index of all papers, and a page each."""
    with explained_errors("nothing was kept"):
        from rewardsmith.atlas import page_slugs
        from rewardsmith.atlas.site import write_site

        chosen = _seeds(seeds, seed_start, n_seeds)
        runs, broken = (
            {slug: _with_progress(slug, chosen, world={}, broken=cut, workers=workers) for slug in page_slugs()}
            for cut in (False, True)
        )
        index = write_site(out, runs=runs, ablations=broken)
    print(index)


def _seeds(text: str | None, start: int, count: int) -> tuple[int, ...]:
    if text is None:
        return tuple(range(start, start + count))
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"--seeds is {text!r}, which is not a list of whole numbers. Write it as 0,1,2.")
    return tuple(int(part) for part in parts)


def _with_progress(slug: str, seeds: Sequence[int], **options: Any) -> Run:
    from rich.console import Console
    from rich.progress import Progress

    from rewardsmith.atlas import run_page

    title = f"{slug}{' (ablation)' if options['broken'] else ''}"
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=len(seeds))
        advance: Callable[[], None] = lambda: progress.advance(task)  # noqa: E731
        return run_page(slug, seeds=seeds, on_seed=advance, **options)


def _paper_json(paper: Paper) -> dict[str, Any]:
    from dataclasses import asdict

    from rewardsmith.atlas import status_of
    from rewardsmith.atlas.catalogue import page_of

    page = page_of(paper)
    entry = {name: value for name, value in asdict(paper).items() if name != "confirmed"}
    return entry | {"url": paper.url, "status": status_of(paper), "slug": page.slug if page else None}


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _print_papers(papers: Sequence[Paper], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_paper_json(paper) for paper in papers], ensure_ascii=False))
        return
    from rich import box
    from rich.table import Table

    from rewardsmith.atlas import status_of

    table = Table("no.", "status", "paper", "family", box=box.SIMPLE, pad_edge=False)
    for paper in papers:
        table.add_row(str(paper.number), status_of(paper), f"{paper.name} ({paper.year})", paper.family)
    console = _console()
    console.print(table)
    done = sum(status_of(paper) != "planned" for paper in papers)
    console.print(f"{len(papers)} papers, {done} with a page.")


def _print_paper(paper: Paper, page: Page | None) -> None:
    from rich.text import Text

    from rewardsmith.atlas import status_of

    console = _console()
    console.print(Text(f"{paper.number} · {paper.title}", style="bold"))
    venue = f", {paper.venue}" if paper.venue else ""
    console.print(Text(f"{paper.authors}, {paper.year}{venue} · {paper.url} · {paper.family} · {status_of(paper)}"))
    console.print(Text(f"\n{paper.summary}"))
    if page is None:
        console.print(Text("\nThere is no page for it yet."))
        return
    sections = {
        "Claim": page.claim,
        "Components": ", ".join(page.names),
        "Judged by": "\n".join(f"- {part}" for part in str(page.criterion).split("; and ")),
        "Ablation": page.ablation,
        "Scope": page.scope,
        "Falls short": "\n".join(f"- {text}" for text in page.falls_short),
        "Notes": "\n".join(f"- {text}" for text in page.notes),
        "World (change with --set)": "\n".join(f"{n} = {default}  {text}" for n, default, text in page.parameters),
        "At real scale": page.usage,
    }
    for title, body in sections.items():
        if body:
            console.print(Text(f"\n{title}", style="bold"))
            console.print(Text(body))


def _print_run(run: Run) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from rewardsmith.atlas import find_paper

    console = _console()
    paper = find_paper(run.page.paper)
    console.print(Text(f"\n{paper.number} · {paper.name} ({run.page.slug})", style="bold"))
    if run.broken:
        console.print(Text(f"Ablation: {run.page.ablation}"))
    table = Table("metric/arm", box=box.SIMPLE, pad_edge=False)
    table.add_column("mean", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, values in run.results.items():
        bounds = run.intervals.get(name)
        shown = f"[{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else "one seed"
        table.add_row(name, f"{sum(values) / len(values):.3f}", shown.replace("[", "\\["))
    console.print(table)
    for part in run.verdict.parts or (run.verdict,):
        mark, style = ("holds", "green") if part.passed else ("fails", "red")
        console.print(Text.assemble((mark, style), f"  {part.sentence}: {part.observed}"))
    said = "PASSED" if run.verdict.passed else "NOT PASSED"
    if run.broken:
        said += ", though the ablation must not pass" if run.verdict.passed else ", as the ablation must"
    seeds = f"{len(run.seeds)} seed{'s' * (len(run.seeds) > 1)}"
    style = "bold green" if run.verdict.passed != run.broken else "bold red"
    console.print(Text(f"{said} ({seeds}, {run.seconds:.1f} s)", style=style))
