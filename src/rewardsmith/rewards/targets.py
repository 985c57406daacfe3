"""A reward by name: `module:name`, `file.py:name`, `module:factory(option=1)`, `reasoning-gym:NAME`, or a reward model.

A reward model goes by its folder or its name on the hub, `owner/name` (`load_reward_model`).
A name may also stand for several sources, a mapping from names to rewards; `module:SOURCES[name]` is one of them.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rewardsmith.data import Row, has_text
from rewardsmith.errors import TargetError, missing_extra
from rewardsmith.rewards.contracts import Contract, PerRow, contract_of, name_of, per_row
from rewardsmith.types import Reward, Scope, traits_of

if TYPE_CHECKING:
    from rewardsmith.rewards.scoring import Scorer

_SPEC = re.compile(r"(?P<place>.+?):(?P<name>[^\W\d][\w.-]*)(?P<call>\(.*\))?(\[(?P<part>.*)\])?", re.DOTALL)
_FORMS = (
    "`package.module:name`, `file.py:name`, `module:factory(option=1)`, `reasoning-gym:NAME`, or give a reward model's "
    "folder or `owner/name` on the hub"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A reward ready to be scored.

    name: what reports call it.
    contract: the signature it came in.
    reward: it as a TRL reward.
    spec: the name it was loaded by; with it, worker processes load it afresh instead of unpickling it.
    rows: the rows it brings along, if any.
    options: with which a reward model was loaded, here and by worker processes.
    """

    name: str
    contract: Contract
    reward: Reward
    spec: str | None = None
    rows: list[Row] | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __reduce__(self) -> tuple[Callable[..., Target], tuple[Any, ...]]:
        if self.spec is not None:
            return _reloaded, (self.spec, self.contract, dict(self.options))
        return Target, (self.name, self.contract, self.reward, None, self.rows)


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Several rewards that a run makes one of, each under its name.

    targets: name → the reward, ready to be scored.
    weights: name → what it is multiplied by before they are added.
    transform: (B, K) rewards of the sources to (B,), as our trainers take it, where they are not simply added.
    whole: what it comes to as one reward, where a row alone decides that.
    scope: what adding or transforming them must see.
    """

    name: str
    targets: Mapping[str, Target]
    weights: Mapping[str, float]
    transform: Callable[..., Any] | None = None
    whole: Target | None = None
    scope: Scope = "row"


def _reloaded(spec: str, contract: Contract, options: Mapping[str, Any]) -> Target:
    target = load_target(spec, **options)
    if contract != "process":
        return target
    from rewardsmith.rewards.process import process_target

    return process_target(target)


class Formed(NamedTuple):
    """Rows in the form that a reward can read, which form that is, and why the other was left."""

    rows: list[Row]
    form: Literal["as given", "conversational", "standard"]
    detail: str


def as_target(reward: Target | Callable[..., Any], *, name: str | None = None) -> Target:
    """Any function in a known contract as a `Target`; a `Target` comes back as it is.

    Raises:
        TargetError: its signature fits no contract.
    """
    if isinstance(reward, Target):
        return reward
    if not callable(reward) or isinstance(reward, type):
        raise TargetError(
            f"as_target: {reward!r} is no reward but a {type(reward).__name__}. "
            "Pass a function, a callable object (an instance, not its class), or load_target(...)."
        )
    if isinstance(reward, PerRow):
        return Target(name or name_of(reward), reward.contract, reward)
    contract = contract_of(reward)
    return Target(name or name_of(reward), contract, reward if contract == "trl" else per_row(reward, contract))


def as_sources(found: Any, *, name: str = "sources", spec: str | None = None) -> SourceSet | None:
    """A mapping from names to rewards, or an object with such a mapping as `sources`, as a `SourceSet`; else None.

    Of an object, such as a `recipes.Recipe`, `weights` (a mapping by name, or one number per source in order) and
    `transform` are kept; without them the sources are added as they are.

    >>> sources = as_sources({"short": lambda completions: [float(len(c) < 9) for c in completions]})
    >>> list(sources.targets), sources.weights
    (['short'], {'short': 1.0})

    Raises:
        TargetError: a source is no reward, or the weights do not fit the sources.
    """
    if isinstance(found, SourceSet):
        return found
    sources = found if isinstance(found, Mapping) else getattr(found, "sources", None)
    if not isinstance(sources, Mapping):
        return None
    targets = {str(key): _part(str(key), source, name, spec) for key, source in sources.items()}
    weights = _weights(name, list(targets), getattr(found, "weights", None))
    transform = getattr(found, "transform", None)
    alone = callable(found) and getattr(found, "scope", "row") == "row"
    whole = replace(as_target(found, name=name), spec=spec) if alone else None
    if not callable(transform):
        return SourceSet(name, targets, weights, None, whole)
    return SourceSet(name, targets, weights, transform, whole, _scope(found, transform))


def _scope(found: Any, transform: Callable[..., Any]) -> Scope:
    """What the transform must see: a recipe's reward term says, else its traits; unknown, the whole batch."""
    try:
        scope: Scope = getattr(getattr(found, "reward", None), "scope", None) or traits_of(transform).scope
    except TypeError:
        return "batch"
    return scope


