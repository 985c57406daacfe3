"""Contracts between the rooms: rewards, the traits of transforms, and the fields of a batch."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from rewardsmith.describe import function_of, keywords_of, name_of

if TYPE_CHECKING:
    from torch import Tensor

Message = dict[str, Any]
"""One chat turn, `{"role": ..., "content": ...}`."""
Text = str | list[Message]
"""A prompt or completion in TRL's standard form (a string) or conversational form (a list of messages)."""
Completion = Text

Scope = Literal["row", "prompt", "batch", "run"]
"""Scope of a component: one row, a prompt's whole group, the gathered batch, or statistics of the run so far."""


class Reward(Protocol):
    """TRL's reward contract: keyword lists in, one number or None (unscored) per row out, sync or async."""

    def __call__(
        self, *, prompts: list[Text], completions: list[Completion], **columns: Any
    ) -> Sequence[float | None] | Awaitable[Sequence[float | None]]: ...


class TransitionReward(Protocol):
    """Contract of rewards for Gymnasium: batch-first transitions in, (B,) rewards out."""

    def __call__(self, obs: Tensor, action: Tensor, next_obs: Tensor, terminated: Tensor) -> Tensor: ...


class ProcessReward(Protocol):
    """Contract of rewards of a completion's steps: as `Reward`, with a keyword `steps`, a list of texts per row.

    Returns per row one number or None (unscored) per step, in order, or None where no step could be scored.
    """

    def __call__(
        self, *, prompts: list[Text], completions: list[Completion], steps: list[list[str]], **columns: Any
    ) -> Sequence[Sequence[float | None] | None] | Awaitable[Sequence[Sequence[float | None] | None]]: ...


class Traits(NamedTuple):
    """Traits that a transform declares.

    scope: the rows that it needs.
    affine: True if it is r ↦ a·r + b with a > 0 and b constant within a prompt's group, so that a group z-score
        cancels it exactly.
    bounded: the closed range of its output, or None.
    """

    scope: Scope
    affine: bool
    bounded: tuple[float, float] | None = None


F = TypeVar("F", bound=Callable[..., Any])


def declares(traits: Traits | Callable[..., Traits]) -> Callable[[F], F]:
    """Attach traits to a transform; a callable computes them from the keyword arguments bound by `partial`.

    >>> @declares(Traits(scope="row", affine=False, bounded=(0.0, 1.0)))
    ... def squash(rewards): ...
    >>> traits_of(partial(squash)).bounded
    (0.0, 1.0)
    """

    def mark(function: F) -> F:
        function.__traits__ = traits  # type: ignore[attr-defined]
        return function

    return mark


def traits_of(transform: Callable[..., Any]) -> Traits:
    """Return the traits that a transform declares, seen through `functools.partial`.

    Raises:
        TypeError: it declares none.
    """
    traits = getattr(function_of(transform), "__traits__", None)
    if traits is None:
        raise TypeError(
            f"traits_of: {function_of(transform)!r} declares no traits, so its scope is unknown. "
            "Decorate it with @declares(Traits(scope=..., affine=..., bounded=...))."
        )
    return traits if isinstance(traits, Traits) else traits(**keywords_of(transform))


class Named(NamedTuple):
    """The fit of a context to a function: its first parameter's name, the keywords to pass, and the lacking ones."""

    first: str
    given: dict[str, Any]
    lacking: list[str]


def named_by(function: Callable[..., Any], context: Mapping[str, Any]) -> Named:
    """Select from `context` the keywords that a function names after its first parameter; `**keywords` receives all.

    Arguments bound by `functools.partial` stay bound. A module is read through its `forward`. A built-in without a
    signature, such as `torch.tanh`, takes its first argument alone.

    >>> named_by(lambda rewards, lengths, scale=1.0: rewards, {"scale": 2.0, "other": 3})
    Named(first='rewards', given={'scale': 2.0}, lacking=['lengths'])
    """
    bound = function.keywords if isinstance(function, partial) else {}
    try:
        parameters = list(inspect.signature(getattr(function, "forward", function)).parameters.values())
    except ValueError:
        return Named("", {}, [])
    first, *others = parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in others):
        given = {name: value for name, value in context.items() if name not in bound and name != first.name}
    else:
        given = {p.name: context[p.name] for p in others if p.name in context and p.name not in bound}
    needed = [p.name for p in others if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return Named(first.name, given, [name for name in needed if name not in given and name not in bound])


def needed_by(caller: str, function: Callable[..., Any], context: Mapping[str, Any], *, remedy: str = "") -> Named:
    """Select as `named_by` does, and refuse a function that needs what the context lacks.

    Args:
        remedy: what to do, where it is not to bind it or to pass it by name.

    Raises:
        TypeError: with what lacks, and what there is.

    >>> needed_by("chain", lambda rewards, lengths: rewards, {"group_size": 2})
    Traceback (most recent call last):
    TypeError: chain: <lambda> needs lengths, and is offered group_size. Bind it with functools.partial, or pass...
    """
    asked = named_by(function, context)
    if asked.lacking:
        remedy = remedy or "Bind it with functools.partial, or pass it by name, as a trainer passes a dataset's column."
        raise TypeError(
            f"{caller}: {name_of(function)} needs {', '.join(asked.lacking)}, and is offered "
            f"{', '.join(sorted(context)) or 'nothing'}. {remedy}"
        )
    return asked


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """One gathered batch, as the advantage stage receives it; a prompt's completions are consecutive.

    source_rewards: (B, K) raw rewards of K named sources, NaN where unscored.
    source_names: K names, unique.
    group_size: G, so that B = P·G.
    completion_mask: (B, T) True where a completion token counts, or None.
    columns: all other columns of the rows, each a list of B.
    step_rewards: (B, N) raw scores of each named process reward, NaN where unscored and where there is no step.
    step_mask: (B, N) True where a completion has a complete step, or None where nothing scores steps.
    step_ends: (B, N) int64 index in 0…T−1 of a step's last token; 0 where masked.
    """

    source_rewards: Tensor
    source_names: tuple[str, ...]
    group_size: int
    completion_mask: Tensor | None = None
    columns: Mapping[str, list[Any]] = field(default_factory=dict)
    step_rewards: Mapping[str, Tensor] = field(default_factory=dict)
    step_mask: Tensor | None = None
    step_ends: Tensor | None = None
