"""Line: the connections of one backend, in an event loop that every thread and every other loop can use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from rewardsmith.rewards.judges.cache import ReplyCache

T = TypeVar("T")


class Line:
    """A thread with an event loop, and what requests share in it: connections, slots and the cache of replies.

    One limit holds for all who ask, whichever loop they are in. A future that is cancelled ends its request.

    Args:
        slots: requests under way at once.
        cache_dir: as for `ReplyCache`.
    """

    def __init__(self, slots: int, cache_dir: str | Path | None) -> None:
        import httpx

        # No limits of its own: a try has one deadline, and the slots bound the connections.
        self.client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))
        self.slots = asyncio.Semaphore(slots)
        self.cache = ReplyCache(cache_dir)
        self._process = os.getpid()
        self._hung_up = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="judge", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests can be made; not in a fork of the process that opened the line."""
        return self._process == os.getpid() and self._thread.is_alive()

    def submit(self, request: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a request."""
        return asyncio.run_coroutine_threadsafe(request, self._loop)

    def hang_up(self, *, wait: bool = True) -> None:
        """Cancel what is under way, close connections and cache, and end the thread."""
        if self.alive:
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(self._hung_up.set)
            if wait:
                self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._held_open())

    async def _held_open(self) -> None:
        async with self.client:
            await self._hung_up.wait()
            requests = asyncio.all_tasks() - {asyncio.current_task()}
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)
        self.cache.close()