def _weights(name: str, sources: Sequence[str], given: Any) -> dict[str, float]:
    if given is None and sources:
        return dict.fromkeys(sources, 1.0)
    by_name = given if isinstance(given, Mapping) else dict(zip(sources, given or (), strict=False))
    if not sources or by_name.keys() != set(sources) or len(given) != len(sources):
        raise TargetError(
            f"as_sources: {name} holds the sources {list(sources)} and the weights {given!r}, which do not fit. "
            "Give at least one source, and one weight for each, by name or in order."
        )
    return {key: float(by_name[key]) for key in sources}


def _part(key: str, source: Any, name: str, spec: str | None) -> Target:
    try:
        return replace(as_target(source, name=f"{name}[{key}]"), spec=None if spec is None else f"{spec}[{key}]")
    except TargetError as error:
        raise TargetError(f"as_sources: source {key!r} of {name} is no reward: {error}") from error


def load_target(spec: str, **options: Any) -> Target:
    """The reward that `spec` names.

    A reward model goes by its folder or its name on the hub. A class is instantiated; `name(...)` calls what is found
    with literal arguments. Modules are looked up as in a Python started here: `sys.path`, then the current folder (and,
    for a file, the file's own folder).

    Args:
        options: of `load_reward_model`, such as `eos` or `trust_remote_code`; only of a folder or a hub name.

    >>> load_target("json:dumps")
    Traceback (most recent call last):
    ...
    rewardsmith.errors.TargetError: contract_of: dumps takes ...

    Raises:
        TargetError: the spec cannot be read, the module or name does not exist, the call fails, or no contract fits.
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
    """As `load_target`, but a mapping from names to rewards, or an object with one as `sources`, is a `SourceSet`."""
    match = _SPEC.fullmatch(spec.strip())
    if match is None or os.path.isdir(spec.strip()):  # Path.is_dir raises on a name too long
        return _model(spec.strip(), options)
    if options:
        raise TargetError(
            f"load_reward: {', '.join(options)} is for a reward model's folder or hub name, and {spec!r} is neither. "
            "Leave it out, or write it into the call that makes the reward."
        )
    return _found(spec, match)


def _model(spec: str, options: Mapping[str, Any]) -> Target:
    from rewardsmith.rewards.models import is_model, load_reward_model

    if not is_model(spec):
        raise TargetError(f"load_target: {spec!r} is not a reward's name. Write it as {_FORMS}.")
    anchored = str(Path(spec).resolve()) if Path(spec).is_dir() else spec
    return replace(as_target(load_reward_model(spec, **options)), name=spec, spec=anchored, options=options)


def _found(spec: str, match: re.Match[str]) -> Target | SourceSet:
    place, name, call, part = match["place"], match["name"], match["call"], match["part"]
    args, kwargs = _arguments(spec, call) if call else ((), {})
    if place == "reasoning-gym":
        return _reasoning_gym(spec, name, args, kwargs)
    found = _attribute(spec, place, _module(spec, place), name)
    if call or isinstance(found, type):
        try:
            found = found(*args, **kwargs)
        except Exception as error:
            raise TargetError(
                f"load_target: {name}{call or '()'} of {spec!r} raised {type(error).__name__}: {error}. "
                "Give its arguments as literals, as in `module:factory(max_len=100)`."
            ) from error
    if part is not None:
        found = _named_part(spec, found, part)
    anchored = _anchored(spec.strip(), place)
    sources = as_sources(found, name=spec.strip(), spec=anchored)
    return sources or replace(as_target(found), name=spec.strip(), spec=anchored)


def _named_part(spec: str, found: Any, part: str) -> Any:
    sources = found if isinstance(found, Mapping) else {**getattr(found, "sources", {}), **_step_sources(found)}
    if part not in sources:
        known = ", ".join(map(str, sources)) or "none"
        raise TargetError(f"load_target: {spec!r}: there is no source {part!r} (it has {known}). Check the spelling.")
    return sources[part]


def _step_sources(found: Any) -> Mapping[str, Any]:
    steps: Mapping[str, Any] = getattr(found, "step_sources", {})
    return steps


def _anchored(spec: str, place: str) -> str:
    # Workers and resumed jobs must find the same file wherever they run.
    return str(Path(place).resolve()) + spec[len(place) :] if place.endswith(".py") else spec


def _arguments(spec: str, call: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        node = ast.parse(f"_{call}", mode="eval").body
        if not isinstance(node, ast.Call) or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("not one plain call")
        args = tuple(ast.literal_eval(argument) for argument in node.args)
        return args, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (SyntaxError, ValueError) as error:
        raise TargetError(
            f"load_target: the arguments {call} of {spec!r} are no literals ({error}). "
            'Use numbers, strings, lists and the like: `module:factory(max_len=100, mode="strict")`.'
        ) from error


def _module(spec: str, place: str) -> ModuleType:
    _search(Path.cwd())
    try:
        return _file_module(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise TargetError(
            f"load_target: {place!r} of {spec!r} cannot be imported ({type(error).__name__}: {error}). "
            "Check the spelling, run from its folder, or install what it needs."
        ) from error


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
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _attribute(spec: str, place: str, module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [n for n in dir(found) if not n.startswith("_")], n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "Check the spelling."
            raise TargetError(f"load_target: {spec!r}: there is no {part!r} in {place}. {hint}")
        found = getattr(found, part)
    return found


def _reasoning_gym(spec: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Target:
    known = _gym(spec)
    if name not in known.DATASETS:
        near = difflib.get_close_matches(name, list(known.DATASETS), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(sorted(known.DATASETS))}."
        raise TargetError(f"load_target: reasoning-gym has no data set {name!r}. {hint}")
    if args:
        raise TargetError(f"load_target: {spec!r}: the options of a reasoning-gym data set go by name, as `max_len=3`.")
    try:
        dataset = known.create_dataset(name, **kwargs)
    except Exception as error:
        raise TargetError(
            f"load_target: reasoning-gym refuses {spec!r} ({type(error).__name__}: {error}). Change its options."
        ) from error
    return Target(spec.strip(), "reasoning-gym", per_row(dataset.score_answer, "reasoning-gym"), spec=spec.strip())


def _gym(spec: str) -> Any:
    try:
        return importlib.import_module("reasoning_gym.factory") if importlib.import_module("reasoning_gym") else None
    except ImportError as error:
        raise missing_extra(f"load_target: {spec!r}", "gym", error) from error


def target_rows(target: Target, n: int, seed: int) -> list[Row]:
    """`n` rows of a target that brings its own; the entry that its scorer reads is the column `entry`.

    Raises:
        TargetError: the target brings none.
    """
    if target.rows is not None:
        return target.rows[:n]
    match = _SPEC.fullmatch(target.spec or "")
    if target.contract != "reasoning-gym" or match is None:
        raise TargetError(f"target_rows: {target.name} brings no rows of its own. Pass rows with a `prompt` each.")
    options = _arguments(target.name, match["call"])[1] if match["call"] else {}
    dataset = _gym(target.name).create_dataset(match["name"], **{**options, "size": n, "seed": seed})
    entries = [dataset[index] for index in range(n)]
    return [Row(prompt=e["question"], columns={"answer": e["answer"], "entry": e}) for e in entries]


def resolve_form(scorer: Scorer, rows: Sequence[Row], *, n: int = 4) -> Formed:
    """The rows in a form that the reward can read: as given, or, where every trial call raises, the other one.

    Published TRL rewards often index `completion[0]["content"]`, which only conversational rows have. The first `n`
    rows are tried, each with its completion or, where it has none, its answer. Row contracts get plain text anyway.
    """
    given = list(rows)
    if scorer.target.contract != "trl" or not given:
        return Formed(given, "as given", "")
    tried = [row for row in given if row.completion is None or has_text(row.completion)][:n]
    problem = _trouble(scorer, tried)
    if not problem:
        return Formed(given, "as given", "")
    turned = [_turned(row) for row in given]
    if _trouble(scorer, [_turned(row) for row in tried]):
        return Formed(given, "as given", f"every form fails: {problem}")
    form: Literal["conversational", "standard"] = "conversational" if isinstance(given[0].prompt, str) else "standard"
    return Formed(turned, form, f"the rows' own form fails: {problem}")


def _trouble(scorer: Scorer, rows: Sequence[Row]) -> str:
    tried = [row if row.completion is not None else row.with_completion(row.answer or "") for row in rows]
    results = scorer.score(tried, nonce="form", batch_size=1)
    return results[0].detail if results and all(result.reason == "exception" for result in results) else ""


def _turned(row: Row) -> Row:
    if isinstance(row.prompt, str):
        return row.conversational()
    return replace(row, prompt=row.prompt_text, completion=row.text if has_text(row.completion) else None)
