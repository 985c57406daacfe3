"""What a worker and its parent say to each other: frames of bytes, pickles on the way down and JSON on the way up.

The parent never unpickles what a worker sends: a reward that gets hold of the channel would run code in the parent.
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
"""Bytes of the longest message that a parent takes from a worker."""
REASONS = frozenset(("none", "nan", "inf", "type", "length", "exception", "timeout", "crash", "endpoint", "unasked"))
LONGEST_TAIL, LONGEST_DETAIL = 600, 2000
"""Characters of standard error that a detail carries, and of the whole detail."""


class Ready(NamedTuple):
    """The reward is loaded."""


class Broken(NamedTuple):
    """The reward could not be loaded."""

    why: str


class RowDone(NamedTuple):
    """One row of a call is done."""

    number: int
    position: int
    result: Scored


class CallDone(NamedTuple):
    """A whole call is done."""

    number: int
    reply: Reply


Message = Ready | Broken | RowDone | CallDone


def frame(body: bytes) -> bytes:
    """A message as it travels: its length, then its bytes."""
    return LENGTH.pack(len(body)) + body


def unframe(buffer: bytearray, *, longest: int | None = None) -> Iterator[bytes]:
    """Take every complete message from the front of `buffer`, which keeps the rest.

    Raises:
        ValueError: one says that it is longer than `longest`.
    """
    while len(buffer) >= LENGTH.size:
        (length,) = LENGTH.unpack_from(buffer)
        if longest is not None and length > longest:
            raise ValueError(f"unframe: a message of {length} bytes. At most {longest} are taken.")
        end = LENGTH.size + length
        if len(buffer) < end:
            return
        body = bytes(buffer[LENGTH.size : end])
        del buffer[:end]
        yield body


def said(message: Message) -> bytes:
    """A worker's message as a frame."""
    fields: list[Any] = [type(message).__name__, *message]
    if isinstance(message, RowDone):
        fields[3] = message.result[:5]  # the parent knows whether the row was called apart from its batch
    elif isinstance(message, CallDone) and (results := message.reply.results) is not None:
        odd = [[n, *result[1:3], result.mutated] for n, result in enumerate(results) if result.reason or result.mutated]
        each = results[0].seconds if results else 0.0
        fields[2] = [[result.reward for result in results], odd, each, *message.reply[1:]]
    return frame(_JSON.encode(fields).encode())


def heard(body: bytes) -> Message:
    """A worker's message as it was before `said`.

    >>> heard(said(RowDone(3, 0, Scored(0.5, None, seconds=0.1)))[LENGTH.size:]).result[:4]
    (0.5, None, '', 0.1)

    Raises:
        ValueError: it is none of ours.
    """
    try:
        kind, *fields = json.loads(body)
        if kind == "Ready":
            return Ready(*fields)
        if kind == "Broken":
            return Broken(_text(*fields))
        if kind == "RowDone":
            number, position, result = fields
            return RowDone(_count(number), _count(position), _result(*result))
        if kind == "CallDone":
            number, (*results, reason, detail, seconds) = fields
            read = None if results == [None] else _results(*results)
            return CallDone(_count(number), Reply(read, _text(reason), _text(detail), _seconds(seconds)))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"heard: {type(error).__name__} in what a worker sent. It is no message of ours.") from error
    raise ValueError("heard: an unknown kind in what a worker sent. It is no message of ours.")


def _result(reward: Any, reason: Any, detail: Any, seconds: Any, mutated: Any) -> Scored:
    known = reason in REASONS if reward is None else reason is None and type(reward) is float and math.isfinite(reward)
    if not known or type(mutated) is not bool:
        raise ValueError("no result")
    return Scored(reward, reason, _text(detail), _seconds(seconds), mutated)


def _results(rewards: Any, odd: Any, each: Any) -> list[Scored]:
    each = _seconds(each)
    if not odd and set(map(type, rewards)) <= {float} and all(map(math.isfinite, rewards)):  # the usual case, and quick
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
    """A row's detail with the last lines that its worker wrote to standard error, on one line.

    >>> with_tail("ValueError: no number", b"warning: old\\n\\n  in line 3\\n")
    'ValueError: no number; its standard error ends: warning: old | in line 3'
    """
    lines = (" ".join(line.split()) for line in tail.decode("utf-8", "replace").splitlines())
    text = " | ".join(line for line in lines if line)
    text = text if len(text) <= LONGEST_TAIL else "…" + text[1 - LONGEST_TAIL :]
    return f"{detail}; its standard error ends: {text}" if text else detail
