"""Find the pages by their folder; read what they declare without running them, or load them."""

from __future__ import annotations

import ast
import builtins
import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rewardsmith.atlas import criteria, pages
from rewardsmith.atlas.page import LoadedPage, Page


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a page says of itself; `page.component` holds names, not objects.

    world: its World's docstring. parameters: (name, default, comment) of each world parameter, as written.
    """

    slug: str
    summary: str
    page: Page
    world: str
    parameters: tuple[tuple[str, str, str], ...]


def page_slugs() -> tuple[str, ...]:
    """File names in `atlas/pages/`, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(pages.__path__)))


def load_page(slug: str) -> LoadedPage:
    """Import a page, and with it what it needs (torch)."""
    from rewardsmith._torch import torch  # noqa: F401 - its error says how to install it

    return LoadedPage.of(importlib.import_module(f"{pages.__name__}.{slug}"))


@cache
def declarations() -> tuple[Declaration, ...]:
    """All pages' declarations by paper number, read from their source, so that no page's imports run."""
    folder = Path(next(iter(pages.__path__)))
    found = (_declaration(slug, (folder / f"{slug}.py").read_text(encoding="utf-8")) for slug in page_slugs())
    return tuple(sorted(found, key=lambda declaration: declaration.page.paper))


def find_declaration(identifier: str) -> Declaration:
    """The page with this paper number or slug.

    Raises:
        ValueError: there is none.
    """
    wanted = _normalized(identifier)
    for declaration in declarations():
        if wanted in (str(declaration.page.paper), declaration.slug):
            return declaration
    known = ", ".join(f"{found.page.paper} ({found.slug})" for found in declarations())
    raise ValueError(f"atlas: there is no page {identifier!r}. The implemented ones are {known}.")


def _normalized(identifier: str) -> str:
    return str(int(identifier)) if identifier.isdecimal() else identifier.replace("-", "_")


def _declaration(slug: str, source: str) -> Declaration:
    tree = ast.parse(source)
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    world = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "World"), None)
    parameters = _parameters(world, source.splitlines()) if world else ()
    doc = (ast.get_docstring(world) or "") if world else ""
    try:
        page = _page(tree)
    except (NameError, StopIteration):  # PAGE needs more than criteria and literals: only importing it can tell
        page = load_page(slug).page
    return Declaration(slug=slug, summary=summary, page=page, world=doc, parameters=parameters)


def _page(tree: ast.Module) -> Page:
    """Evaluate the keywords of `PAGE = Page(...)`, of which only `component` needs the page's imports."""
    call = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and any(isinstance(target, ast.Name) and target.id == "PAGE" for target in node.targets)
    )
    names = {"__builtins__": builtins, **vars(criteria)}
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg == "component":
            parts = keyword.value.elts if isinstance(keyword.value, ast.Tuple) else [keyword.value]
            values["component"] = tuple(ast.unparse(part) for part in parts)
        else:
            values[str(keyword.arg)] = eval(compile(ast.Expression(keyword.value), "PAGE", "eval"), names)
    return Page(**values)


def _parameters(world: ast.ClassDef, lines: list[str]) -> tuple[tuple[str, str, str], ...]:
    found = []
    for node in world.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            comment = lines[(node.end_lineno or node.lineno) - 1].partition("#")[2].strip()
            found.append((node.target.id, ast.unparse(node.value), comment))
    return tuple(found)
