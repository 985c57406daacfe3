"""`rewardsmith atlas`: list, show, search, run and build; parse, call the library, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewardsmith._processes import worker_pool
from rewardsmith.cli.shell import AsJson, explained_errors

if TYPE_CHECKING:
    from rewardsmith.atlas import Page, Paper, Run
    from rewardsmith.atlas.results import Held

app = typer.Typer(
    name="atlas",
    help="78 papers on rewards: their findings, and pages that reproduce and judge their claims.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Seeds = Annotated[str | None, typer.Option(help="Seeds, separated by commas.", show_default=False)]
SeedStart = Annotated[int, typer.Option(min=0, help="First seed, where --seeds is not given.")]
NSeeds = Annotated[int, typer.Option(min=1, help="Number of seeds, where --seeds is not given.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that run seeds at the same time, one per core at most.")]
ChangedWorld = Annotated[
    list[str] | None, typer.Option("--set", help="name=value of a declared world parameter.", show_default=False)
]


@app.command("list")
def list_command(
    *,
    family: Annotated[str | None, typer.Option(help="Only this family of papers.", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(help="Only reproduced, partly or planned.", show_default=False)] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="Only with this tag, such as noise or pairwise; all of several.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the papers with their status."""
    with explained_errors("nothing was kept"):
        from rewardsmith._check import check_choice
        from rewardsmith.atlas import load_catalogue, status_of
        from rewardsmith.atlas.catalogue import STATUSES, tagged

        families = sorted({paper.family for paper in load_catalogue()})
        check_choice("rewardsmith atlas list", "--family", family, (None, *families))
        check_choice("rewardsmith atlas list", "--status", status, (None, *STATUSES))
        papers = [
            paper
            for paper in tagged(load_catalogue(), [one.lower() for one in tag or ()])
            if (family is None or paper.family == family) and (status is None or status_of(paper) == status)
        ]
    _print_papers(papers, as_json=as_json)


@app.command("search")
def search_command(words: Annotated[list[str], typer.Argument(show_default=False)], *, as_json: AsJson = False) -> None:
    """Find papers with all words in their entry or page. Exit code 1 if there are none."""
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
    """Show one paper: its finding and, if it has a page, the experiment, its criterion and its limits."""
    with explained_errors("nothing was kept"):
        from rewardsmith.atlas import find_page, find_paper
        from rewardsmith.atlas.catalogue import page_of

        paper = find_paper(int(identifier) if identifier.isdecimal() else find_page(identifier).paper)
        page = page_of(paper)
    if as_json:
        texts = ("advice", "claim", "ablation", "scope", "falls_short", "notes", "usage", "changed")
        more = {} if page is None else {
            **{name: getattr(page, name) for name in texts},
            "components": page.names,
            "criterion": str(page.criterion),
            "world": {name: default for name, default, _ in page.parameters},
        }  # fmt: skip
        print(json.dumps(_paper_json(paper) | more, ensure_ascii=False))
        return
    from rich.text import Text

    from rewardsmith.atlas import status_of
    from rewardsmith.atlas.catalogue import TAGS
    from rewardsmith.atlas.page import changes_as_text

    console = _console()
    console.print(Text(f"{paper.number} · {paper.title}", style="bold"))
    if page is not None:
        console.print(Text(f"{page.advice}\n"))
    venue = f", {paper.venue}" if paper.venue else ""
    console.print(Text(f"{paper.authors}, {paper.year}{venue} · {paper.url} · {paper.family} · {status_of(paper)}"))
    console.print(Text(f"\n{paper.summary}"))
    console.print(
        Text("\n".join(f"{kind}: {', '.join(getattr(paper, kind))}" for kind in TAGS if getattr(paper, kind)))
    )
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
        "Changed worlds (run with --changed)": "\n".join(f"- {changes_as_text(one)}" for one in page.changed),
        "What to use, and when": page.usage,
    }
    for title, body in sections.items():
        if body:
            console.print(Text(f"\n{title}", style="bold"))
            console.print(Text(body))


