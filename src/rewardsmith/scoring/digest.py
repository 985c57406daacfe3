"""Digest a reward's source code, so that a job recognizes its own earlier results.

The digest covers every `.py` file of the package that holds the reward or, without a package, of its folder without
subfolders. The same holds for rewards inside it (functions in a `partial`, a wrapper, an object) and for the module
that names it. It also covers modules of yours that these import, and their packages, wherever they are: by `import` or
`import_module("name")`, also from folders in `sys.path.insert(0, "folder")`. Installed packages count only if the
reward itself is in one. Data files do not count, and neither do imports from elsewhere by a computed name or folder.
In a package of more than 2,000 files only those that the reward's module imports count, and a warning says so.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import logging
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import rewardsmith
from rewardsmith.errors import RewardsmithError
from rewardsmith.scoring.called import Called
from rewardsmith.scoring.code import held_by
from rewardsmith.scoring.targets import Target

logger = logging.getLogger(__name__)
MOST_FILES = 2000
MOST_PARTS = 1000
"""The most objects inside a reward to look at, so that a large one does not take forever."""
_LOADED: dict[Path, tuple[ModuleSpec, str]] = {}
"""File → its module's spec and its content at the first digest with that spec."""
_OURS = Path(rewardsmith.__file__).resolve().parent
_FILE, _MODULE = re.compile(r"(.+?\.py):"), re.compile(r"([\w.]+):")


def source_digest(target: Target, *, here: bool = False) -> str | None:
    """Return a digest of the code that gives the reward's scores; None where no code is found.

    A reward with a method `content_digest`, such as a reward model, adds what else its scores depend on.

    Args:
        here: the reward runs in this process, with the code loaded here.

    Raises:
        RewardsmithError: with `here`, a file was edited after an earlier digest, and its module was not reloaded.
    """
    reward: Any = target.reward
    reward = reward.reward if target.contract == "process" else reward
    starts, texts, name = set[Path](), [], target.spec or ""
    # The module that names a reward counts: its bound arguments matter as much as its calls.
    if not os.path.isdir(name):  # Path.is_dir raises on a very long name
        if (match := _FILE.match(name)) and Path(match[1]).is_file():
            starts.add(Path(match[1]).resolve())
        elif (match := _MODULE.match(name)) and (file := _file_of(match[1])) is not None:
            starts.add(file)
    if callable(own := getattr(reward, "content_digest", None)):
        texts.append(str(own()).encode())
        starts |= {path for path in _homes_of(type(reward)) if not path.is_relative_to(_OURS)}
    else:
        paths, codes = _made_of(reward)
        starts |= paths
        texts += [_bytes_of(code) for code in codes]
    if not starts and not texts:
        return None
    files = {path: hashlib.blake2b(path.read_bytes()).hexdigest() for path in _files(starts)}
    names = {path.name for path in files}
    for module in list(sys.modules.values()) if here else ():
        if os.path.basename(getattr(module, "__file__", None) or "") not in names:  # thousands are from elsewhere
            continue
        path, spec = Path(module.__file__ or ""), getattr(module, "__spec__", None)
        if path in files and spec is not None:
            loaded, content = _LOADED.setdefault(path, (spec, files[path]))
            if content != files[path] and loaded is spec:  # a reloaded module has another spec
                raise RewardsmithError(
                    f"source_digest: {path} was edited after this process loaded it, so the old code runs "
                    "here. Start Python again, reload the module, or score with workers."
                )
            _LOADED[path] = spec, files[path]
    labeled = []  # by names that do not depend on where the file's package or folder is
    for path, content in files.items():
        home = _home(path)
        labeled.append((str(path.relative_to(home.parent if _is_package(home) else home)), content))
    labeled.sort()
    found = hashlib.blake2b(repr(labeled).encode(), digest_size=8)
    for text in texts:
        found.update(text)
    return found.hexdigest()


# --- where a reward's code is --------------------------------------------------------------------------------------


def _made_of(reward: Any) -> tuple[set[Path], list[CodeType]]:
    """Return the files of a reward and of all callables inside it, and the code that is in no file."""
    paths: set[Path] = set()
    codes: list[CodeType] = []
    waiting, seen, head = [reward], {id(reward)}, True
    while waiting and len(seen) < MOST_PARTS:
        part = waiting.pop()
        if not isinstance(part, partial | MethodType | Called | Mapping | list | tuple):
            own = [part.__module__] if isinstance(part, FunctionType) else []
            found = [path for name in own if (path := _file_of(name)) is not None] if own else _homes_of(type(part))
            paths.update(path for path in found if head or not _is_installed(path))
            if own and not found:
                codes.append(part.__code__)
            head = False
        for inside in [part.function] if isinstance(part, Called) else reversed(list(held_by(part))):
            if id(inside) not in seen and (callable(inside) or isinstance(inside, Mapping | list | tuple)):
                seen.add(id(inside))
                waiting.append(inside)
    return paths, codes


def _homes_of(kind: type) -> list[Path]:
    """Return the files of a class and of its bases that are not installed."""
    first, *bases = kind.__mro__
    own = [path] if (path := _file_of(first.__module__)) is not None else []
    return own + [p for base in bases if (p := _file_of(base.__module__)) is not None and not _is_installed(p)]


