"""Results of pages on disk, so that a site is written without running what ran before."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rewardsmith._disk import replacing
from rewardsmith.atlas import pages
from rewardsmith.atlas.discovery import load_page
from rewardsmith.atlas.page import Page, changes_as_text
from rewardsmith.atlas.run import Run, judged


class Held(NamedTuple):
    """A page's runs by name: "default", "ablation", and each change of the world, as "name=value, …".

    stale: whether the page's code changed after they ran.
    """

    runs: Mapping[str, Run]
    stale: bool = False


def asked_of(page: Page) -> dict[str, dict[str, Any]]:
    """Return the runs that show a page, by name, as keywords of `run_page`."""
    changed = {changes_as_text(one): {"world": one} for one in page.changed}
    return {"default": {}, "ablation": {"broken": True}, **changed}


def digest_of(page: Page) -> str:
    """Return the SHA-256 of the code that decides a page's numbers: no docstrings, imports, criterion and figure."""
    source = (Path(next(iter(pages.__path__))) / f"{page.slug}.py").read_text(encoding="utf-8")
    lines = source.splitlines()
    kept: list[str] = []
    for node in ast.parse(source).body:
        names = [ast.unparse(target) for target in getattr(node, "targets", ())] + [getattr(node, "name", "")]
        if {"figure", "CRITERION"} & set(names) or isinstance(node, ast.Import | ast.ImportFrom | ast.Expr | ast.If):
            continue
        numbers = set(_numbers(node))
        for part in ast.walk(node):
            if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                numbers -= set(_numbers(part))
        kept += [lines[number - 1] for number in sorted(numbers)]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def _numbers(node: ast.stmt) -> range:
    """Return the numbers of a statement's lines, from 1."""
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def read_results(folder: Path, page: Page) -> Held:
    """Read what a folder holds of a page's runs, and judge it by the page's criterion as it is now.

    Runs that the page no longer asks for are left out, as are stale ones that its criterion cannot judge.

    Raises:
        ValueError: the file is not one that `write_results` wrote.
    """
    path = folder / f"{page.slug}.json"
    if not path.is_file():
        return Held({})
    figure = load_page(page.slug).figure
    stale, runs = False, {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        stale = held["digest"] != digest_of(page)
        for name, keywords in asked_of(page).items():
            if record := held["runs"].get(name):
                columns = record["results"].items()
                results = {of: [math.nan if value is None else float(value) for value in row] for of, row in columns}
                kept = {key: record[key] for key in ("seeds", "world", "seconds")}
                asked = {"changes": keywords.get("world", {}), "broken": keywords.get("broken", False)}
                try:
                    runs[name] = judged(page, results, figure=figure, **kept, **asked)
                except ValueError:  # the criterion asks for what did not run
                    stale = True
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if not stale:
            raise ValueError(
                f"atlas: {path} does not hold results of page {page.slug} ({error}). Remove it, and build again."
            ) from error
    return Held(runs, stale)


def write_results(folder: Path, page: Page, runs: Mapping[str, Run]) -> None:
    """Write a page's runs, one line per result; the file is whole or, where the process is killed, as it was.

    Numbers have six significant digits, or all where fewer would change what the criterion says.
    """
    records = {
        name: {
            "seeds": list(run.seeds),
            "world": run.world,
            "seconds": round(run.seconds, 1),
            "results": {of: [v if math.isfinite(v) else None for v in row] for of, row in _rounded(run).items()},
        }
        for name, run in runs.items()
    }
    record = {"slug": page.slug, "version": version("rewardsmith"), "digest": digest_of(page), "runs": records}
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    text = re.sub(r"\[\s*([^][\"{}]*?)\s*\]", lambda row: f"[{' '.join(row[1].split())}]", text)  # one line each
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{page.slug}.json") as file:
        file.write(text.encode())


def _rounded(run: Run) -> Mapping[str, list[float]]:
    results = {name: [float(f"{value:.6g}") for value in row] for name, row in run.results.items()}
    parts = (run.page.criterion.judge(results), run.verdict)
    same = [[part.passed for part in (verdict, *verdict.parts)] for verdict in parts]
    return results if same[0] == same[1] else run.results


def complete(folder: Path, page: Page, *, seeds: Sequence[int] | None = None, run: Callable[..., Run]) -> Held:
    """Run what a folder lacks of a page, and write each run as it ends.

    Args:
        seeds: what a held run must have run on to be kept; None: any.
        run: called with the keywords that `asked_of` names.
    """
    held = read_results(folder, page)
    needed = lacking(held, page, seeds=seeds)
    runs = {name: of for name, of in held.runs.items() if name not in needed}
    for name in needed:
        runs[name] = run(**asked_of(page)[name])
        write_results(folder, page, runs)
    return read_results(folder, page)


def lacking(held: Held, page: Page, *, seeds: Sequence[int] | None = None) -> list[str]:
    """Return the names of the runs that are not held, that are stale, or that did not run on the seeds asked for."""
    runs = {} if held.stale else held.runs
    return [name for name in asked_of(page) if name not in runs or (seeds and runs[name].seeds != tuple(seeds))]
