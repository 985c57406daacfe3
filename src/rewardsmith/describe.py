"""Functions as text, with their names and the arguments bound by `functools.partial`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any


def function_of(function: Any) -> Any:
    """Return the function inside every `partial`."""
    while isinstance(function, partial):
        function = function.func
    return function


def keywords_of(function: Any) -> dict[str, Any]:
    """Return the keywords that every `partial` has bound; of one name the outermost."""
    return {**keywords_of(function.func), **function.keywords} if isinstance(function, partial) else {}


def name_of(function: Any) -> str:
    """Return the name of the function inside every `partial`, or the class of a callable object."""
    function = function_of(function)
    return str(getattr(function, "__name__", type(function).__name__))


def brief(value: object) -> str:
    """Write a value in few characters: a tensor by its shape, a number as it was typed."""
    if getattr(value, "ndim", 0):
        return f"tensor{tuple(value.shape)}"  # type: ignore[attr-defined]
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else repr(value)


def describe(function: Any, show: Callable[[object], str] = brief) -> str:
    """Write a function with its bound arguments, keywords in the order of its signature.

    >>> describe(partial(sorted, reverse=True, key=len))
    'sorted(key=len, reverse=True)'
    """
    if not isinstance(function, partial):
        return name_of(function)
    bound = keywords_of(function)
    try:
        places = list(inspect.signature(function_of(function)).parameters)
    except (TypeError, ValueError):
        places = []
    names = sorted(bound, key=lambda name: (places.index(name) if name in places else len(places), name))

    def shown(value: object) -> str:
        return describe(value, show) if hasattr(function_of(value), "__name__") else show(value)

    written = [*map(shown, function.args), *(f"{name}={shown(bound[name])}" for name in names)]
    return f"{name_of(function)}({', '.join(written)})"
