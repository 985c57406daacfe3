'''A page shows one paper's claim on a small world whose truth is known.

A page is one module in `atlas/pages/`, found by its being there; its file name is its slug. It holds

    PAGE = Page(paper=24, component=reference_link, claim=..., criterion=PairedGain(...), scope=..., ablation=...,
                usage=...)

    @dataclass(frozen=True)
    class World:
        """The declared parameters, with defaults and units; `--set name=value` changes them."""
        n_prompts: int = 150  # prompts

    def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
        """One seed's numbers, as {"metric/arm": number}; `broken` runs the page's declared ablation."""

    def figure(results: Results, axes: matplotlib.axes.Axes) -> None:  # optional; the default draws every arm

A page whose world keeps seeds side by side in one tensor holds, in place of `experiment`,

    def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
        """The same for many seeds at once; a seed's numbers must not depend on which others ran beside it."""
'''

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from types import ModuleType
from typing import Any

from rewardsmith.atlas.criteria import Criterion, Results


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What a page declares; title, year and address come from the catalogue by the paper's number.

    paper: number in the catalogue.
    component: the object that the page exercises, or a tuple of them; a rename breaks the import, not the docs.
    claim: what the page shows, in one or two sentences.
    criterion: judges the runs; fixed before the run.
    scope: what the page does not show.
    ablation: what `broken=True` breaks; the criterion must then fail.
    usage: how to use the component at real scale; blocks fenced by ``` are code.
    notes: what a reader should know before trusting the claim, flattering or not.
    falls_short: parts of the paper's claim that this world does not bear out; any makes the status "partly".
    """

    paper: int
    component: object
    claim: str
    criterion: Criterion
    scope: str
    ablation: str
    usage: str
    notes: tuple[str, ...] = ()
    falls_short: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        empty = [name for name in ("claim", "scope", "ablation", "usage") if not getattr(self, name).strip()]
        if empty:
            raise ValueError(f"Page: paper {self.paper} leaves {', '.join(empty)} empty. Say it in a sentence.")

    @property
    def components(self) -> tuple[object, ...]:
        """The exercised objects, always as a tuple."""
        return self.component if isinstance(self.component, tuple) else (self.component,)


@dataclass(frozen=True, slots=True)
class LoadedPage:
    """A page module, checked: its slug, declaration, world, experiments and (optional) figure.

    experiments(seeds, world, broken=False) gives one dict per seed, whether the module holds it or one seed's
    `experiment`. together: whether the module itself runs many seeds side by side.
    """

    slug: str
    page: Page
    world: type[Any]
    experiments: Callable[..., list[dict[str, float]]]
    together: bool
    figure: Callable[[Results, Any], None] | None
    summary: str

    @classmethod
    def of(cls, module: ModuleType) -> LoadedPage:
        """The page that a module holds.

        Raises:
            TypeError: the module lacks a part of the interface.
        """
        page, world = getattr(module, "PAGE", None), getattr(module, "World", None)
        if not isinstance(page, Page) or not isinstance(world, type) or not is_dataclass(world):
            raise TypeError(
                f"LoadedPage: {module.__name__} must hold PAGE = Page(...) and a dataclass World. Add what is missing."
            )
        together = getattr(module, "experiments", None)
        experiment = together or getattr(module, "experiment", None)
        if not callable(experiment) or "broken" not in inspect.signature(experiment).parameters:
            raise TypeError(
                f"LoadedPage: {module.__name__} must hold experiment(seed, world, *, broken=False), or experiments "
                "for many seeds at once. Add it."
            )
        slug = module.__name__.rpartition(".")[2]
        summary = (inspect.getdoc(module) or "").partition("\n")[0]
        many = together or partial(_one_by_one, experiment)
        return cls(slug, page, world, many, together is not None, getattr(module, "figure", None), summary)

    def world_defaults(self) -> dict[str, Any]:
        """The declared world parameters and their defaults."""
        default = self.world()
        return {field.name: getattr(default, field.name) for field in fields(self.world)}


def _one_by_one(
    experiment: Callable[..., dict[str, float]], seeds: Sequence[int], world: Any, *, broken: bool = False
) -> list[dict[str, float]]:
    return [experiment(seed, world, broken=broken) for seed in seeds]
