"""Targets: a reward that is ready to be scored, and a set of rewards that a run combines into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rewardsmith.data import Row
from rewardsmith.errors import TargetError
from rewardsmith.scoring.called import Called, as_trl
from rewardsmith.scoring.comparing import Compared, way_of
from rewardsmith.scoring.contracts import contract_of, name_of
from rewardsmith.types import Reward, Scope, traits_of


@dataclass(frozen=True, slots=True)
class Target:
    """A reward ready to be scored.

    name: the name in reports.
    contract: its original signature.
    reward: the same reward in TRL's contract.
    spec: the name by which it was loaded.
    load: loads the target again in a worker process, so that the reward need not be pickled.
    rows: its own rows, if any.
    """

    name: str
    contract: str
    reward: Reward
    spec: str | None = None
    rows: list[Row] | None = None
    load: Callable[[], Target] | None = None

    def __reduce__(self) -> tuple[Callable[..., Target], tuple[Any, ...]]:
        if self.load is not None:
            return self.load, ()
        return Target, (self.name, self.contract, self.reward, None, self.rows)


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Several named rewards that a run combines into one.

    targets: name → reward.
    weights: name → factor of the reward in the sum.
    transform: (B, K) source rewards to (B,), as our trainers apply it, if they are not simply added.
    whole: the combination as one reward, if it depends on one row only.
    scope: the rows that adding or transforming needs.
    """

    name: str
    targets: Mapping[str, Target]
    weights: Mapping[str, float]
    transform: Callable[..., Any] | None = None
    whole: Target | None = None
    scope: Scope = "row"


def as_target(reward: Target | Callable[..., Any], *, name: str | None = None) -> Target:
    """Return any function in a known contract as a `Target`; return a `Target` unchanged.

    Raises:
        TargetError: its signature fits no contract.
    """
    if isinstance(reward, Target):
        return reward
    if not callable(reward) and callable(getattr(reward, "evaluate", None)):  # an evaluator of rLLM
        return as_target(reward.evaluate, name=name)
    if not callable(reward) and not isinstance(reward, type) and (way := way_of(reward)):  # a judge that compares
        return Target(name or type(reward).__name__, "trl", Compared(reward, way))
    if not callable(reward) or isinstance(reward, type):
        raise TargetError(
            f"as_target: {reward!r} is a {type(reward).__name__}, not a reward. "
            "Pass a function, a callable object (an instance, not its class), or load_target(...)."
        )
    if isinstance(reward, Called):
        return Target(name or name_of(reward), reward.contract, reward)
    contract = contract_of(reward)
    return Target(name or name_of(reward), contract, as_trl(reward, contract))


def as_sources(found: Any, *, name: str = "sources") -> SourceSet | None:
    """Return a mapping from names to rewards, or an object with one as `sources`, as a `SourceSet`; else None.

    An object, such as a `recipes.Recipe`, keeps its `weights` (a mapping by name, or one number per source in order)
    and its `transform`. Without them the sources are added unweighted.

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
    targets: dict[str, Target] = {}
    for key, source in sources.items():
        try:
            targets[str(key)] = as_target(source, name=f"{name}[{key}]")
        except TargetError as error:
            raise TargetError(f"as_sources: source {str(key)!r} of {name} is no reward: {error}") from error
    given: Any = getattr(found, "weights", None)
    given = dict.fromkeys(targets, 1.0) if given is None and targets else given
    by_name = given if isinstance(given, Mapping) else dict(zip(targets, given or (), strict=False))
    if not targets or by_name.keys() != set(targets) or len(given) != len(targets):
        raise TargetError(
            f"as_sources: the weights {given!r} do not fit the sources {list(targets)} of {name}. "
            "Give at least one source, and one weight for each, by name or in order."
        )
    weights = {key: float(by_name[key]) for key in targets}
    transform = getattr(found, "transform", None)
    alone = callable(found) and getattr(found, "scope", "row") == "row"
    whole = as_target(found, name=name) if alone else None
    if not callable(transform):
        return SourceSet(name, targets, weights, None, whole)
    try:  # a recipe's reward term states the transform's scope, else its traits; if unknown, it is the whole batch
        scope: Scope = getattr(getattr(found, "reward", None), "scope", None) or traits_of(transform).scope
    except TypeError:
        scope = "batch"
    return SourceSet(name, targets, weights, transform, whole, scope)
