"""Score in this process: no start-up time, but nothing can stop a call that hangs or ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from rewardsmith.scoring.calling import Caller, copy_of
from rewardsmith.scoring.waiting import MOST_MEASURED, Meter, at_once
from rewardsmith.scoring.work import Reply, RowParts, Unit


class Inline:
    """Run units one after another, or async ones `concurrency` at a time on an event loop of their own.

    The reward gets copies of the rows, as in a worker process. Its printed output goes to standard error.

    busy: processor seconds of each sync call but the first, which may load something.
    """

    def __init__(self, caller: Caller, *, concurrency: int, allow: Callable[[int], bool]) -> None:
        """Prepare a runner; `allow` gets the number of rows of a call and returns whether to make it."""
        self._caller, self._concurrency, self._allow = caller, concurrency, allow
        self.busy, self._cold, self._meter = list[float](), True, Meter(on=not caller.is_async)
        self._loop: asyncio.AbstractEventLoop | None = None

    def close(self) -> None:
        """Cancel running calls and stop the event loop."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(_stop(), self._loop)
            self._loop = None

    def run(
        self, units: Iterable[Unit], stop: Callable[[], bool], write: Callable[[int], None]
    ) -> Generator[Unit, None, None]:
        """Yield units as `Pool.run` does."""
        if self._caller.is_async:
            yield from self._run_async(deque(units), stop, write)
            return
        for unit in units:
            if stop():
                return
            write(len(unit.rows))
            with contextlib.redirect_stdout(sys.stderr):
                at_once(self._finish(unit))
            if not unit.done:  # no further call is allowed
                return
            yield unit

    def _run_async(
        self, waiting: deque[Unit], stop: Callable[[], bool], write: Callable[[int], None]
    ) -> Generator[Unit, None, None]:
        if self._loop is None:  # in its own thread, because the caller may be in a running loop (a notebook)
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_turn, args=(self._loop,), daemon=True).start()
        loop, done = self._loop, queue.SimpleQueue[tuple[Unit, Future[None]]]()
        running: set[Future[None]] = set()
        try:
            while (waiting or running) and not stop():
                begun = [waiting.popleft() for _ in range(min(len(waiting), self._concurrency - len(running)))]
                write(sum(len(unit.rows) for unit in begun))
                for unit in begun:
                    future = asyncio.run_coroutine_threadsafe(self._finish(unit), loop)
                    running.add(future)
                    future.add_done_callback(lambda future, unit=unit: done.put((unit, future)))  # type: ignore[misc]
                with contextlib.redirect_stdout(sys.stderr):
                    unit, future = done.get()
                running.discard(future)
                future.result()
                if not unit.done:  # no further call is allowed
                    waiting.clear()
                    continue
                yield unit
        finally:
            for future in running:
                future.cancel()

    async def _finish(self, unit: Unit) -> None:
        tasks = deque([unit.task()])
        while tasks:
            task = tasks.popleft()
            if not self._allow(len(task.indices)):
                return
            reply, busy = await self._meter.of(self._reply(copy_of(task.rows), unit))
            self.busy += [] if self._cold or len(self.busy) >= MOST_MEASURED else [busy]
            self._cold = False
            tasks.extendleft(reversed(task.apply(reply)))

    async def _reply(self, rows: Sequence[RowParts], unit: Unit) -> Reply:
        caller = self._caller
        options: Any = {"timeout": unit.limit, "check_mutation": unit.check_mutation}
        if caller.row is None:
            return await caller.batch(rows, **options)
        calls = [caller.one(row, **options) for row in rows]
        results = list(await asyncio.gather(*calls)) if caller.mixes_rows else [await call for call in calls]
        return Reply(results, "", "", sum(result.seconds for result in results))


async def _stop() -> None:
    """Stop the running loop after its other tasks have ended, or after one second."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)
    asyncio.get_running_loop().stop()


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped, even if a task of the reward raises SystemExit."""
    while True:
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            return loop.run_forever()
