"""Wait for a reward's call: under a time limit, or in a thread; and measure whether a call computes or waits."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")

MOST_MEASURED = 100
"""Calls whose processor time is kept."""


def awaited(result: Any) -> Any:
    """Return a result, awaited in an event loop of its own if it is awaitable.

    Where a loop runs already, as in a notebook, that one stands in a thread, and the caller's waits for it.
    """

    async def whole() -> Any:  # `asyncio.run` takes only coroutines
        return await result

    if not isinstance(result, Awaitable):
        return result
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(whole())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, whole()).result()


def at_once(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that waits for nothing, without an event loop, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("the coroutine waits")


async def within(timeout: float | None, call: Awaitable[Any]) -> Any:
    """Return the result of `call`, or raise TimeoutError; an exit that it raises is raised here, not in its task."""

    async def caught() -> tuple[Any, BaseException | None]:
        try:
            return await call, None
        except (SystemExit, KeyboardInterrupt) as error:  # inside a task these would end the event loop
            return None, error

    result, error = await asyncio.wait_for(caught(), timeout)
    if error is not None:
        raise error
    return result


def _settle(future: asyncio.Future[Any], found: Any) -> None:
    if not future.done():  # its limit has passed
        future.set_result(found)


async def in_thread(call: Callable[[], Any]) -> Any:
    """Return the result of a sync call that runs in a thread of its own, awaited if it is awaitable.

    Nothing ends the thread of a call that takes too long; it ends with the process.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def run() -> None:
        try:
            found: tuple[Any, BaseException | None] = awaited(call()), None
        except BaseException as error:
            found = None, error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_settle, done, found)

    threading.Thread(target=run, daemon=True).start()
    result, error = await done
    if error is not None:
        raise error
    return result


class Meter:
    """Measure the processor seconds of the first 101 calls of a process; later ones give 0, and all if it is not `on`.

    To read the times of all threads takes as long as to score a few short rows.
    """

    def __init__(self, *, on: bool) -> None:
        self._left = MOST_MEASURED + 1 if on else 0  # the first call may load something, and does not count

    async def of(self, call: Awaitable[Result]) -> tuple[Result, float]:
        """Return the result of a call and its processor seconds."""
        if not self._left:
            return await call, 0.0
        self._left -= 1
        before = _processor_seconds()
        return await call, _processor_seconds() - before


def _processor_seconds() -> float:
    """Return the processor time of this process and of its ended children.

    On Linux the time counts for which its threads were ready and other processes had the processors, so that a call
    that computes on a loaded machine is not taken for one that waits.
    """
    times = os.times()
    queued = 0
    threads = "/proc/self/task"
    for thread in os.listdir(threads) if os.path.isdir(threads) else ():
        with suppress(OSError), open(f"{threads}/{thread}/schedstat", "rb") as file:  # the thread may have ended
            queued += int(file.read().split()[1])
    # `times` itself counts in 1/100 s.
    return time.process_time() + times.children_user + times.children_system + queued / 1e9
