"""Messages between a worker and its parent: byte frames, with pickles to the worker and JSON from it.

The parent never unpickles what a worker sends: otherwise a reward with access to the channel could run code in it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from rewardsmith.scoring.work import Reply, Scored

_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
LENGTH = struct.Struct("!Q")
LONGEST = 1 << 26
"""Bytes of the longest message that a parent accepts from a worker."""
REASONS = frozenset(("none", "nan", "inf", "type", "length", "exception", "timeout", "crash", "endpoint", "unasked"))
LONGEST_TAIL, LONGEST_DETAIL = 600, 2000
"""Characters of standard error in a detail, and of the whole detail."""


class Ready(NamedTuple):
    """The reward is loaded."""


class Broken(NamedTuple):
    """The reward could not be loaded."""

    why: str


class RowDone(NamedTuple):
    """One row of a call is done; `busy` is the processor time of its call in seconds, where it was measured."""

    number: int
    position: int
    result: Scored
    busy: float = 0.0


class CallDone(NamedTuple):
    """A whole call is done; `busy` as in `RowDone`."""

    number: int
    reply: Reply
    busy: float = 0.0


Message = Ready | Broken | RowDone | CallDone


def frame(body: bytes) -> bytes:
    """Return a message as a frame: its length, then its bytes."""
    return LENGTH.pack(len(body)) + body


def unframe(buffer: bytearray, *, longest: int | None = None) -> Iterator[bytes]:
    """Yield every complete message at the front of `buffer`, and keep the rest there.

    Raises:
        ValueError: a message states a length above `longest`.
    """
    while len(buffer) >= LENGTH.size:
        (length,) = LENGTH.unpack_from(buffer)
        if longest is not None and length > longest:
            raise ValueError(f"unframe: a message has {length} bytes. The limit is {longest}.")
        end = LENGTH.size + length
        if len(buffer) < end:
            return
        body = bytes(buffer[LENGTH.size : end])
        del buffer[:end]
        yield body


def encode(message: Message) -> bytes:
    """Return a worker's message as a frame."""
    fields: list[Any] = [type(message).__name__, *message]
    if isinstance(message, RowDone):
        fields[3] = message.result[:5]  # the parent knows whether the row was called outside its batch
    elif isinstance(message, CallDone) and (results := message.reply.results) is not None:
        odd = [[n, *result[1:3], result.mutated] for n, result in enumerate(results) if result.reason or result.mutated]
        each = results[0].seconds if results else 0.0
        fields[2] = [[result.reward for result in results], odd, each, *message.reply[1:]]
    return frame(_JSON.encode(fields).encode())


def decode(body: bytes) -> Message:
    """Return the worker's message in a frame's body, as it was before `encode`.

    >>> decode(encode(RowDone(3, 0, Scored(0.5, None, seconds=0.1)))[LENGTH.size:]).result[:4]
    (0.5, None, '', 0.1)

    Raises:
        ValueError: the body is not such a message.
    """
    try:
        kind, *fields = json.loads(body)
        if kind == "Ready":
            return Ready(*fields)
        if kind == "Broken":
            return Broken(_text(*fields))
        if kind == "RowDone":
            number, position, result, busy = fields
            return RowDone(_count(number), _count(position), _result(*result), _seconds(busy))
        if kind == "CallDone":
            number, (*results, reason, detail, seconds), busy = fields
            read = None if results == [None] else _results(*results)
            reply = Reply(read, _text(reason), _text(detail), _seconds(seconds))
            return CallDone(_count(number), reply, _seconds(busy))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"decode: {type(error).__name__} in a worker's message. It is damaged.") from error
    raise ValueError("decode: a worker's message has an unknown kind. It is damaged.")


def _result(reward: Any, reason: Any, detail: Any, seconds: Any, mutated: Any) -> Scored:
    known = reason in REASONS if reward is None else reason is None and type(reward) is float and math.isfinite(reward)
    if not known or type(mutated) is not bool:
        raise ValueError("no result")
    return Scored(reward, reason, _text(detail), _seconds(seconds), mutated)


def _results(rewards: Any, odd: Any, each: Any) -> list[Scored]:
    each = _seconds(each)
    if not odd and set(map(type, rewards)) <= {float} and all(map(math.isfinite, rewards)):  # the usual case, made fast
        return [Scored(reward, None, "", each) for reward in rewards]
    others = {_count(place): others for place, *others in odd}
    found = []
    for place, reward in enumerate(rewards):
        reason, detail, mutated = others.pop(place, (None, "", False))
        found.append(_result(reward, reason, detail, each, mutated))
    if others:
        raise ValueError("no result")
    return found


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("no text")
    return value[:LONGEST_DETAIL]


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("no count")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError("no duration")
    return float(value)


def with_tail(detail: str, tail: bytes) -> str:
    """Append the last lines of a worker's standard error to a row's detail, on one line.

    >>> with_tail("ValueError: no number", b"warning: old\\n\\n  in line 3\\n")
    'ValueError: no number; its standard error ends: warning: old | in line 3'
    """
    lines = (" ".join(line.split()) for line in tail.decode("utf-8", "replace").splitlines())
    text = " | ".join(line for line in lines if line)
    text = text if len(text) <= LONGEST_TAIL else "…" + text[1 - LONGEST_TAIL :]
    return f"{detail}; its standard error ends: {text}" if text else detail
