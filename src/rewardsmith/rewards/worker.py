"""A worker process: takes calls from a socket, runs the reward, and sends the results back.

Its standard output goes nowhere, so whatever the reward prints cannot reach the channel. It dies with its parent.
"""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import signal
import socket
import struct
import sys
from typing import Any, BinaryIO, NamedTuple

from rewardsmith.rewards.calling import Caller, RowParts, describe

_LENGTH = struct.Struct("!Q")


class Order(NamedTuple):
    """One call that the parent asks for."""

    number: int
    rows: bytes  # pickled apart, so that rows which cannot be read here fail alone
    limit: float | None
    check_mutation: bool


def frame(message: Any) -> bytes:
    """A message as bytes: its length, then its pickle."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def unframe(buffer: bytearray) -> list[Any]:
    """Every complete message at the front of `buffer`, which keeps the rest."""
    messages, start = [], 0
    while len(buffer) - start >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(buffer, start)
        end = start + _LENGTH.size + length
        if len(buffer) < end:
            break
        messages.append(pickle.loads(memoryview(buffer)[start + _LENGTH.size : end]))
        start = end
    del buffer[:start]
    return messages


def main(descriptor: int, parent: int) -> None:
    """Serve orders on the socket `descriptor` until the parent closes it."""
    _die_with(parent)
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    with channel:
        with channel.makefile("rb", buffering=0) as first:  # unbuffered: it must not read ahead into the orders
            path, payload = pickle.loads(_read(first))
        sys.path[:] = path
        try:
            caller = Caller(pickle.loads(payload).reward)
        except BaseException as error:
            channel.sendall(frame(("broken", describe(error))))
            return
        channel.sendall(frame(("ready",)))
        if caller.is_async:
            asyncio.run(_serve_async(caller, channel))
        else:
            with channel.makefile("rb") as stream:
                _serve(caller, channel, stream)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent is killed, however busy it is (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)


def _read(stream: BinaryIO | io.RawIOBase) -> bytes:
    head = _exactly(stream, _LENGTH.size)
    return _exactly(stream, _LENGTH.unpack(head)[0]) if head else b""


def _exactly(stream: BinaryIO | io.RawIOBase, n: int) -> bytes:
    """The next `n` bytes, or nothing where the stream ends before."""
    parts = bytearray()
    while len(parts) < n:
        part = stream.read(n - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)


def _serve(caller: Caller, channel: socket.socket, stream: BinaryIO) -> None:
    while body := _read(stream):
        order = Order(*pickle.loads(body))
        rows = _rows(order, channel)
        if rows is None:
            continue
        if caller.row is None:
            reply = caller.batch(rows, check_mutation=order.check_mutation)
            channel.sendall(frame(("reply", order.number, tuple(reply))))
            continue
        for position, row in enumerate(rows):
            verdict = caller.one(row, check_mutation=order.check_mutation)
            channel.sendall(frame(("row", order.number, position, tuple(verdict))))


def _rows(order: Order, channel: socket.socket) -> list[RowParts] | None:
    try:
        rows: list[RowParts] = pickle.loads(order.rows)
    except Exception as error:  # a column of a class that cannot be built here
        channel.sendall(frame(("reply", order.number, (None, "exception", describe(error), 0.0))))
        return None
    return rows


async def _serve_async(caller: Caller, channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    channel.setblocking(False)
    buffer, running = bytearray(), set()
    while received := await loop.sock_recv(channel, 1 << 20):
        buffer += received
        for message in unframe(buffer):
            task = loop.create_task(_answer(caller, channel, Order(*message)))
            running.add(task)
            task.add_done_callback(running.discard)
    for task in running:
        task.cancel()


async def _answer(caller: Caller, channel: socket.socket, order: Order) -> None:
    rows = _rows(order, channel)
    if rows is None:
        return
    if caller.row is None:
        reply = await caller.batch_async(rows, timeout=order.limit, check_mutation=order.check_mutation)
        _send(channel, frame(("reply", order.number, tuple(reply))))
        return

    async def one(position: int, row: RowParts) -> None:
        verdict = await caller.one_async(row, timeout=order.limit, check_mutation=order.check_mutation)
        _send(channel, frame(("row", order.number, position, tuple(verdict))))

    await asyncio.gather(*(one(position, row) for position, row in enumerate(rows)))


def _send(channel: socket.socket, data: bytes) -> None:
    # Blocking on purpose: frames of several coroutines must not interleave, and the parent always reads.
    channel.setblocking(True)
    try:
        channel.sendall(data)
    finally:
        channel.setblocking(False)
