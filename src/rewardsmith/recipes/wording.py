"""Terms as a line of text: sums and comparisons in infix, everything else as a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rewardsmith.recipes.terms import Applied, Term, keywords_of, named


def in_words(term: Applied) -> str:
    """A term as a reader would write it.

    >>> from rewardsmith.recipes import source
    >>> a, b = source(max, "correct"), source(min, "format")
    >>> print((a + 0.2 * b).where(a >= 0.5) - 1)
    [correct + 0.2·format if correct ≥ 0.5 else 0] − 1
    """
    form = _INFIX.get(named(term.function))
    words = form(term) if form else None
    return _call(term) if words is None else words


def operation(term: Applied) -> str:
    """What a term does to its first part, without saying what that part is: the label of a box in a drawing."""
    name = named(term.function)
    held = keywords_of(term.function)
    if weights_of(term):
        return "sum"
    if name == "rescale":
        return _rescaled("r", held)
    if name in _COMPARISONS:
        return f"r {_sign(name, held)} {held['threshold']:g}"
    return "\n".join([name, *(f"{key} = {brief(value)}" for key, value in held.items())])


def weights_of(term: Applied) -> list[float]:
    """The weights of a plain weighted sum, one per part; none for any other term."""
    held = keywords_of(term.function)
    return list(held["weights"]) if named(term.function) == "weighted_sum" and set(held) == {"weights"} else []


def described(function: Any) -> str:
    """A function with what is bound to it: `rank_filter(rule='bw')`."""
    shown = ", ".join(f"{key}={brief(value)}" for key, value in keywords_of(function).items())
    return f"{named(function)}({shown})" if shown else named(function)


def brief(value: object) -> str:
    """A bound argument in few characters."""
    if isinstance(value, Tensor) and value.ndim:
        return f"tensor{tuple(value.shape)}"
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _call(term: Applied) -> str:
    held = [f"{key}={brief(value)}" for key, value in keywords_of(term.function).items()]
    given = [f"{key}={part}" for key, part in term.given.items()]
    return f"{named(term.function)}({', '.join([*map(str, term.parts), *given, *held])})"


def _sum(term: Applied) -> str | None:
    weights = weights_of(term)
    if len(weights) != len(term.parts):
        return None
    words = ""
    for weight, part in zip(weights, term.parts, strict=True):
        size = "" if abs(weight) == 1 else f"{abs(weight):g}·"
        sign = ("−" if weight < 0 else "") if not words else (" − " if weight < 0 else " + ")
        words += f"{sign}{size}{_tight(part)}"
    return words


def _scaled(term: Applied) -> str:
    return _rescaled(_tight(term.parts[0]), keywords_of(term.function))


def _rescaled(what: str, held: dict[str, Any]) -> str:
    scale, shift = held.get("scale", 1.0), held.get("shift", 0.0)
    size = {1.0: "", -1.0: "−"}.get(scale, f"{scale:g}·".replace("-", "−"))
    return f"{size}{what}" + (f" {'−' if shift < 0 else '+'} {abs(shift):g}" if shift else "")


_COMPARISONS = {"is_above": (">", "≥"), "is_below": ("<", "≤")}


def _sign(name: str, held: dict[str, Any]) -> str:
    return _COMPARISONS[name][not held.get("strict", True)]


def _compared(term: Applied) -> str:
    held = keywords_of(term.function)
    return f"{_tight(term.parts[0])} {_sign(named(term.function), held)} {held['threshold']:g}"


def _gated(term: Applied) -> str | None:
    held = keywords_of(term.function)
    if set(term.given) != {"condition"}:
        return None
    return f"[{term.parts[0]} if {term.given['condition']} else {held.get('below', 0.0):g}]"


def _tight(term: Term) -> str:
    """A part inside an infix form, in parentheses where it is one itself."""
    words = str(term)
    loose = isinstance(term, Applied) and named(term.function) in ("weighted_sum", "rescale", *_COMPARISONS)
    return f"({words})" if loose else words


_INFIX: dict[str, Callable[[Applied], str | None]] = {
    "weighted_sum": _sum,
    "rescale": _scaled,
    "is_above": _compared,
    "is_below": _compared,
    "gate": _gated,
}
