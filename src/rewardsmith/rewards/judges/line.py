"""Line: the connections of one backend, in an event loop that all threads and other loops can use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from rewardsmith.rewards.judges.cache import ReplyCache

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class Line:
    """Run requests on an event loop in a thread of its own, with shared connections, slots and reply cache.

    One limit holds for all callers, whichever loop they run in. Canceling a future ends its request.

    Args:
        slots: the largest number of requests at once.
        cache_dir: as for `ReplyCache`.
    """

    def __init__(self, slots: int, cache_dir: str | Path | None) -> None:
        import httpx

        self._tls = httpx.create_ssl_context()
        self._clients, self._free = list[httpx.AsyncClient](), list[httpx.AsyncClient]()
        self._slots = asyncio.Semaphore(slots)
        self.cache = ReplyCache(cache_dir)
        self._asked = WeakValueDictionary[str, asyncio.Lock]()
        self._process = os.getpid()
        self._closing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="judge", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests can be made; False in a fork of the process that opened the line."""
        return self._process == os.getpid() and self._thread.is_alive()

    def submit(self, request: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a request and return its future."""
        return asyncio.run_coroutine_threadsafe(request, self._loop)

    @contextlib.asynccontextmanager
    async def slot(self, key: str) -> AsyncIterator[httpx.AsyncClient]:
        """Wait for a slot, which has a client of its own, and for the same question where replies are kept.

        A question that is asked while the same one is under way finds its reply, so that one request serves both.
        """
        same = self._asked.setdefault(key, asyncio.Lock()) if self.cache.open else contextlib.nullcontext()
        async with same, self._slots:
            client = self._free.pop() if self._free else self._client()
            try:
                yield client
            finally:
                self._free.append(client)

    def _client(self) -> httpx.AsyncClient:
        """Return one more client: the pool of a single one takes a time that grows as the square of its connections."""
        import httpx

        # No limits of its own: each try has a deadline, and each slot uses one connection.
        self._clients.append(httpx.AsyncClient(verify=self._tls, timeout=None))
        return self._clients[-1]

    def close(self, *, wait: bool = True) -> None:
        """Cancel running requests, close connections and cache, and end the thread."""
        if self.alive:
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(self._closing.set)
            if wait:
                self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._held_open())

    async def _held_open(self) -> None:
        await self._closing.wait()
        requests = asyncio.all_tasks() - {asyncio.current_task()}
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        for client in self._clients:
            await client.aclose()
        self.cache.close()
