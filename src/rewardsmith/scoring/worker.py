"""A worker process: receive calls from a socket, run the reward, and send back the results.

Its standard output is discarded, so a reward's prints cannot reach the channel. It ends with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from rewardsmith.scoring.calling import Caller, describe
from rewardsmith.scoring.channel import Broken, CallDone, Message, Ready, RowDone, encode, unframe, with_tail
from rewardsmith.scoring.guardian import Tail, guard
from rewardsmith.scoring.waiting import Meter, at_once
from rewardsmith.scoring.work import Reply, RowParts, Scored

Explained = TypeVar("Explained", Scored, Reply)


class Order(NamedTuple):
    """One call from the parent."""

    number: int
    rows: bytes  # pickled separately, so that an error in unpickling fails these rows only
    limit: float | None
    check_mutation: bool


def main(channel: int, lifeline: int, parent: int) -> None:
    """Serve orders on the socket `channel` until the parent closes it, under a guardian that ends with the parent."""
    guard(lambda tail: _work(channel, tail), lifeline, parent)


class _Channel(socket.socket):
    """The channel to the parent; a fork of this process, made by a reward, must not send on it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(fileno=descriptor)
        self._owner = os.getpid()

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send `data`, or exit if this process is not the worker."""
        if os.getpid() != self._owner:
            os._exit(0)
        super().sendall(data, flags)


def _work(descriptor: int, tail: Tail) -> None:
    channel = _Channel(descriptor)
    channel.set_inheritable(False)
    with channel:
        buffer = bytearray()
        bodies = _bodies(channel, buffer)
        # sys.path, the pickled target, the memory limit in bytes, and whether calls run in threads.
        path, payload, memory, threads = pickle.loads(next(bodies))
        sys.path[:] = path
        try:
            if memory is not None:
                import resource

                _, most = resource.getrlimit(resource.RLIMIT_AS)
                allowed = memory if most == resource.RLIM_INFINITY else min(memory, most)
                resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
            caller = Caller(pickle.loads(payload).reward, threads=threads)
        except BaseException as error:
            channel.sendall(encode(Broken(describe(error))))
            return
        channel.sendall(encode(Ready()))
        if caller.is_async:
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            listening = loop.create_task(_listen(caller, channel, buffer, tail))
            while not listening.done():  # one SystemExit from a task of the reward must not stop the other tasks
                with contextlib.suppress(SystemExit, KeyboardInterrupt):
                    loop.run_until_complete(listening)
            return
        meter, send = Meter(on=True), lambda done: channel.sendall(encode(done))
        for body in bodies:
            at_once(_answer(caller, Order(*pickle.loads(body)), send, tail, meter))


def _bodies(channel: socket.socket, buffer: bytearray) -> Iterator[bytes]:
    """Yield the parent's messages until it closes the socket; `buffer` holds what was received beyond the last one."""
    while received := channel.recv(1 << 20):
        buffer += received
        yield from unframe(buffer)


async def _answer(caller: Caller, order: Order, send: Callable[[Message], None], tail: Tail, meter: Meter) -> None:
    """Make one call and send its results, of a per-row reward each row's; a sync call waits for nothing."""

    async def explained(call: Awaitable[Explained]) -> tuple[Explained, float]:
        """Return a result, a failed one with its standard error, and the processor seconds of a sync call."""
        if not caller.is_async:
            tail.mark()
        found, busy = await meter.of(call)
        failed = found.reason == "exception"
        return found._replace(detail=with_tail(found.detail, tail.recent())) if failed else found, busy

    async def one(position: int, row: RowParts) -> None:
        send(RowDone(order.number, position, *await explained(caller.one(row, **options))))

    options: Any = {"timeout": order.limit, "check_mutation": order.check_mutation}
    try:
        rows: list[RowParts] = pickle.loads(order.rows)
    except Exception as error:  # a column of a class that cannot be loaded here
        send(CallDone(order.number, Reply(None, "exception", describe(error), 0.0)))
        return
    if caller.row is None:
        send(CallDone(order.number, *await explained(caller.batch(rows, **options))))
    elif caller.mixes_rows:
        await asyncio.gather(*(one(position, row) for position, row in enumerate(rows)))
    else:
        for position, row in enumerate(rows):
            await one(position, row)


async def _listen(caller: Caller, channel: socket.socket, buffer: bytearray, tail: Tail) -> None:
    """Serve an async reward until the parent closes the socket; every order is a task of one event loop."""

    def send(message: Message) -> None:
        # Blocking, so that frames of several coroutines do not interleave; the parent always reads.
        channel.setblocking(True)
        try:
            channel.sendall(encode(message))
        finally:
            channel.setblocking(False)

    meter = Meter(on=False)
    loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    channel.setblocking(False)
    while True:
        for body in unframe(buffer):
            if not running:
                tail.mark()
            task = loop.create_task(_answer(caller, Order(*pickle.loads(body)), send, tail, meter))
            running.add(task)
            task.add_done_callback(running.discard)
        received = await loop.sock_recv(channel, 1 << 20)
        if not received:
            os._exit(0)  # calls that still run have no one waiting for them
        buffer += received
