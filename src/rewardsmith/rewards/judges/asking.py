"""What every judge does: put what it judges before a model as data, and say why where it learns nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rewardsmith.rewards.judges.replies import spoken
from rewardsmith.rewards.judges.wire import JudgeError, excerpt
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Message

T = TypeVar("T")

Backend = Callable[[list[Message]], Awaitable[str]]
"""Awaited with the messages, returns the judge's text; raises `JudgeError` where there is none. See `ChatBackend`."""


def data_tag(kind: str, *parts: str) -> str:
    """The name of an element for untrusted text: `kind` and a digest of everything that the prompt is made of.

    No text can close its element early: to name its own tag it would have to contain its own digest. The same parts
    give the same tag, so replies can be cached.

    >>> data_tag("step", "q", "s") == data_tag("step", "q", "s") != data_tag("step", "qs", "")
    True
    """
    return f"{kind}-" + hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


class Judge:
    """What every judge tells: its name, and how many requests its backend has under way."""

    __slots__ = ()
    backend: Backend
    name: str

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def concurrency(self) -> int:
        """The most requests that the backend has under way, where it says so."""
        return self.backend.concurrency  # type: ignore[attr-defined, no-any-return]


async def asked(backend: Backend, messages: list[Message], read: Callable[[str], T | None]) -> T | Unscored:
    """What `read` finds in the backend's reply, or why there is nothing: no reply, or one that says nothing."""
    try:
        reply = await backend(messages)
    except JudgeError as error:
        return Unscored(str(error), error.reason)
    found = read(reply)
    return Unscored(f"no verdict in the judge's reply {excerpt(spoken(reply) or reply)}") if found is None else found
