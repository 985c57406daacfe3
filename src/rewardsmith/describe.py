"""Functions as text: their names, and what `functools.partial` has bound to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def function_of(function: Any) -> Any:
    """Return the function under every `partial`."""
    while isinstance(function, partial):
        function = function.func
    return function


def name_of(function: Any) -> str:
    """Return the name under every `partial`, or the class of a callable object."""
    function = function_of(function)
    return str(getattr(function, "__name__", type(function).__name__))


def keywords_of(function: Any) -> dict[str, Any]:
    """Return the keywords that every `partial` has bound, the outer ones first in force."""
    keywords: dict[str, Any] = {}
    while isinstance(function, partial):
        keywords = {**function.keywords, **keywords}
        function = function.func
    return keywords


def brief(value: object) -> str:
    """Write a bound value in few characters: a tensor by its shape, a function by its name."""
    if getattr(value, "ndim", 0):
        return f"tensor{tuple(value.shape)}"  # type: ignore[attr-defined]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return describe(value) if hasattr(function_of(value), "__name__") else repr(value)


def describe(function: Any, show: Callable[[object], str] = brief) -> str:
    """Write a function with what is bound to it.

    >>> describe(partial(sorted, reverse=True))
    'sorted(reverse=True)'
    """
    positional: list[str] = []
    inner = function
    while isinstance(inner, partial):
        positional = [*map(show, inner.args), *positional]
        inner = inner.func
    bound = [*positional, *(f"{name}={show(value)}" for name, value in keywords_of(function).items())]
    return f"{name_of(function)}({', '.join(bound)})" if bound else name_of(function)
