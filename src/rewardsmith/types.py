"""The contracts by which the rooms meet: what a reward is, what a transform declares, what a batch carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Message = dict[str, Any]
"""One chat turn, `{"role": ..., "content": ...}`."""
Text = str | list[Message]
"""A prompt or completion in TRL's standard form (a string) or conversational form (a list of messages)."""
Completion = Text

Scope = Literal["row", "prompt", "batch", "run"]
"""What a component must see: one row, a prompt's whole group, the gathered batch, or statistics of the run so far."""


class Reward(Protocol):
    """TRL's reward contract: keyword lists in, one number or None (unscored) per row out, sync or async."""

    def __call__(
        self, *, prompts: list[Text], completions: list[Completion], **columns: Any
    ) -> Sequence[float | None] | Awaitable[Sequence[float | None]]: ...


class TransitionReward(Protocol):
    """Gymnasium's side: batch-first transitions in, (B,) rewards out."""

    def __call__(self, obs: Tensor, action: Tensor, next_obs: Tensor, terminated: Tensor) -> Tensor: ...


class Traits(NamedTuple):
    """What a transform declares of itself.

    scope: what it must see to be computed.
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
    """The traits a transform declares, seen through `functools.partial`.

    Raises:
        TypeError: it declares none.
    """
    keywords: dict[str, Any] = {}
    while isinstance(transform, partial):
        keywords = {**transform.keywords, **keywords}
        transform = transform.func
    traits = getattr(transform, "__traits__", None)
    if traits is None:
        raise TypeError(
            f"traits_of: {transform!r} declares no traits, so nobody can tell where it may run. "
            "Decorate it with @declares(Traits(scope=..., affine=..., bounded=...))."
        )
    return traits if isinstance(traits, Traits) else traits(**keywords)


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """One gathered batch, as the advantage stage sees it; a prompt's completions are consecutive.

    source_rewards: (B, K) raw rewards of K named sources, NaN where unscored.
    source_names: K names, unique.
    group_size: G, so that B = P·G.
    completion_mask: (B, T) True where a completion token counts, or None.
    columns: everything else the rows carried, each a list of B.
    """

    source_rewards: Tensor
    source_names: tuple[str, ...]
    group_size: int
    completion_mask: Tensor | None = None
    columns: Mapping[str, list[Any]] = field(default_factory=dict)


__all__ = [
    "Completion",
    "Message",
    "Reward",
    "RewardBatch",
    "Scope",
    "Text",
    "Traits",
    "TransitionReward",
    "declares",
    "traits_of",
]
