"""The import table of the house, kept true: which room may import which, and that light imports stay light."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import rewardsmith

ROOT = Path(rewardsmith.__file__).parent
LINE = {"data", "scoring", "rewards", "transforms", "advantages", "objectives"}
MAY_IMPORT: dict[str, set[str]] = {
    "data": set(),
    "measures": set(),
    "equivalence": set(),
    "sandbox": set(),
    "scoring": {"data"},
    "rewards": {"data", "sandbox", "scoring"},
    "transforms": {"data"},
    "advantages": {"data"},
    "objectives": {"data"},
    "recipes": LINE - {"objectives"},
    "worlds": LINE | {"measures"},
    "auditing": {"data", "measures", "equivalence", "scoring", "rewards", "transforms", "advantages"},
    "benchmarks": {"data", "measures", "scoring"},
    "monitors": {"data", "measures", "auditing"},
    "engines": LINE | {"measures", "recipes", "auditing", "monitors"},
    "atlas": LINE | {"measures", "recipes", "worlds", "auditing", "monitors"},
    "cli": LINE | {"measures", "recipes", "worlds", "auditing", "benchmarks", "monitors", "engines", "atlas"},
}
OPEN_TO_ALL = {"types", "errors", "describe", "_check", "_disk", "_pictures", "_processes", "_torch"}
TRAINERS = {"trl", "verl", "accelerate", "gymnasium", "stable_baselines3", "diffusers", "ray"}
LONGEST_FILE, LONGEST_BODY, LONGEST_PAGE = 400, 80, 250
FILES = sorted(path for path in ROOT.rglob("*.py"))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def dotted(node: ast.expr) -> str:
    """Return a name with its attributes, "" for any other expression; `ast.unparse` takes seconds for all calls."""
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else ""


def imports_of(path: Path) -> list[str]:
    names = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by absolute name"
            names.append(node.module or "")
    return names


def test_rooms_import_only_what_the_table_allows() -> None:
    for path in FILES:
        room = room_of(path)
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "rewardsmith" and len(parts) > 1 and room and parts[1] not in OPEN_TO_ALL | {room}:
                assert parts[1] in MAY_IMPORT[room], f"{room} may not import {name}"
            if parts[0] in TRAINERS:
                assert room == "engines", f"{path}: only engines import {parts[0]}"


def test_what_decides_that_two_answers_are_equal_shares_no_code_with_the_rewards_that_it_judges() -> None:
    assert MAY_IMPORT["equivalence"] <= {"data", "measures"}
    reached = {"rewards"}
    while more := set().union(*(MAY_IMPORT[room] for room in reached)) - reached:
        reached |= more
    assert "equivalence" not in reached


def test_a_public_name_is_imported_from_its_room_and_any_other_from_its_file() -> None:
    public = {room: set(getattr(importlib.import_module(f"rewardsmith.{room}"), "__all__", ())) for room in MAY_IMPORT}
    for path in FILES:
        for node in nodes_of(path):
            parts = (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
            if parts[:1] != ["rewardsmith"] or len(parts) < 2 or parts[1] not in MAY_IMPORT:
                continue
            other = parts[1] != room_of(path) and room_of(path) != "cli"
            names = {alias.name for alias in node.names}  # type: ignore[attr-defined]
            if other and len(parts) > 2:
                assert not names & public[parts[1]], f"{path}: import {names} from rewardsmith.{parts[1]}"


def test_no_files_import_one_another_in_a_circle_inside_functions_included() -> None:
    files = {".".join(("rewardsmith", *path.relative_to(ROOT).with_suffix("").parts)): path for path in FILES}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for_types = {  # what only the type checker reads
            child
            for node in nodes_of(path)
            if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"
            for statement in node.body
            for child in ast.walk(statement)
        }
        for node in nodes_of(path):
            if isinstance(node, ast.ImportFrom) and node not in for_types:
                full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                found = {file if file in files else str(node.module) for file in full.values()}
                graph[name] |= (found & files.keys()) - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_files_and_bodies_stay_short() -> None:
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE, path
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
                assert length <= LONGEST_BODY, f"{path.name}:{node.name} is {length} lines long"


def test_a_page_with_its_text_and_the_worlds_that_only_it_uses_stays_short() -> None:
    defined_in = {
        node.name: path.stem
        for path in (ROOT / "worlds").glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    users: dict[str, set[str]] = {}  # of each file of worlds
    for path in FILES:
        for node in nodes_of(path) if path != ROOT / "worlds" / "__init__.py" else ():
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rewardsmith.worlds"):
                for alias in node.names:
                    users.setdefault(defined_in.get(alias.name, ""), set()).add(path.stem)
    too_long = {}
    for page in (ROOT / "atlas" / "pages").glob("[!_]*.py"):
        own = {page.stem}
        while more := {world for world, by in users.items() if by <= own} - own:
            own |= more
        files = [page, page.with_suffix(".toml"), *(ROOT / "worlds" / f"{name}.py" for name in own - {page.stem, ""})]
        length = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
        if length > LONGEST_PAGE:
            too_long[page.stem] = length
    assert not too_long


def test_no_two_files_of_tests_share_a_name() -> None:
    """Pytest imports them by their names alone, and collects one of two."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_tests_import_one_another_by_their_full_names() -> None:
    """By a shorter name they are found under pytest alone, and not in a sweep."""
    for path in Path(__file__).parent.glob("*/**/*.py"):
        names = re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        beside = {"", *(other.stem for other in path.parent.iterdir())}  # "" is of a relative import
        assert [name for name in names if name.partition(".")[0] in beside] == [], path


def test_every_room_has_a_table_entry() -> None:
    assert {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()} == set(MAY_IMPORT)


ONLY_IN: dict[str, set[str]] = {
    "pickle.loads": {"engines/ray.py", "scoring/worker.py", "scoring/calling.py"},  # Ray's; the parent's; our own copy
    "cloudpickle.loads": {"engines/ray.py"},
    "exec": {"sandbox/inside.py"},  # the program, once its process is confined
}
NOWHERE = {"eval", "pickle.load", "marshal.loads", "yaml.load", "torch.load", "os.system", "os.popen"}
NOWHERE |= {"tempfile.mktemp", "tempfile.mkdtemp"}  # TemporaryDirectory leaves nothing behind
NOWHERE |= {"time.time"}  # durations and deadlines come from a clock that nobody sets


def test_calls_that_can_harm_are_made_where_the_table_says_and_no_shell_is_started() -> None:
    for path in FILES:
        for node in nodes_of(path):
            if isinstance(node, ast.Call):
                name = dotted(node.func)
                place = path.relative_to(ROOT).as_posix()
                allowed = set() if name in NOWHERE else ONLY_IN.get(name, {place})
                assert place in allowed, f"{place}: {name}"
                assert not any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords), place