@app.command("run")
def run_command(
    ids: Annotated[list[str], typer.Argument(help="Paper numbers or page names, or `all`.", show_default=False)],
    *,
    seeds: Seeds = None,
    seed_start: SeedStart = 0,
    n_seeds: NSeeds = 5,
    ablation: Annotated[bool, typer.Option("--ablation", help="Run the ablations, which must not pass.")] = False,
    changed: Annotated[bool, typer.Option("--changed", help="Run each page's two changed worlds too.")] = False,
    changes: ChangedWorld = None,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Run pages and judge them. With --json, one object per line.

    Exit code 0: every page passed. 1: one did not, as every ablation should. 2: usage. Changed worlds do not count.
    """
    passed = []
    with explained_errors("nothing was kept"), worker_pool(workers) as pool:
        chosen = _seeds(seeds, seed_start, n_seeds)
        pairs = [change.partition("=") for change in changes or ()]
        for name, equals, value in pairs:
            if not (name and equals and value):
                raise ValueError(
                    f"--set is {name + equals + value!r}, which is not name=value. Write it as name=value."
                )
        given = {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}
        for page in _pages(ids):
            worlds = [given, *({**given, **one} for one in page.changed if changed)]
            for place, world in enumerate(worlds):
                try:
                    run = _with_progress(page.slug, chosen, world=world, broken=ablation, workers=workers, pool=pool)
                except (RuntimeError, ZeroDivisionError) as error:
                    if not world:
                        raise
                    raise ValueError(f"page {page.slug} cannot run with {world} ({error}). Change less.") from error
                if not place:
                    passed.append(run.verdict.passed)
                if as_json:
                    print(json.dumps(run.as_json(), ensure_ascii=False), flush=True)
                else:
                    _print_run(run)
    raise typer.Exit(0 if all(passed) else 1)


@app.command("build")
def build_command(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Paper numbers or page names; all by default.", show_default=False)
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write the site into.", show_default=False)],
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of results, which are not run again.", show_default="results in --out"),
    ] = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="Run nothing; fail if a result is missing.")] = False,
    seeds: Seeds = None,
    seed_start: SeedStart = 0,
    n_seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Number of seeds, where --seeds is not given.", show_default="those held; else 3"),
    ] = None,
    workers: Workers = 1,
) -> None:
    """Write a static site with an index and one page per paper, with its ablation and its changed worlds.

    Every finished run is kept, so the same command resumes.
    """
    with explained_errors("the results so far were kept; resume with the same command"), worker_pool(workers) as pool:
        from tempfile import TemporaryFile

        from rewardsmith.atlas.results import complete, lacking, read_results
        from rewardsmith.atlas.site import write_site

        asked = None if seeds is None and n_seeds is None else _seeds(seeds, seed_start, n_seeds or 0)
        chosen, folder = _pages(ids or ["all"]), results or out / "results"
        shown: dict[str, Held] = {}
        missing: list[str] = []
        for needed in (out,) if no_run else (out, folder):
            needed.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=needed).close()  # an hour of runs is not lost to a folder that cannot be written to
        for place, page in enumerate(chosen, start=1):
            held = read_results(folder, page)
            if no_run:
                if names := lacking(held._replace(stale=False), page, seeds=asked):
                    missing.append(f"{page.slug} ({', '.join(names)})")
                elif held.stale:
                    typer.echo(f"Stale: the code of page {page.slug} changed after its results ran.", err=True)
            else:
                seeds_of_page = asked or next((r.seeds for r in held.runs.values()), _seeds(None, seed_start, 3))
                run = partial(_with_progress, page.slug, seeds_of_page, workers=workers, pool=pool)
                held = complete(folder, page, seeds=asked, run=run)
                said = "; ".join(f"{name} {'not ' * (not r.verdict.passed)}passed" for name, r in held.runs.items())
                typer.echo(f"[{place}/{len(chosen)}] {page.slug}: {said}", err=True)
            shown[page.slug] = held
        if missing:
            raise ValueError(f"{folder} lacks results of {', '.join(missing)}. Build without --no-run to add them.")
        index = write_site(out, shown)
    print(index)


def _pages(ids: Sequence[str]) -> list[Page]:
    from rewardsmith.atlas import find_page, read_pages

    pages = read_pages() if "all" in ids else [find_page(identifier) for identifier in ids]
    return list({page.slug: page for page in pages}.values())


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

    title = f"{slug}{' (ablation)' if options.get('broken') else ''}"
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=len(seeds))
        return run_page(slug, seeds=seeds, on_seed=partial(progress.advance, task), **options)


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


def _print_run(run: Run) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from rewardsmith.atlas import find_paper
    from rewardsmith.atlas.page import changes_as_text

    console = _console()
    paper = find_paper(run.page.paper)
    console.print(Text(f"\n{paper.number} · {paper.name} ({run.page.slug})", style="bold"))
    if run.broken:
        console.print(Text(f"Ablation: {run.page.ablation}"))
    if run.changes:
        console.print(Text(f"Changed world: {changes_as_text(run.changes)}"))
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
    word, comma, caveat = run.outcome.partition(", ")
    said = word.upper()
    if run.broken:
        said += ", though the ablation must not pass" if run.verdict.passed else ", as the ablation must"
    seeds = f"{len(run.seeds)} seed{'s' * (len(run.seeds) > 1)}"
    style = "bold green" if run.verdict.passed != run.broken else "bold red"
    console.print(Text(f"{said} ({seeds}, {run.seconds:.1f} s){comma}{caveat}", style=style))
