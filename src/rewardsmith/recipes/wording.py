"""Terms as a line of text: sums and comparisons in infix, everything else as a call.

A term is given by its function, its parts, and the terms that the function takes by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewardsmith.describe import brief, keywords_of, name_of

_COMPARISONS = {"is_above": (">", "≥"), "is_below": ("<", "≤")}
_INFIX = ("weighted_sum", "rescale", *_COMPARISONS)


def in_words(function: Callable[..., Any], parts: Sequence[Any], given: Mapping[str, Any]) -> str:
    """Write a term as text.

    >>> from rewardsmith.recipes import source
    >>> a, b = source(max, "correct"), source(min, "format")
    >>> print((a + 0.2 * b).where(a >= 0.5) - 1)
    [correct + 0.2·format if correct ≥ 0.5 else 0] − 1
    """
    name, held = name_of(function), keywords_of(function)
    weights = weights_of(function)
    if weights and len(weights) == len(parts):
        words = ""
        for weight, part in zip(weights, parts, strict=True):
            size = "" if abs(weight) == 1 else f"{abs(weight):g}·"
            sign = ("−" if weight < 0 else "") if not words else (" − " if weight < 0 else " + ")
            words += f"{sign}{size}{_tight(part)}"
        return words
    if name in ("rescale", *_COMPARISONS):
        return _applied_to(_tight(parts[0]), name, held)
    if name == "gate" and set(given) == {"condition"}:
        return f"[{parts[0]} if {given['condition']} else {held.get('below', 0.0):g}]"
    named = [f"{key}={value}" for key, value in given.items()] + [f"{key}={brief(v)}" for key, v in held.items()]
    return f"{name}({', '.join([*map(str, parts), *named])})"


def operation(function: Callable[..., Any]) -> str:
    """Write the operation of a term on its first part r, without that part, as the label of a box in a drawing."""
    name, held = name_of(function), keywords_of(function)
    if weights_of(function):
        return "sum"
    if name in ("rescale", *_COMPARISONS):
        return _applied_to("r", name, held)
    return "\n".join([name, *(f"{key} = {brief(value)}" for key, value in held.items())])


def weights_of(function: Callable[..., Any]) -> list[float]:
    """Return the weights of a plain weighted sum, one per part; none for any other function."""
    held = keywords_of(function)
    return list(held["weights"]) if name_of(function) == "weighted_sum" and set(held) == {"weights"} else []


def _applied_to(what: str, name: str, held: Mapping[str, Any]) -> str:
    """Write a factor and an offset, or a comparison."""
    if name in _COMPARISONS:
        return f"{what} {_COMPARISONS[name][not held.get('strict', True)]} {held['threshold']:g}"
    scale, shift = held.get("scale", 1.0), held.get("shift", 0.0)
    size = {1.0: "", -1.0: "−"}.get(scale, f"{scale:g}·".replace("-", "−"))
    return f"{size}{what}" + (f" {'−' if shift < 0 else '+'} {abs(shift):g}" if shift else "")


def _tight(term: Any) -> str:
    """Write a part inside an infix form, in parentheses where it is one itself."""
    loose = name_of(getattr(term, "function", None)) in _INFIX
    return f"({term})" if loose else str(term)
