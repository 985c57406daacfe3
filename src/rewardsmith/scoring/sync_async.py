"""Rewards around other rewards, written once: a method yields its calls, and is async only where one of them is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import wraps
from types import new_class
from typing import Any, ClassVar

Calls = Generator[Sequence[Callable[[], Any]], list[Any], Any]
"""Yields calls, is sent their results in order, and returns its own."""


def sync_or_async(method: Callable[..., Calls]) -> Callable[..., Any]:
    """Make a generator method of a `SyncOrAsync` class one that makes the calls it yields and returns what it returns.

    Where the instance is async, it is a coroutine function, and the calls of one `yield` run concurrently.
    """

    @wraps(method)
    def direct(*args: Any, **options: Any) -> Any:
        calls, results = method(*args, **options), None
        while True:
            try:
                wanted = calls.send(results)  # type: ignore[arg-type]
            except StopIteration as end:
                return end.value
            results = [call() for call in wanted]

    @wraps(method)
    async def awaiting(*args: Any, **options: Any) -> Any:
        calls, results = method(*args, **options), None
        while True:
            try:
                wanted = calls.send(results)  # type: ignore[arg-type]
            except StopIteration as end:
                return end.value
            alone = len(wanted) == 1  # then no task is made: an exit that a call raises would end the loop from one
            results = [await _result(wanted[0])] if alone else await asyncio.gather(*map(_result, wanted))

    direct.awaiting = awaiting  # type: ignore[attr-defined]
    return direct


class SyncOrAsync:
    """A reward whose `sync_or_async` methods are async where it says so at the end of its construction.

    Trainers look at the type's `__call__` to tell, so the async ones are of a subclass that is made with the class.
    """

    direct: ClassVar[type]
    awaiting: ClassVar[type]

    def __init_subclass__(cls, of: type | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if of is None:
            methods = {name: found.awaiting for name, found in vars(cls).items() if hasattr(found, "awaiting")}
            place = {"__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.awaiting"}  # for pickle
            cls.direct = cls
            cls.awaiting = new_class(cls.__name__, (cls,), {"of": cls}, lambda body: body.update(methods | place))

    def become(self, *, is_async: bool) -> None:
        """Make this instance async, or not."""
        object.__setattr__(self, "__class__", type(self).awaiting if is_async else type(self).direct)


def finished(results: Mapping[str, Any], run: Callable[[Any], Any] = asyncio.run) -> dict[str, Any]:
    """The results by name, those that have to be awaited awaited side by side in one coroutine that `run` runs."""
    waiting = {name: result for name, result in results.items() if inspect.isawaitable(result)}

    async def every() -> list[Any]:
        return await asyncio.gather(*waiting.values())

    return {**results, **(dict(zip(waiting, run(every()), strict=True)) if waiting else {})}


async def _result(call: Callable[[], Any]) -> Any:
    found = call()
    return await found if inspect.isawaitable(found) else found
