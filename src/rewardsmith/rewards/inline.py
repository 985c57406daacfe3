"""Scoring in this process: no start-up, but nothing that could stop a call which hangs or ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable

from rewardsmith.rewards.calling import Caller, Reply, copy_of
from rewardsmith.rewards.pool import IN_FLIGHT
from rewardsmith.rewards.work import Task, Unit


class Inline:
    """Runs units one after another, async ones `IN_FLIGHT` at a time on an event loop of their own.

    Rows are copied before the reward sees them, as a worker process would get them. What the reward prints goes to
    standard error.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._loop: asyncio.AbstractEventLoop | None = None

    def close(self) -> None:
        """Stop the event loop."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    def run(self, units: Iterable[Unit]) -> Generator[Unit, None, None]:
        """Every unit, as it is completed."""
        if not self._caller.is_async:
            for unit in units:
                with contextlib.redirect_stdout(sys.stderr):
                    self._finish(unit)
                yield unit
            return
        remaining = iter(units)
        while chunk := list(itertools.islice(remaining, IN_FLIGHT)):
            with contextlib.redirect_stdout(sys.stderr):
                asyncio.run_coroutine_threadsafe(self._finish_all(chunk), self._running_loop()).result()
            yield from chunk

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        # A thread of its own, because the caller may be inside a running loop (a notebook).
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, daemon=True).start()
        return self._loop

    def _finish(self, unit: Unit) -> None:
        queue = deque([unit.task()])
        while queue:
            task = queue.popleft()
            rows = copy_of(task.rows)
            if self._caller.row is None:
                reply = self._caller.batch(rows, check_mutation=unit.check_mutation)
            else:
                verdicts = [self._caller.one(row, check_mutation=unit.check_mutation) for row in rows]
                reply = Reply(verdicts, "", "", sum(verdict.seconds for verdict in verdicts))
            queue.extendleft(reversed(task.apply(reply)))

    async def _finish_all(self, units: list[Unit]) -> None:
        await asyncio.gather(*(self._finish_async(unit) for unit in units))

    async def _finish_async(self, unit: Unit) -> None:
        queue = deque([unit.task()])
        while queue:
            task = queue.popleft()
            queue.extendleft(reversed(task.apply(await self._reply(task))))

    async def _reply(self, task: Task) -> Reply:
        rows, check = copy_of(task.rows), task.unit.check_mutation
        if self._caller.row is None:
            return await self._caller.batch_async(rows, timeout=task.limit, check_mutation=check)
        calls = (self._caller.one_async(row, timeout=task.limit, check_mutation=check) for row in rows)
        verdicts = list(await asyncio.gather(*calls))
        return Reply(verdicts, "", "", sum(verdict.seconds for verdict in verdicts))
