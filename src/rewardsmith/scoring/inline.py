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
from functools import partial

from rewardsmith.scoring.calling import Caller, copy_of
from rewardsmith.scoring.waiting import MOST_MEASURED, Meter
from rewardsmith.scoring.work import Reply, RowParts, Unit


class Inline:
    """Run units one after another, or async ones `concurrency` at a time on an event loop of their own.

    The reward gets copies of the rows, as in a worker process. Its printed output goes to standard error.

    busy: processor seconds of each sync call but the first, which may load something.
    """

    def __init__(self, caller: Caller, *, concurrency: int, allow: Callable[[int], bool]) -> None:
        """Prepare a runner; `allow` gets the number of rows of a call and returns whether to make it."""
        self._caller, self._concurrency, self._allow = caller, concurrency, allow
        self.busy, self._cold, self._meter = list[float](), True, Meter()
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
                tasks = deque([unit.task()])
                while tasks:
                    task = tasks.popleft()
                    if not self._allow(len(task.indices)):
                        return
                    reply, busy = self._meter.of(partial(self._reply, copy_of(task.rows), unit.check_mutation))
                    self.busy += [] if self._cold or len(self.busy) >= MOST_MEASURED else [busy]
                    self._cold = False
                    tasks.extendleft(reversed(task.apply(reply)))
            yield unit

    def _reply(self, rows: Sequence[RowParts], check_mutation: bool) -> Reply:
        if self._caller.row is None:
            return self._caller.batch(rows, check_mutation=check_mutation)
        results = [self._caller.one(row, check_mutation=check_mutation) for row in rows]
        return Reply(results, "", "", sum(result.seconds for result in results))

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
                    future = asyncio.run_coroutine_threadsafe(self._finish_async(unit), loop)
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

    async def _finish_async(self, unit: Unit) -> None:
        caller, check, tasks = self._caller, unit.check_mutation, deque([unit.task()])
        while tasks:
            task = tasks.popleft()
            if not self._allow(len(task.indices)):
                return
            rows = copy_of(task.rows)
            if caller.row is None:
                reply = await caller.batch_async(rows, timeout=unit.limit, check_mutation=check)
            else:
                calls = [caller.one_async(row, timeout=unit.limit, check_mutation=check) for row in rows]
                # Several rows in threads are a call whose order counts.
                results = [await call for call in calls] if caller.threads else list(await asyncio.gather(*calls))
                reply = Reply(results, "", "", sum(result.seconds for result in results))
            tasks.extendleft(reversed(task.apply(reply)))


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
