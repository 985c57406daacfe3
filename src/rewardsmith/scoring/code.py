"""Read a reward's code without running it: what it holds, the texts that it names, and the arguments that it reads."""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from rewardsmith.describe import function_of, keywords_of

MOST_PARTS, MOST_HELD = 200, 24
"""The most objects inside a reward in which to look for texts, and of what a container holds."""


def held_by(part: Any) -> Iterator[Any]:
    """Yield what a `partial`, a method, a container, an object or a closure holds."""
    if isinstance(part, partial):
        yield from (part.func, *part.args, *part.keywords.values())
    elif isinstance(part, MethodType):
        yield from (part.__func__, part.__self__)
    elif isinstance(part, Mapping):
        yield from part.values()
    elif isinstance(part, list | tuple | set | frozenset):
        yield from part
    elif not isinstance(part, ModuleType | type):
        yield from getattr(part, "__dict__", {}).values()
        for name in (name for kind in type(part).__mro__ for name in getattr(kind, "__slots__", ())):
            yield getattr(part, name, None)
        for cell in getattr(part, "__closure__", None) or ():
            try:
                yield cell.cell_contents
            except ValueError:  # a cell without a value yet
                continue


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function, and of those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def _constants(code: CodeType) -> Iterator[Any]:
    """Yield the constants of a function, with those of the functions inside it in their place."""
    for constant in code.co_consts:
        yield from _constants(constant) if isinstance(constant, CodeType) else (constant,)


def strings_in(reward: Any) -> Iterator[str]:
    """Yield the strings and patterns that a reward's code names.

    These are constants of its functions, of functions and globals of the same module that they use, and what its
    object holds. Docstrings do not count.
    """
    waiting, seen = [reward], set[int]()
    while waiting and len(seen) < MOST_PARTS:
        part = waiting.pop(0)
        if isinstance(part, str):
            yield part
        elif isinstance(part, re.Pattern):
            yield part.pattern if isinstance(part.pattern, str) else ""
        elif id(part) not in seen:
            seen.add(id(part))
            if isinstance(part, FunctionType):
                constants = [c for c in _constants(part.__code__) if isinstance(c, str | tuple | frozenset)]
                waiting += [constant for constant in constants if constant != part.__doc__]
                names = [name for code in codes_in(part.__code__) for name in code.co_names]
                used = [part.__globals__[name] for name in names if name in part.__globals__]
                waiting += [u for u in used if not callable(u) or getattr(u, "__module__", "") == part.__module__]
                waiting += [*held_by(part), *(part.__defaults__ or ())]
            elif isinstance(part, Mapping):
                waiting += [*islice(part, MOST_HELD), *islice(part.values(), MOST_HELD)]
            elif isinstance(part, list | tuple | set | frozenset):
                waiting += islice(part, MOST_HELD)
            elif callable(part):
                waiting += held_by(part)
                if not isinstance(part, partial | MethodType | type):
                    own = vars(type(part)).values()
                    waiting += [one for one in own if isinstance(one, FunctionType | str | tuple | list)]


def columns_read(reward: Any) -> frozenset[str]:
    """Return the parameters that a reward uses, and the keys that it takes out of its keywords; "**" is all of them.

    Without Python code, these are all its parameters.

    >>> def style(completions, answer, **columns):
    ...     return [len(text) / columns["most"] for text in completions]
    >>> sorted(columns_read(style))
    ['completions', 'most']
    """
    function = getattr(reward, "function", reward)
    bound, plain = keywords_of(function), inspect.unwrap(function_of(function))
    names = inspect.signature(plain).parameters
    code = getattr(plain if inspect.isroutine(plain) else type(plain).__call__, "__code__", None)
    if not isinstance(code, CodeType):
        return frozenset(names) - bound.keys()
    keywords = next((name for name, given in names.items() if given.kind is given.VAR_KEYWORD), "")
    read: set[str] = set()
    for steps in (list(dis.get_instructions(part)) for part in codes_in(code)):
        for place, step in enumerate(steps):
            loaded = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            if "LOAD" not in step.opname or step.opname == "LOAD_CONST":
                continue
            read.update(name for name in loaded if name in names and name != keywords)
            if keywords and keywords in loaded and step.opname != "LOAD_CLOSURE":
                following = [one for one in steps[place + 1 : place + 4] if one.opname not in ("CACHE", "PRECALL")]
                keys = [one.argval for one in following[:2] if isinstance(one.argval, str) and "CONST" in one.opname]
                read.add(keys[0] if keys else "**")
    return frozenset(read) - bound.keys()
