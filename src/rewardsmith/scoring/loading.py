"""Load a reward by name: `module:name`, `file.py:name`, `module:factory(option=1)`, `reasoning-gym:NAME`, or a model.

A reward model is named by its folder or its name on the hub, `owner/name` (`load_reward_model`). A name may also mean
several sources, a mapping from names to rewards; `module:SOURCES[name]` is one of them.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rewardsmith.data import Row
from rewardsmith.errors import TargetError, missing_extra
from rewardsmith.scoring.called import PerRow
from rewardsmith.scoring.contracts import contract_of, is_async, signature_of
from rewardsmith.scoring.targets import SourceSet, Target, as_sources, as_target

_SPEC = re.compile(r"(?P<place>.+?):(?P<name>[^\W\d][\w.-]*)(?P<call>\(.*\))?(\[(?P<part>.*)\])?", re.DOTALL)
_FORMS = (
    "`package.module:name`, `file.py:name`, `module:factory(option=1)`, `reasoning-gym:NAME`, or give a reward model's "
    "folder or `owner/name` on the hub"
)


def load_target(spec: str, **options: Any) -> Target:
    """Load the reward that `spec` names.

    A class is instantiated; `name(...)` calls the object with literal arguments. Modules are found as in Python started
    here: on `sys.path`, then in the current folder, and for a file also in its own folder.

    Args:
        options: of `load_reward_model`, such as `eos` or `trust_remote_code`; for a folder or hub name only.

    >>> load_target("json:dumps")
    Traceback (most recent call last):
    ...
    rewardsmith.errors.TargetError: contract_of: dumps takes ...

    Raises:
        TargetError: the spec or its module or name cannot be found, the call fails, or no contract fits.
    """
    loaded = load_reward(spec, **options)
    if isinstance(loaded, SourceSet) and loaded.whole is not None:
        return loaded.whole
    if isinstance(loaded, SourceSet):
        raise TargetError(
            f"load_target: {spec!r} names {len(loaded.targets)} sources ({', '.join(loaded.targets)}), not one reward. "
            f"Name one of them, as `{spec.strip()}[{next(iter(loaded.targets))}]`, or audit them together."
        )
    return loaded


def load_reward(spec: str, **options: Any) -> Target | SourceSet:
    """Load as `load_target`; a mapping from names to rewards, or an object with such `sources`, gives a `SourceSet`."""
    name = spec.strip()
    match, is_folder = _SPEC.fullmatch(name), os.path.isdir(name)  # Path.is_dir raises on a very long name
    if match is None or is_folder:
        if not is_folder and re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name) is None:
            raise TargetError(f"load_target: {name!r} is not a reward's name. Write it as {_FORMS}.")
        # Short for `rewardsmith.rewards:load_reward_model("name")`; this package imports no reward of its own.
        model = importlib.import_module("rewardsmith.rewards").load_reward_model(name, **options)
        return replace(_named(as_target(model), str(Path(name).resolve()) if is_folder else name, **options), name=name)
    if options:
        raise TargetError(
            f"load_reward: {', '.join(options)} is only for a reward model, and {spec!r} is no folder or hub name. "
            "Leave it out, or write it as an argument in the reward's name."
        )
    return _found(spec, match)


def _named(target: Target, spec: str, **options: Any) -> Target:
    return replace(target, spec=spec, load=partial(load_target, spec, **options))


def _found(spec: str, match: re.Match[str]) -> Target | SourceSet:
    place, name, call, part = match["place"], match["name"], match["call"], match["part"]
    args, kwargs = _arguments(spec, call) if call else ((), {})
    if place == "reasoning-gym":
        return _reasoning_gym(spec, name, args, kwargs)
    _search(Path.cwd())
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python may take an edit of the same second and length for the old file
    try:
        found: Any = _file_module(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise TargetError(
            f"load_target: {place!r} of {spec!r} cannot be imported ({type(error).__name__}: {error}). "
            "Check the spelling, run from its folder, or install what it needs."
        ) from error
    finally:
        sys.dont_write_bytecode = written
    for step in name.split("."):
        if not hasattr(found, step):
            near = difflib.get_close_matches(step, [n for n in dir(found) if not n.startswith("_")], n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "Check the spelling."
            raise TargetError(f"load_target: {spec!r}: there is no {step!r} in {place}. {hint}")
        found = getattr(found, step)
    if call or isinstance(found, type):
        try:
            found = _called(found, args, kwargs, whole=part is None)
        except Exception as error:
            raise TargetError(
                f"load_target: {name}{call or '()'} of {spec!r} raised {type(error).__name__}: {error}. "
                "Give its arguments as literals, as in `module:factory(max_len=100)`."
            ) from error
    if part is not None:
        steps: Mapping[str, Any] = getattr(found, "step_sources", {})
        parts = found if isinstance(found, Mapping) else {**getattr(found, "sources", {}), **steps}
        if part not in parts:
            known = ", ".join(map(str, parts)) or "none"
            raise TargetError(
                f"load_target: {spec!r}: there is no source {part!r} (it has {known}). Check the spelling."
            )
        found = parts[part]
    # Workers and resumed jobs must find the same file from any folder.
    anchored = str(Path(place).resolve()) + spec.strip()[len(place) :] if place.endswith(".py") else spec.strip()
    sources = as_sources(found, name=spec.strip())
    if sources is None:
        return replace(_named(as_target(found), anchored), name=spec.strip())
    targets = {name: _named(target, f"{anchored}[{name}]") for name, target in sources.targets.items()}
    return replace(sources, targets=targets, whole=sources.whole and _named(sources.whole, anchored))


def _arguments(spec: str, call: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        node = ast.parse(f"_{call}", mode="eval").body
        if not isinstance(node, ast.Call) or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("not one plain call")
        args = tuple(ast.literal_eval(argument) for argument in node.args)
        return args, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (SyntaxError, ValueError) as error:
        raise TargetError(
            f"load_target: the arguments {call} of {spec!r} are not literals ({error}). "
            'Use numbers, strings or lists, as in `module:factory(max_len=100, mode="strict")`.'
        ) from error


def _called(found: Any, args: tuple[Any, ...], options: dict[str, Any], *, whole: bool) -> Any:
    """Return the result of a factory's call, or a reward with its options bound.

    It is a reward if the given names are parameters, the others fit a contract, and one of these has no default. If
    all have one, it is called, and it is a factory if that gives a reward.
    """
    if isinstance(found, type) or args or not whole:
        return found(*args, **options)
    signature = signature_of(found)
    if not signature.takes_any and not options.keys() <= signature.keywords:
        return found(**options)
    bound = partial(found, **options)
    unfilled = set(signature.required) - options.keys()
    try:
        contract_of(bound)
    except TargetError:
        if options and unfilled:  # its call would only say that arguments are missing
            raise
        return found(**options)
    if unfilled or is_async(found):
        return bound
    try:
        made = found(**options)
    except (AttributeError, TypeError):
        return bound
    return made if callable(made) or as_sources(made) is not None else bound


def _search(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _file_module(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"rewardsmith_target_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    _search(path.parent)
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ImportError) and "relative import" in str(error):
            return _module_of_package(path)
        raise
    return module


def _module_of_package(path: Path) -> ModuleType:
    """Import a file that imports its neighbors relatively, as a module of its package."""
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    _search(folder)
    module = importlib.import_module(".".join(parts))
    if Path(module.__file__ or "").resolve() != path:
        raise ImportError(f"{'.'.join(parts)} is {module.__file__}, which comes first on the path")
    return module


def _reasoning_gym(spec: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Target:
    known = _gym(spec)
    if name not in known.DATASETS:
        near = difflib.get_close_matches(name, list(known.DATASETS), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(sorted(known.DATASETS))}."
        raise TargetError(f"load_target: reasoning-gym has no data set {name!r}. {hint}")
    if args:
        raise TargetError(f"load_target: {spec!r} has options without names. Write them as `max_len=3`.")
    try:
        dataset = known.create_dataset(name, **kwargs)
    except Exception as error:
        raise TargetError(
            f"load_target: reasoning-gym refuses {spec!r} ({type(error).__name__}: {error}). Change its options."
        ) from error
    return _named(Target(spec.strip(), "reasoning-gym", PerRow(dataset.score_answer, "reasoning-gym")), spec.strip())


def _gym(spec: str) -> Any:
    try:
        return importlib.import_module("reasoning_gym.factory") if importlib.import_module("reasoning_gym") else None
    except ImportError as error:
        raise missing_extra(f"load_target: {spec!r}", "gym", error) from error


def target_rows(target: Target, n: int, seed: int) -> list[Row]:
    """Return `n` rows of a target that has its own; the column `entry` holds the entry that its scorer reads.

    Raises:
        TargetError: the target has none.
    """
    if target.rows is not None:
        return target.rows[:n]
    match = _SPEC.fullmatch(target.spec or "")
    if target.contract != "reasoning-gym" or match is None:
        raise TargetError(f"target_rows: {target.name} has no rows of its own. Pass rows with a `prompt` each.")
    options = _arguments(target.name, match["call"])[1] if match["call"] else {}
    dataset = _gym(target.name).create_dataset(match["name"], **{**options, "size": n, "seed": seed})
    entries = [dataset[index] for index in range(n)]
    return [Row(prompt=e["question"], columns={"answer": e["answer"], "entry": e}) for e in entries]
