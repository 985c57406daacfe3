"""Terms: sources, columns, and transforms applied to them, composed by ordinary operators.

A term describes a computation. It is evaluated on a batch, has a scope, and can be printed and drawn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rewardsmith.describe import keywords_of, name_of
from rewardsmith.recipes.wording import in_words
from rewardsmith.transforms import gate, rescale, weighted_sum
from rewardsmith.transforms.shape import is_above, is_below
from rewardsmith.types import Scope, named_by, needed_by, traits_of

Kind = Literal["rewards", "steps"]


class Term:
    """Part of a recipe: `a + 0.2 * b`, `a.then(transform, …)`, `a.where(b > 0.5)`."""

    @property
    def inputs(self) -> tuple[Term, ...]:
        """Terms from which this one is computed."""
        return ()

    @property
    def scope(self) -> Scope:
        """Scope of this term: the widest of its parts."""
        return "row"

    @property
    def kind(self) -> Kind:
        """Kind of the value: (B,) rewards or (B, N) step rewards."""
        return "rewards"

    def then(self, function: Callable[..., Tensor], **arguments: Any) -> Term:
        """Apply a transform: `function(self, **arguments)`.

        Args:
            function: declares `Traits`; its further parameters are filled by name, from `arguments` first, then from
                the batch (`group_size`, `lengths`, a column, …).
            arguments: numbers and words are bound; a term is evaluated and passed as a tensor.
        """
        return combine(function, self, **arguments)

    def where(self, condition: Term, *, below: float = 0.0) -> Term:
        """Keep this term where `condition` holds, with `below` where it fails, and unscored where it is unknown."""
        if not isinstance(condition, Term):
            raise TypeError(f"recipe: where takes a condition such as `{self} > 0.5`, and got {condition!r}.")
        return self.then(gate, condition=condition, below=below)

    def __bool__(self) -> bool:  # `a and b` is b to Python, so that a would be lost
        raise TypeError(
            f"recipe: {self} is true or false only once a row is scored, so `and`, `or`, `not` and `0 < a < 1` cannot "
            "read it. Nest conditions: a.where(b > 0.5).where(c > 0.5)."
        )

    def __add__(self, other: Term | float) -> Term:
        return added(self, other) if isinstance(other, Term) else shifted(self, float(other))

    def __sub__(self, other: Term | float) -> Term:
        return self + (-other)

    def __mul__(self, factor: float) -> Term:
        if isinstance(factor, Term):
            raise TypeError(
                f"recipe: {self} * {factor} multiplies two terms. Use .where(condition) to gate one by the other."
            )
        if isinstance(self, Applied) and name_of(self.function) == "rescale" and not self.given:
            held = keywords_of(self.function)
            scale, shift = factor * held.get("scale", 1.0), factor * held.get("shift", 0.0)
            return combine(rescale, *self.parts, scale=scale, shift=shift)
        return self.then(rescale, scale=float(factor))

    def __neg__(self) -> Term:
        return self * -1.0

    def __rsub__(self, other: float) -> Term:
        return -self + other

    def __gt__(self, threshold: float) -> Term:
        return self.then(is_above, threshold=float(threshold))

    def __ge__(self, threshold: float) -> Term:
        return self.then(is_above, threshold=float(threshold), strict=False)

    def __lt__(self, threshold: float) -> Term:
        return self.then(is_below, threshold=float(threshold))

    def __le__(self, threshold: float) -> Term:
        return self.then(is_below, threshold=float(threshold), strict=False)

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True, eq=False)
class Named(Term):
    """A value of the batch, by name."""

    name: str

    def __str__(self) -> str:
        return self.name


class Column(Named):
    """A numeric column of the data set, for transforms that read it under another name."""


@dataclass(frozen=True, eq=False)
class Source(Named):
    """A named reward: (B,) scores, NaN where it gave None."""

    reward: Any


@dataclass(frozen=True, eq=False)
class StepSource(Named):
    """A named process reward: (B, N) step scores, NaN where unscored or where there is no step."""

    reward: Any

    @property
    def kind(self) -> Kind:
        return "steps"


@dataclass(frozen=True, eq=False)
class Applied(Term):
    """A transform applied to one term, or to several stacked as (B, K).

    given: further tensors for the transform by name, each a term.
    """

    function: Callable[..., Tensor]
    parts: tuple[Term, ...]
    given: Mapping[str, Term] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Term, ...]:
        return (*self.parts, *self.given.values())

    @property
    def scope(self) -> Scope:
        own = traits_of(self.function).scope
        return max((own, *(part.scope for part in self.inputs)), key=get_args(Scope).index)

    @property
    def kind(self) -> Kind:
        return "steps" if any(part.kind == "steps" for part in self.parts) else "rewards"

    def __str__(self) -> str:
        return in_words(self.function, self.parts, self.given)


def source(reward: Any, name: str | None = None) -> Source:
    """Return a reward in TRL's contract as a term; a model id or module serves too in our TRL trainers.

    Raises:
        TypeError: it is neither callable nor a model id, `owner/name`, nor a model's folder.

    >>> def brevity(completions, **columns):
    ...     return [-float(len(text)) for text in completions]
    >>> print(0.5 * source(brevity) + source(brevity, "again"))
    0.5·brevity + again
    """
    is_model = isinstance(reward, str) and ("/" in reward or os.path.isdir(reward))
    return Source(_name(reward if is_model else _called(reward, "source"), name, "source"), reward)


def step_source(reward: Any, name: str | None = None) -> StepSource:
    """Return a process reward (`types.ProcessReward`) as a term of step rewards."""
    return StepSource(_name(_called(reward, "step_source"), name, "step_source"), reward)


def column(name: str) -> Column:
    """Return a numeric column of the rows as a term: `rm.then(par, ref_rewards=column("ref_help"))`."""
    return Column(name)


def combine(function: Callable[..., Tensor], *terms: Term, **arguments: Any) -> Term:
    """Stack terms as (B, K) and combine them by `function(source_rewards, **arguments)`, such as `logical_and`.

    A function whose first parameter is `levels` gets them as a list, and may mix rewards with step rewards:
    `combine(gated_step_sum, prm, right, thresholds=[0.0, 0.0])`.
    """
    if not callable(function):
        raise TypeError(f"recipe: {function!r} is not a function. Import the transform and pass the function itself.")
    if not terms:
        raise ValueError(f"combine: {name_of(function)} was given no terms. Pass at least one.")
    strays = [term for term in terms if not isinstance(term, Term)]
    if strays:
        raise TypeError(
            f"recipe: {strays[0]!r} is not a term. Wrap a reward with recipes.source, a column with column."
        )
    given = {name: value for name, value in arguments.items() if isinstance(value, Term)}
    bound = {name: value for name, value in arguments.items() if name not in given}
    traits_of(function)  # raises here rather than in training where the scope is unknown
    whole = partial(function, **bound) if bound else function
    if any(term.kind == "steps" for term in terms) and len(terms) > 1 and not _takes_levels(whole):
        raise TypeError(
            f"recipe: {name_of(function)} cannot stack step rewards with {len(terms) - 1} other terms. Combine steps "
            "with an outcome through .then(add_outcome, rewards=outcome), or by "
            "combine(gated_step_sum, steps, outcome)."
        )
    return Applied(whole, terms, given)


def shifted(term: Term, shift: float) -> Term:
    """Add a number to a term, folded into a factor and offset that is already there."""
    if not shift:
        return term
    if isinstance(term, Applied) and name_of(term.function) == "rescale":
        held = keywords_of(term.function)
        return combine(rescale, *term.parts, **{**held, "shift": held.get("shift", 0.0) + shift})
    return term.then(rescale, shift=shift)


def added(left: Term, right: Term) -> Term:
    """Add two terms as one weighted sum over all summands of both, whose factors become its weights."""
    weighed = [*_summands(left), *_summands(right)]
    weights = [weight for weight, _ in weighed]
    return combine(weighted_sum, *(term for _, term in weighed), weights=weights)


def _summands(term: Term) -> list[tuple[float, Term]]:
    if isinstance(term, Applied) and not term.given:
        held = keywords_of(term.function)
        if name_of(term.function) == "weighted_sum" and set(held) <= {"weights"}:
            return list(zip(held.get("weights", [1.0] * len(term.parts)), term.parts, strict=True))
        if name_of(term.function) == "rescale" and (scale := held.get("scale", 1.0)):
            return [(scale, shifted(term.parts[0], held.get("shift", 0.0) / scale))]
    return [(1.0, term)]


def evaluate(term: Term, context: Mapping[str, Any], known: dict[int, Tensor] | None = None) -> Tensor:
    """Compute the value of a term on one batch, each shared part once.

    Args:
        context: by name, the (B,) values of every source, the (B, N) of every step source, and all other values for
            transforms.
        known: values of terms already computed, by identity.

    Returns:
        (B,) or (B, N).
    """
    known = {} if known is None else known
    if id(term) in known:
        return known[id(term)]
    value: Any
    if isinstance(term, Applied):
        values = [evaluate(part, context, known) for part in term.parts]
        offered = {**context, **{name: evaluate(part, context, known) for name, part in term.given.items()}}
        remedy = "Pass it to .then(...) by name, as a column(...), or bind a number."
        needed_by("recipe", term.function, offered, remedy=remedy)
        value = apply(term.function, values, offered)
    else:
        name = term.name  # type: ignore[attr-defined]
        value = context.get(name)
        if not isinstance(value, Tensor):
            what = type(term).__name__.lower()
            raise TypeError(
                f"recipe: {what} {name!r} is {'missing' if value is None else type(value).__name__}, and a tensor of "
                "numbers is needed. Add a numeric column of that name to the rows."
            )
    return known.setdefault(id(term), value)


def apply(function: Callable[..., Any], values: Sequence[Tensor], context: Mapping[str, Any]) -> Tensor:
    """Call `function` on values, stacked or as a list by its first parameter's name, and fill the rest by name."""
    asked = named_by(function, context)
    if _takes_levels(function):
        result: Any = function(values, **asked.given)
    else:
        stacked = len(values) > 1 or (asked.first == "source_rewards" and values[0].dim() == 1)
        result = function(torch.stack(list(values), dim=-1) if stacked else values[0], **asked.given)
    value: Tensor = result[0] if isinstance(result, tuple) else result  # of several results the first is the rewards
    return value


def _takes_levels(function: Callable[..., Any]) -> bool:
    return named_by(function, {}).first == "levels"


def walk(term: Term) -> Iterator[Term]:
    """Yield every term below and including this one, inputs first, each once."""
    seen: set[int] = set()

    def visit(node: Term) -> Iterator[Term]:
        if id(node) not in seen:
            seen.add(id(node))
            for part in node.inputs:
                yield from visit(part)
            yield node

    return visit(term)


def _called(reward: Any, caller: str) -> Any:
    if not callable(reward):
        raise TypeError(
            f"{caller}: {reward!r} cannot be called. Pass the function itself, scoring.load_reward('module:name'), or, "
            "to recipes.source, a model id such as 'owner/name'."
        )
    return reward


def _name(reward: Any, name: str | None, caller: str) -> str:
    found = name or (reward.rsplit("/", 1)[-1] if isinstance(reward, str) else name_of(reward))
    if not found or found == "<lambda>":
        raise ValueError(f"{caller}: {reward!r} has no name to print or log it by. Pass one: {caller}(reward, 'name').")
    return found
