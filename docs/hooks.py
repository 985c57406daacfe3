"""Make the pages of the site that no file in docs/ holds; `mkdocs.yml` names this file.

Home is README.md, and some other files of the repository are pages too (`ELSEWHERE`). The reference is made from every
room's `__all__`, the commands from their `--help`, and the atlas from the committed results of its runs. Nothing is
written into docs/.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.testing import CliRunner

from rewardsmith.atlas import find_paper, read_pages
from rewardsmith.cli import app

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "speed.md",
    "benchmarks/results/disagreements.md": "disagreements.md",
}
ROOMS = (  # in the order in which a value flows
    "data", "sandbox", "scoring", "rewards", "transforms", "advantages", "objectives", "recipes", "measures",
    "auditing", "benchmarks", "monitors", "engines.trl", "engines.verl", "engines.ray", "engines.gymnasium",
    "engines.expert_iteration", "worlds", "atlas", "cli", "types", "errors",
)  # fmt: skip
BLOCK = re.compile(r"^```(python|pycon)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAPERS = re.compile(r"(?<!\[)\b(?:papers?|pages?) \d\d\b(?:, \d\d\b)*(?: and \d\d\b)?", re.IGNORECASE)
RESULTS = ROOT / "docs" / "atlas" / "results"


class Export(NamedTuple):
    """A public name of a room, and where it is defined."""

    room: str
    name: str
    module: str
    node: ast.stmt
    doc: str

    @property
    def path(self) -> str:
        return f"rewardsmith.{self.room}.{self.name}"

    @property
    def summary(self) -> str:
        return " ".join(self.doc.partition("\n\n")[0].split()).replace("|", "\\|")

    @property
    def group(self) -> str:
        """The file or folder of the room that defines it."""
        return self.module.removeprefix(f"rewardsmith.{self.room}").lstrip(".").partition(".")[0]


@cache
def parsed(module: str) -> ast.Module:
    place = ROOT.joinpath("src", *module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def defined(module: str, name: str) -> tuple[str, ast.stmt, str] | None:
    """Return the module that defines a name, its statement and its docstring, through every import of it."""
    body = parsed(module).body[::-1]  # of overloads, the last has the docstring
    for node, after in zip(body, [None, *body[:-1]], strict=True):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            return module, node, ast.get_docstring(node) or ""
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and any(getattr(t, "id", "") == name for t in targets):
            text = after.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
            return module, node, str(text.value) if text else ""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rewardsmith"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return defined(str(node.module), alias.name)
    return None


@cache
def exports(room: str) -> tuple[Export, ...]:
    """Return the names of a room's `__all__`; where it has none, the public functions and classes of the file."""
    module = f"rewardsmith.{room}".rstrip(".")
    body = parsed(module).body
    assigned = [node for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    if assigned:
        names = ast.literal_eval(assigned[0].value)
    else:
        kinds = (ast.FunctionDef, ast.ClassDef)
        names = [node.name for node in body if isinstance(node, kinds) and not node.name.startswith("_")]
    return tuple(Export(room, name, *(defined(module, name) or (module, body[0], ""))) for name in names)


@cache
def by_definition() -> dict[tuple[str, str], Export]:
    return {(export.module, export.name): export for room in ROOMS for export in exports(room)}


def results(room: str) -> list[Export]:
    """Return the classes of the room that its functions return and that no room exports."""
    found = {}
    for export in exports(room):
        returns = getattr(export.node, "returns", None)
        for name in re.findall(r"\w+", ast.unparse(returns)) if returns else ():
            place = defined(export.module, name)
            own = place is not None and f"{place[0]}.".startswith(f"rewardsmith.{room}.")
            if own and isinstance(place[1], ast.ClassDef) and place[2] and (place[0], name) not in by_definition():
                found[name] = Export(place[0].removeprefix("rewardsmith."), name, *place)
    return list(found.values())


class Example(NamedTuple):
    """Code that runs and uses an export: of a guide (its title and file) or written for the reference."""

    language: str
    code: str
    title: str = ""
    file: str = ""


@cache
def examples() -> dict[tuple[str, str], Example]:
    """Return an example for each export that a block of code uses: of docs/snippets, else the shortest of a guide."""
    found: dict[tuple[str, str], Example] = {}
    for folder in ("", "snippets"):
        guides: dict[tuple[str, str], Example] = {}
        for file in sorted((ROOT / "docs" / folder).glob("*.md")):
            text = file.read_text(encoding="utf-8")
            title = "" if folder else text.partition("\n")[0].removeprefix("# ")
            for language, code in BLOCK.findall(text):
                lines = re.sub(r"^(?!>>> |\.\.\. ).*\n?|^.{4}", "", code, flags=re.MULTILINE)
                for key in used(ast.parse(code if language == "python" else lines)):
                    if key not in guides or len(code) < len(guides[key].code):
                        guides[key] = Example(language, code, title, file.name)
        found |= guides
    return found


def used(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the exports that code imports, or takes from `import rewardsmith as rs`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rewardsmith"):
            pairs = [(str(node.module), alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rs":
            pairs = [("rewardsmith", node.attr)]
        else:
            continue
        for module, name in pairs:
            if place := defined(module, name):
                yield place[0], name


HEAD = "| | |\n|---|---|\n"


def lines(exports: list[Export]) -> str:
    return "".join(f"| [`{export.name}`][{export.path}] | {export.summary} |\n" for export in exports)


@cache
def shown() -> dict[int, str]:
    """Return for each paper with committed results the file of its page in the atlas."""
    return {p.paper: f"{p.slug}.html" for p in read_pages() if (RESULTS / f"{p.slug}.json").is_file()}


@cache
def reproduced() -> dict[str, str]:
    """Return for the path of each component the links to the pages of the atlas that show it."""
    found: dict[str, str] = {}
    for page in read_pages():
        if page.paper in shown():
            link = f"[{page.paper} {find_paper(page.paper).name}](../atlas/{shown()[page.paper]})"
            for component in page.components:
                found[component] = f"{found[component]}, {link}" if component in found else link
    return found


def entry(export: Export) -> str:
    """Return the place of one name: its docstring, an example where that has none, and its pages in the atlas."""
    text = f"::: {export.path}\n\n"
    found = examples().get((export.module, export.name))
    if ">>>" not in export.doc and found:
        origin = f", from the guide [{found.title}](../{found.file})" if found.title else ""
        text += f"**Example**{origin}:\n\n```{found.language}\n{found.code}```\n\n"
    if export.path in reproduced():
        text += f"**Atlas**: {reproduced()[export.path]}\n\n"
    return text


def room_page(room: str) -> str:
    """Return a room's page: what it is for, a table of its names, and each of them, by the file that defines it."""
    module = f"rewardsmith.{room}"
    files: dict[str, list[Export]] = {}
    for export in exports(room):
        files.setdefault(export.group, []).append(export)
    alone = [rows[0] for name, rows in files.items() if name and len(rows) == 1]
    sections = [
        (name.replace("_", " ").capitalize(), about(f"{module}.{name}"), rows)
        for name, rows in sorted(files.items())
        if name and len(rows) > 1
    ]
    sections.append(("Names", "", files.get("", [])))
    sections.append(("Further names", "", sorted(alone, key=lambda export: export.name.lower())))
    sections.append(("Results", "What functions of this room return.", results(room)))
    sections = [section for section in sections if section[2]]
    text = f"# {module}\n\n{ast.get_docstring(parsed(module))}\n\n"
    text += HEAD + "".join(f"| **{title}** | |\n{lines(rows)}" for title, _, rows in sections) + "\n"
    for title, line, rows in sections:
        text += f"## {title}\n\n{line}\n\n" + "".join(map(entry, rows))
    return text


def commands_page() -> str:
    """Return what every command prints for `--help`."""
    codes = "0 clean, 1 a finding or a failed page, 2 usage or unusable input, 3 not judged"
    text = f"# The command line\n\n[Exit codes](../start.md#exit-codes): {codes}.\n\n"
    commands = [str(command.name) for command in app.registered_commands]
    for group in app.registered_groups:
        commands += [f"{group.name} {command.name}" for command in group.typer_instance.registered_commands]
    for command in commands:
        shown = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="rewardsmith", terminal_width=100)
        text += f"## rewardsmith {command}\n\n```text\n{shown.output.strip()}\n```\n\n"
    return text


def about(module: str) -> str:
    """Return the first line of a file's docstring."""
    return (ast.get_docstring(parsed(module)) or "").partition("\n")[0]


def index_page() -> str:
    first_day = [by_definition()[row.module, row.name] for row in exports("")]
    rooms = "".join(f"| [`{room}`]({room}.md) | {about(f'rewardsmith.{room}')} |\n" for room in ROOMS)
    whole = ast.get_docstring(parsed("rewardsmith"))
    return f"# Reference\n\n{whole}\n\n{HEAD}{lines(first_day)}\n## Rooms\n\n{HEAD}{rooms}"


def reference() -> dict[str, str]:
    pages = {"reference/index.md": index_page(), "reference/commands.md": commands_page()}
    return pages | {f"reference/{room}.md": room_page(room) for room in ROOMS}


def atlas() -> Iterator[tuple[str, bytes]]:
    """Yield the files of the atlas, written from the committed results; no experiment runs."""
    if not RESULTS.is_dir():
        yield "atlas/index.html", b"<!doctype html><title>Atlas</title><p>No results are committed yet.</p>"
        return
    with TemporaryDirectory() as folder:
        command = ["atlas", "build", "--no-run", "--results", str(RESULTS), "--out", folder]
        done = CliRunner().invoke(app, command)
        if done.exit_code:
            raise PluginError(f"rewardsmith {' '.join(command)} ended with {done.exit_code}: {done.output}")
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                back = b'<main>\n<p class="small"><a href="../index.html">&larr; Documentation</a></p>'
                content = file.read_bytes().replace(b"<main>", back, file.name == "index.html")
                yield f"atlas/{file.relative_to(folder).as_posix()}", content


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the reference into the navigation."""
    for item in config.nav:
        if "Reference" in item:
            rooms = [{f"rewardsmith.{room}": f"reference/{room}.md"} for room in ROOMS]
            item["Reference"] = [{"Overview": "reference/index.md"}, {"Commands": "reference/commands.md"}, *rooms]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page that is made here."""
    made: dict[str, Any] = {name: (ROOT / file).read_text(encoding="utf-8") for file, name in ELSEWHERE.items()}
    made |= reference() | dict(atlas())
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to pages of the site.

    Names become links to the reference, and the number in "paper 34" a link to that paper's page of the atlas.
    """
    if page.file.src_uri in ("index.md", "start.md"):
        page.meta["hide"] = ["navigation"]  # each is a section of one page
    source = next((file for file, name in ELSEWHERE.items() if name == page.file.src_uri), None)
    base = ROOT / (source or f"docs/{page.file.src_uri}")
    places = {(ROOT / file).resolve(): name for file, name in ELSEWHERE.items()}

    def local(match: re.Match[str]) -> str:
        target = (base.parent / match[2]).resolve()
        if source and target.is_relative_to(ROOT / "docs"):
            return match[1] + target.relative_to(ROOT / "docs").as_posix()
        return match[1] + places.get(target, match[2])

    # A reader may choose other colors here than those of the system, which alone decides within <picture>.
    pair = r'<picture>\s*<source [^>]*srcset="([^"]+)">\s*<img src="([^"]+)" alt="([^"]+)">\s*</picture>'
    markdown = re.sub(pair, r"![\3](\1#only-dark)\n![\3](\2#only-light)", markdown)
    pieces = re.split(r"(^```.*?^```|^::: .*?$)", markdown, flags=re.DOTALL | re.MULTILINE)
    for i in range(0, len(pieces), 2):
        pieces[i] = re.sub(r"(\]\(|(?:src|srcset)=\")([^)#\"\s:]+)", local, pieces[i])
        if not page.file.src_uri.startswith("reference/"):
            pieces[i] = re.sub(r"(?<!\[)`([\w.]+)`(?!\])", linked, pieces[i])
            pieces[i] = PAPERS.sub(lambda match: re.sub(r"\d\d", in_the_atlas, match[0]), pieces[i])
    return "".join(pieces)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Keep the name of a command's option on one line, which a browser breaks after its hyphens."""
    return re.sub(r"<code>(--?[a-z][\w-]*( [A-Z]+)?)</code>", r'<code class="option">\1</code>', html)


@cache
def by_name() -> dict[str, Export | None]:
    """Return the exports by the names that a text may call them; None where several share one.

    A plain word such as `source` may also be a column or a command, so it needs its room or `rs.` before it.
    """
    found: dict[str, Export | None] = {}
    for export in by_definition().values():
        plain = export.name.isalpha() and export.name.islower()
        for name in ([] if plain else [export.name]) + [f"{export.room}.{export.name}", export.path]:
            found[name] = None if name in found else export
    return found | {f"rs.{export.name}": by_definition()[export.module, export.name] for export in exports("")}


def linked(match: re.Match[str]) -> str:
    export = by_name().get(match[1])
    return match[0] if export is None else f"[`{match[1]}`][{export.path}]"


def in_the_atlas(match: re.Match[str]) -> str:
    return f"[{match[0]}](atlas/{shown().get(int(match[0]), 'index.html')})"


class Doctests(griffe.Extension):
    """Show what a docstring runs as code: its `>>>` lines stand in no section of their own."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None and ">>>" in obj.docstring.value:
            obj.docstring.value = re.sub(
                r"^([ ]*)>>> .*?(?=\n\s*\n|\Z)",
                lambda match: f"{match[1]}```pycon\n{match[0]}\n{match[1]}```",
                obj.docstring.value,
                flags=re.DOTALL | re.MULTILINE,
            )
