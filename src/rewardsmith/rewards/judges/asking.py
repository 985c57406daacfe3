"""What every judge does: put what it judges before a model as data, and take a failure for silence."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable

from rewardsmith.rewards.judges.chat import JudgeError
from rewardsmith.types import Message

logger = logging.getLogger(__name__)

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


async def asked(backend: Backend, messages: list[Message], *, name: str) -> str | None:
    """The backend's reply, or None, with a warning under `name`, where it has none to give."""
    try:
        return await backend(messages)
    except JudgeError as error:
        logger.warning("%s: %s", name, error)
        return None


__all__ = ["Backend", "asked", "data_tag"]
