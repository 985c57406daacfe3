'''A page shows one paper's claim on a small world whose truth is known.

A page is one module in `atlas/pages/`, found by its being there, and its text beside it; their file name is its slug.
The text, `<slug>.toml`, holds the fields that `Page` lists. The module holds

    """One sentence that is the claim in small."""

    CRITERION = PairedGain(...)  # criteria and literals only, as it is read without running the module

    @dataclass(frozen=True)
    class World:
        """The declared parameters, with defaults and units; `--set name=value` changes them."""
        n_prompts: int = 150  # prompts

    def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
        """One seed's numbers, as {"metric/arm": number}; `broken` runs the page's declared ablation."""

    def figure(results: Results, axes: matplotlib.axes.Axes) -> None:  # optional; the default draws every arm
    figure = partial(dots, series=..., rows=..., label=...)  # or a shared drawing of `atlas/figures.py`

A page whose world keeps seeds side by side in one tensor holds, in place of `experiment`,

    def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
        """The same for many seeds at once; a seed's numbers must not depend on which others ran beside it."""
'''

from __future__ import annotations

import ast
import inspect
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rewardsmith.atlas import criteria
from rewardsmith.atlas.criteria import Criterion, Results

SENTENCES = ("claim", "scope", "ablation", "usage", "advice")
NEEDED: dict[str, type] = {"paper": int, "components": list, **dict.fromkeys(SENTENCES, str), "changed": list}
OPTIONAL: dict[str, type] = {"notes": list, "falls_short": list}
"""The fields of a page's text."""
CRITERIA = ("All", "AtLeast", "AtMost", "LowerBound", "PairedGain", "RankAgreement", "Within")
KINDS: dict[str, type[Any]] = {name: getattr(criteria, name) for name in CRITERIA}


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What a page declares; title, year and address come from the catalogue by the paper's number.

    From the text:
        paper: number in the catalogue.
        components: where to import what the page exercises, `rewardsmith.<room>.<name>`.
        claim: what the page shows, in one or two sentences.
        scope: what the page does not show.
        ablation: what `broken=True` breaks; the criterion must then fail.
        usage: how to use the component at real scale; blocks fenced by ``` are code.
        notes: what a reader should know before trusting the claim, flattering or not.
        falls_short: parts of the paper's claim that this world does not bear out; any makes the status "partly".
        advice: what a practitioner should do, in one sentence; it stands first wherever a page is shown.
        changed: two changes of the world, {parameter: value as text} each, whose outcome is shown beside the default.

    From the module, as written:
        summary: the first line of its docstring.
        criterion: judges the runs; fixed before the run.
        parameters: (name, default, comment) of each world parameter.
    """

    slug: str
    paper: int
    components: tuple[str, ...]
    claim: str
    scope: str
    ablation: str
    usage: str
    advice: str
    changed: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...] = ()
    falls_short: tuple[str, ...] = ()
    summary: str
    criterion: Criterion
    parameters: tuple[tuple[str, str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The components without their rooms."""
        return tuple(name.rpartition(".")[2] for name in self.components)

    @property
    def tags(self) -> tuple[str, ...]:
        """The parts of the library that the page exercises."""
        return tuple(sorted({name.split(".")[1] for name in self.components}))

    @classmethod
    def read(cls, module: Path) -> Page:
        """Read a page's text and its module, without running the module.

        Raises:
            ValueError: the text lacks a field, holds an unknown one or leaves one empty; or the module has no
                `CRITERION` of criteria and literals.
        """
        text = read_text(module.with_suffix(".toml"))
        source = module.read_text(encoding="utf-8")
        tree = ast.parse(source)
        worlds = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "World"]
        return cls(
            slug=module.stem,
            summary=(ast.get_docstring(tree) or "").partition("\n")[0],
            criterion=_criterion(module, tree),
            parameters=_parameters(worlds[0], source.splitlines()) if worlds else (),
            **text,
        )


def read_text(path: Path) -> dict[str, Any]:
    """Read and check the fields of a page's text; line breaks count in `usage` alone."""
    if not path.is_file():
        raise ValueError(f"atlas: {path.stem}.py has no text. Write {path.name} beside it.")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"atlas: {path.name} is not TOML ({error}). Mend it.") from error
    known = NEEDED | OPTIONAL
    missing, unknown = [name for name in NEEDED if name not in given], [name for name in given if name not in known]
    if missing or unknown:
        said = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"holds unknown {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(f"atlas: {path.name} {' and '.join(said)}. Its fields are {', '.join(known)}.")
    return {name: _checked(path, name, value) for name, value in given.items()}


def _checked(path: Path, name: str, value: Any) -> Any:
    if name == "changed":
        if not isinstance(value, list) or len(value) != 2 or not all(isinstance(one, dict) and one for one in value):
            raise ValueError(f"atlas: {path.name} gives changed as {value!r}. Write two tables of world parameters.")
        return tuple({parameter: str(new) for parameter, new in one.items()} for one in value)
    kind = (NEEDED | OPTIONAL)[name]
    texts: list[Any] = value if isinstance(value, list) else [] if kind is int else [value]
    if not isinstance(value, kind) or not all(isinstance(text, str) for text in texts):
        wanted = {int: "a whole number", str: "a text", list: "a list of texts"}[kind]
        raise ValueError(f"atlas: {path.name} gives {name} as {value!r}. Write {wanted}.")
    if value in ([], "") or not all(text.strip() for text in texts):
        raise ValueError(f"atlas: {path.name} leaves {name} empty. Say it in a sentence.")
    if name == "usage":
        return texts[0].strip("\n")
    one_line = tuple(" ".join(text.split()) for text in texts)
    return one_line if kind is list else one_line[0] if kind is str else value


def _criterion(module: Path, tree: ast.Module) -> Criterion:
    """Build what `CRITERION = ...` says from criteria and literals, so that nothing of the module runs."""

    def built(node: ast.expr) -> Any:
        if not isinstance(node, ast.Call):
            return ast.literal_eval(node)
        kind = KINDS[ast.unparse(node.func)]
        return kind(*map(built, node.args), **{str(given.arg): built(given.value) for given in node.keywords})

    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CRITERION":
            try:
                return built(node.value)  # type: ignore[no-any-return]
            except (KeyError, ValueError, TypeError) as error:
                raise ValueError(
                    f"atlas: CRITERION of {module.name} cannot be read ({error}). Write it with criteria of "
                    "rewardsmith.atlas.criteria, names of results and plain numbers."
                ) from error
    raise ValueError(f"atlas: {module.name} holds no CRITERION. Add CRITERION = ..., fixed before the first run.")


def _parameters(world: ast.ClassDef, lines: list[str]) -> tuple[tuple[str, str, str], ...]:
    found = []
    for node in world.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            comment = lines[(node.end_lineno or node.lineno) - 1].partition("#")[2].strip()
            found.append((node.target.id, ast.unparse(node.value), comment))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class LoadedPage:
    """A page whose module was imported: what it declares, its world, experiments and (optional) figure.

    experiments(seeds, world, broken=False) gives one dict per seed, whether the module holds it or one seed's
    `experiment`. together: whether the module itself runs many seeds side by side.
    """

    page: Page
    world: type[Any]
    experiments: Callable[..., list[dict[str, float]]]
    together: bool
    figure: Callable[[Results, Any], None] | None

    @classmethod
    def of(cls, module: ModuleType, page: Page) -> LoadedPage:
        """Return the page that a module holds.

        Raises:
            TypeError: the module lacks a part of the interface.
            ValueError: the text changes a parameter that the world does not declare, or to another type.
        """
        world = getattr(module, "World", None)
        if not isinstance(world, type) or not is_dataclass(world):
            raise TypeError(f"LoadedPage: {module.__name__} must hold a dataclass World. Add it.")
        together = getattr(module, "experiments", None)
        experiment = together or getattr(module, "experiment", None)
        if not callable(experiment) or "broken" not in inspect.signature(experiment).parameters:
            raise TypeError(
                f"LoadedPage: {module.__name__} must hold experiment(seed, world, *, broken=False), or experiments "
                "for many seeds at once. Add it."
            )
        many = together or partial(_one_by_one, experiment)
        loaded = cls(page, world, many, together is not None, getattr(module, "figure", None))
        for changes in page.changed:
            changed_world(loaded, changes)
        return loaded


def changes_as_text(changes: Mapping[str, str]) -> str:
    """Return changes of a world as `name=value, …`."""
    return ", ".join(map("=".join, changes.items()))


def changed_world(loaded: LoadedPage, changes: Mapping[str, str]) -> Any:
    """Return the page's world with parameters changed from text, converted to the type of their default.

    Raises:
        ValueError: a name is not declared, or a value does not convert.
    """
    slug, defaults = loaded.page.slug, asdict(loaded.world())
    unknown = [name for name in changes if name not in defaults]
    if unknown:
        raise ValueError(
            f"atlas: page {slug} declares no world parameter {', '.join(map(repr, unknown))}. "
            f"It declares {', '.join(f'{name}={value}' for name, value in defaults.items())}."
        )
    values = {name: _converted(slug, name, text, defaults[name]) for name, text in changes.items()}
    return replace(loaded.world(), **values)


def _converted(slug: str, name: str, text: str, default: object) -> object:
    words: dict[str, object] = {"true": True, "false": False}
    try:
        if isinstance(default, bool):
            return words[text.lower()]
        value = type(default)(text)  # type: ignore[call-arg]
    except (ValueError, KeyError, TypeError):
        value = math.nan
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(
            f"atlas: page {slug} cannot set {name} to {text!r}. Give a value of type {type(default).__name__}, as "
            f"the default {default!r} is."
        )
    return value


def parameters(world: Any, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the declared parameters that a function takes, by name: a page's `World` is their only list.

    >>> @dataclass
    ... class World:
    ...     n_rows: int = 3
    ...     noise: float = 0.1
    >>> def sample(n_rows, generator): ...
    >>> parameters(World(), sample)
    {'n_rows': 3}
    """
    taken = inspect.signature(function).parameters
    return {field.name: getattr(world, field.name) for field in fields(world) if field.name in taken}


def rows(tables: Mapping[str, Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return one row per seed of {metric: {arm: (S,) numbers}}.

    >>> rows({"gold": {"a": [1, 2], "b": [3, 4]}})
    [{'gold/a': 1.0, 'gold/b': 3.0}, {'gold/a': 2.0, 'gold/b': 4.0}]
    """
    columns = {f"{metric}/{arm}": values for metric, arms in tables.items() for arm, values in arms.items()}
    return [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def _one_by_one(
    experiment: Callable[..., dict[str, float]], seeds: Sequence[int], world: Any, *, broken: bool = False
) -> list[dict[str, float]]:
    return [experiment(seed, world, broken=broken) for seed in seeds]
