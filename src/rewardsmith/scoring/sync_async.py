"""Write wrappers of rewards once for sync and async: a method yields its calls, and is async only if one of them is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial, wraps
from types import new_class
from typing import Any, ClassVar

from rewardsmith.scoring.waiting import awaited

Calls = Generator[Sequence[Callable[[], Any]], list[Any], Any]
"""A generator that yields calls, receives their results in order, and returns its own result."""


def sync_or_async(method: Callable[..., Calls]) -> Callable[..., Any]:
    """Turn a generator method of a `SyncOrAsync` class into one that makes the yielded calls and returns the result.

    On an async instance it is a coroutine function, and the calls of one `yield` run concurrently. An exception of a
    call is raised at its `yield`.
    """

    @wraps(method)
    def direct(*args: Any, **options: Any) -> Any:
        calls = method(*args, **options)
        proceed: Callable[[], Any] = partial(next, calls)
        while True:
            try:
                wanted = proceed()
            except StopIteration as end:
                return end.value
            try:
                proceed = partial(calls.send, [call() for call in wanted])
            except StopIteration:  # no generator can raise it
                raise
            except Exception as error:
                proceed = partial(calls.throw, error)

    @wraps(method)
    async def awaiting(*args: Any, **options: Any) -> Any:
        calls = method(*args, **options)
        proceed: Callable[[], Any] = partial(next, calls)
        while True:
            try:
                wanted = proceed()
            except StopIteration as end:
                return end.value
            alone = len(wanted) == 1  # no task is needed, and an exit raised inside a task would end the loop
            try:
                results = [await _result(wanted[0])] if alone else await asyncio.gather(*map(_result, wanted))
                proceed = partial(calls.send, results)
            except Exception as error:
                proceed = partial(calls.throw, error)

    direct.awaiting = awaiting  # type: ignore[attr-defined]
    return direct


class SyncOrAsync:
    """A reward whose `sync_or_async` methods are async if its construction ends by choosing so.

    Trainers inspect the type's `__call__`, so async instances get a subclass that is created with the class.
    """

    direct: ClassVar[type]
    awaiting: ClassVar[type]

    def __init_subclass__(cls, of: type | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if of is None:
            named = inspect.getmembers(cls, inspect.isfunction)
            methods = {name: found.awaiting for name, found in named if hasattr(found, "awaiting")}
            place = {"__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.awaiting"}  # for pickle
            cls.direct = cls
            cls.awaiting = new_class(cls.__name__, (cls,), {"of": cls}, lambda body: body.update(methods | place))

    def become(self, *, is_async: bool) -> None:
        """Make this instance async or sync."""
        object.__setattr__(self, "__class__", type(self).awaiting if is_async else type(self).direct)


def finished(results: Mapping[str, Any], run: Callable[[Any], Any] = awaited) -> dict[str, Any]:
    """Return the results by name; awaitable ones are awaited concurrently in one coroutine that `run` runs."""
    waiting = {name: result for name, result in results.items() if inspect.isawaitable(result)}

    async def every() -> list[Any]:
        return await asyncio.gather(*waiting.values())

    return {**results, **(dict(zip(waiting, run(every()), strict=True)) if waiting else {})}


async def _result(call: Callable[[], Any]) -> Any:
    found = call()
    return await found if inspect.isawaitable(found) else found
