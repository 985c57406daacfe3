"""Collect the texts that a reward looks for: string constants and patterns of its functions, read and never run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

MOST_PARTS = 200  # objects inside a reward that are looked at
MOST_TEXTS = 24
MOST_ALTERNATIVES = 8  # of one pattern
LONGEST = 80  # characters
ANYTHING = "…"  # written where a pattern matches nearly any character
_SPECIAL = re.compile(r"[\\|\[\](){}*+?^$]")


def texts_in(reward: Any) -> list[str]:
    """Return up to `MOST_TEXTS` texts that a reward's code names; of a pattern, short texts that it matches.

    These are constants of its functions, of functions and globals of the same module that they use, and what its
    object holds. Docstrings do not count. A reward model has none.

    >>> def polite(completions):
    ...     return [float(bool(re.search("please|thank(s| you)", c))) for c in completions]
    >>> texts_in(polite)
    ['please', 'thanks', 'thank you']
    """
    if hasattr(reward, "content_digest"):
        return []
    found: dict[str, None] = {}
    for text in _strings(reward):
        for word in matches_of(text) if _SPECIAL.search(text) else [text]:
            if 2 <= len(word.strip()) <= LONGEST and re.search(r"\w", word):
                found[word.strip()] = None
    return list(found)[:MOST_TEXTS]


def _strings(reward: Any) -> Iterator[str]:
    waiting, seen = [reward], set[int]()
    while waiting and len(seen) < MOST_PARTS:
        part = waiting.pop(0)
        if isinstance(part, str):
            yield part
        elif isinstance(part, re.Pattern):
            yield part.pattern if isinstance(part.pattern, str) else ""
        elif id(part) not in seen:
            seen.add(id(part))
            waiting += _inside(part)


def _inside(part: Any) -> list[Any]:
    found: list[Any] = []
    if isinstance(part, partial):
        found = [part.func, *part.args, *part.keywords.values()]
    elif isinstance(part, MethodType):
        found = [part.__func__, part.__self__]
    elif isinstance(part, Mapping):
        found = [*islice(part.keys(), MOST_TEXTS), *islice(part.values(), MOST_TEXTS)]
    elif isinstance(part, list | tuple | set | frozenset):
        found = list(islice(part, MOST_TEXTS))
    elif isinstance(part, FunctionType):
        found = _inside_function(part)
    elif callable(part) and not isinstance(part, type):  # an object, such as an instance of a reward class
        own = [one for one in vars(type(part)).values() if isinstance(one, FunctionType | str | tuple | list)]
        found = [*getattr(part, "__dict__", {}).values(), *own]
    return found


def _inside_function(function: FunctionType) -> list[Any]:
    """Return the constants of a function, and what it uses of its own module and of the functions around it."""
    names, constants = _read(function.__code__)
    texts = [text for text in constants if text != function.__doc__]
    used = [function.__globals__[name] for name in names if name in function.__globals__]
    near = [one for one in used if not callable(one) or getattr(one, "__module__", "") == function.__module__]
    held = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
    return [*texts, *near, *held, *(function.__defaults__ or ())]


def _read(code: CodeType) -> tuple[list[str], list[Any]]:
    """Return the names and the constants of a code object and of all code inside it."""
    names, constants = list(code.co_names), list[Any]()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner_names, inner = _read(constant)
            names, constants = names + inner_names, constants + inner
        elif isinstance(constant, str | tuple | frozenset):
            constants.append(constant)
    return names, constants


def matches_of(pattern: str) -> list[str]:
    """Return short texts that a regular expression matches, one for each of its alternatives.

    >>> matches_of(r"score:\\s*10/10|\\b(well|nicely) done"), matches_of("(")
    (['score:10/10', 'well done', 'nicely done'], ['('])
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except (re.error, RecursionError, OverflowError):
        return [pattern]
    return list(dict.fromkeys(_written(list(parsed))))[:MOST_ALTERNATIVES]


def _written(nodes: list[Any]) -> list[str]:
    """Write the shortest text of each alternative of a parsed pattern."""
    texts = [""]
    for operator, given in nodes:
        name, options = str(operator), [""]
        if name == "LITERAL":
            options = [chr(given)]
        elif name in ("ANY", "NOT_LITERAL"):
            options = [ANYTHING]
        elif name == "IN":
            options = [_one_of(given)]
        elif name == "BRANCH":
            options = [text for branch in given[1] for text in _written(list(branch))]
        elif name == "SUBPATTERN":
            options = _written(list(given[-1]))
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            options = [text * min(given[0], 20) for text in _written(list(given[2]))]
        elif name == "ATOMIC_GROUP":
            options = _written(list(given))
        texts = [text + option for text in texts for option in dict.fromkeys(options)][:MOST_ALTERNATIVES]
    return texts


def _one_of(members: list[Any]) -> str:
    """Return one character of a set of characters."""
    usual = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "x"}
    operator, given = members[0]
    if str(operator) == "NEGATE":
        return ANYTHING
    if str(operator) == "LITERAL":
        return chr(given)
    if str(operator) == "RANGE":
        return chr(given[0])
    return usual.get(str(given), "x")