def _bytes_of(code: CodeType) -> bytes:
    """Return a function's code without the place where it was written; for functions of a notebook."""
    constants = [_bytes_of(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts]
    return b"\0".join([code.co_code, repr(code.co_names).encode(), *constants])


def _file_of(module: str | None) -> Path | None:
    if module is None or module.split(".")[0] in sys.stdlib_module_names:
        return None
    path = getattr(sys.modules.get(module), "__file__", None)
    return Path(path).resolve() if path and path.endswith(".py") and Path(path).is_file() else None


# --- which files belong to it --------------------------------------------------------------------------------------


def _files(starts: set[Path]) -> set[Path]:
    """Return every file that counts."""
    found, homes, followed, added, whole = set[Path](), set[Path](), set[Path](), set[Path](), set[Path]()
    waiting = sorted(starts)
    for path in waiting:
        found.add(path)
        if (home := _home(path)) not in homes:
            homes.add(home)
            if _is_package(home):
                found |= (files := _package(home))
                whole |= files if _is_installed(home) else set()  # its imports are its own, or installed too
            elif not _is_installed(path):  # otherwise it is a module next to all installed packages
                found |= {file.resolve() for file in home.glob("*.py") if file.is_file()}
    while waiting and len(followed) < MOST_FILES:
        path = waiting.pop(0)
        if path in followed or path in whole or path.is_relative_to(_OURS):
            continue
        followed.add(path)
        for imported in _imports(path, added):
            if _is_installed(imported) and _home(imported) != _home(path):
                continue
            found.add(imported)
            if _is_package(home := _home(imported)) and home not in homes:
                found |= _package(home)
                homes.add(home)
            waiting.append(imported)
    return found


def _home(path: Path) -> Path:
    """Return the outermost package that holds the file, or its folder if none does."""
    folder = path.parent
    while _is_package(folder) and _is_package(folder.parent):
        folder = folder.parent
    return folder


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _package(home: Path) -> set[Path]:
    """Return every `.py` file of a package; none if there are too many."""
    found: set[Path] = set()
    for folder, folders, names in os.walk(home):
        folders[:] = [f for f in folders if f[0] != "." and f not in ("__pycache__", "node_modules", "site-packages")]
        found |= {path for name in names if name.endswith(".py") and (path := Path(folder, name)).is_file()}
        if len(found) > MOST_FILES:
            _warn_large(home)
            return set()
    return found


@cache
def _warn_large(home: Path) -> None:
    logger.warning(
        "source_digest: %s has more than %d files. Only edits of those that the reward's module imports are noticed. "
        "After an edit of another one, choose a new output.", home, MOST_FILES,
    )  # fmt: skip


def _imports(path: Path, added: set[Path]) -> Iterator[Path]:
    """Yield the files of a file's imported modules, as far as they can be found without running code.

    Args:
        added: folders that the files so far put on `sys.path`; this file's are added to it.
    """
    try:
        folders, modules, names = _written(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return
    added.update(Path(folder).resolve() for folder in folders)
    for name in modules:
        yield from _named_in(path, len(name) - len(name.lstrip(".")), name.lstrip(".").split("."), added)
    for level, parts in names:
        yield from _named_in(path, level, parts, added)


@lru_cache(maxsize=MOST_FILES)
def _written(code: bytes) -> tuple[list[str], list[str], list[tuple[int, list[str]]]]:
    """Return what a file puts on `sys.path`, what it imports by a call, and by a statement: a level and a dotted name.

    To parse the reward's files again would take a tenth of each further audit.
    """
    folders, modules, names = list[str](), list[str](), list[tuple[int, list[str]]]()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in ("insert", "append") and node.args and ast.unparse(node.func) == f"sys.path.{called}":
                folders += _strings(node.args[-1:])
            elif called in ("import_module", "__import__"):
                named = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
                modules += _strings([*node.args[:1], *named][:1])
        elif isinstance(node, ast.Import):
            names += [(0, alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            names += [(node.level, [*parts, alias.name]) for alias in node.names]
    return folders, modules, names


def _strings(nodes: Sequence[ast.expr]) -> list[str]:
    """Return the expressions that are strings."""
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value]


def _named_in(path: Path, level: int, parts: list[str], added: set[Path]) -> Iterator[Path]:
    """Yield the files of a name that the file at `path` imports, relative to its own place if `level` is above 0."""
    places = [(path.parent, *path.parents)[level]] if level else _places(parts[0], path, added)
    for start in places:
        place: Path | None = start
        left = parts if level else parts[1:]  # the last one may be a name inside a module
        while place is not None:
            if place.is_file():
                yield place
                break
            if _is_package(place):
                yield place / "__init__.py"
            if not left:
                break
            folder, file = place / left[0], place / f"{left[0]}.py"
            place, left = (folder if folder.is_dir() else file if file.is_file() else None), left[1:]


def _places(name: str, path: Path, added: set[Path]) -> Iterator[Path]:
    """Yield the folders or files that may be the top-level module that the file at `path` imports."""
    if name in sys.stdlib_module_names or name == "rewardsmith":
        return
    local = (path.parent / name, path.parent / f"{name}.py")
    found = [place for place in local if place.is_file() or _is_package(place)][:1]
    found += [place for folder in added for place in (folder / name, folder / f"{name}.py") if place.exists()]
    yield from (place.resolve() for place in found)
    if found:
        return
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return
    if spec is not None and spec.submodule_search_locations:
        yield Path(next(iter(spec.submodule_search_locations))).resolve()
    elif spec is not None and (spec.origin or "").endswith(".py"):
        yield Path(spec.origin or "").resolve()


@cache
def _installed() -> tuple[Path, ...]:
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple({Path(place).resolve() for place in (*places, *site.getsitepackages(), site.getusersitepackages())})


def _is_installed(path: Path) -> bool:
    known = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(known) or any(path.is_relative_to(place) for place in _installed())
