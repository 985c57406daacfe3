"""One HTTP exchange with an OpenAI-compatible endpoint. Every failure has a clear message, and none shows the key."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rewardsmith.errors import RewardsmithError

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 10_000_000
"""Bytes of the longest answer that is read, after decompression."""
_SHOWN = 200
_LONGEST_WAIT = 30.0

T = TypeVar("T")


class JudgeError(RewardsmithError):
    """A judge gave no usable reply, so the row is unscored.

    reason: "endpoint" if the server failed and may answer later; "none" if this question or its reply is the cause.
    """

    def __init__(self, message: str, reason: str = "endpoint") -> None:
        super().__init__(message)
        self.reason = reason


class PassingError(JudgeError):
    """A failure that may end within seconds. retry_after: the seconds that the server asked to wait."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Answer(NamedTuple):
    """The server's answer: `text` is its body, with *** in place of the key."""

    status: int
    text: str
    retry_after: float


async def retried(
    once: Callable[[], Awaitable[T]], *, attempts: int, backoff: float, again: Callable[[], None] = lambda: None
) -> T:
    """Return what `once` gives; after a `PassingError` try again, `attempts` times in all.

    Before each further try wait a random part of `backoff` · 2ᵏ seconds, but as long as the server asks for, and 30
    seconds at most; then call `again`.

    Raises:
        PassingError: the last one.
    """
    for attempt in range(attempts - 1):
        try:
            return await once()
        except PassingError as error:
            asked = error.retry_after
        pause = random.uniform(0.0, min(backoff * 2**attempt, _LONGEST_WAIT))
        await asyncio.sleep(max(pause, min(asked, _LONGEST_WAIT)))
        again()
    return await once()


def bearer(key: str) -> dict[str, str]:
    """Return the header that most servers read a key from."""
    return {"Authorization": f"Bearer {key}"}


async def post(
    client: httpx.AsyncClient,
    url: str,
    body: Mapping[str, Any],
    key: str,
    signed: Callable[[str], dict[str, str]] = bearer,
) -> Answer:
    """Send `body`, with the headers that `signed` makes of a key, and return the whole answer.

    Raises:
        PassingError: the server did not answer, or the connection broke.
        JudgeError: the answer is too long, or its compression was not requested.
    """
    import httpx

    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    headers |= signed(key) if key else {}
    content = json.dumps(body).encode()  # ASCII, so that a lone surrogate in a completion can be sent
    raw = bytearray()
    try:
        async with client.stream("POST", url, content=content, headers=headers) as response:
            async for part in response.aiter_raw():  # raw, so that decompression stops at the limit
                raw += part
                if len(raw) > MOST_BYTES:
                    break
    except (httpx.HTTPError, OSError) as error:
        why = masked(_cause(error), key)[:_SHOWN]
        raise PassingError(f"could not be reached ({why}). Check base_url and the server.") from None
    data, encoding = bytes(raw), response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity") and len(data) <= MOST_BYTES:
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise JudgeError(
                f"answered in Content-Encoding {encoding[:40]!r}, which was not requested. Turn it off there."
            )
        try:
            data = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data, MOST_BYTES + 1)
        except zlib.error:
            raise JudgeError(f"answered with damaged {encoding}. Check the server and its proxy.") from None
    if len(data) > MOST_BYTES:
        raise JudgeError(f"sent more than {MOST_BYTES / 1e6:g} MB for one question. Check what answers there.")
    try:  # dumped again, so that no escape sequence hides the key
        text = json.dumps(json.loads(data), ensure_ascii=False)
    except (ValueError, RecursionError):
        text = data.decode("utf-8", "replace")
    try:
        patience = max(0.0, float(response.headers.get("Retry-After") or 0.0))
    except ValueError:  # a date; the growing pauses are used instead
        patience = 0.0
    return Answer(response.status_code, masked(text, key), patience)


def masked(text: str, key: str) -> str:
    """Return `text` with *** in place of the key, which some servers repeat."""
    return text.replace(key, "***") if key else text


def excerpt(text: str) -> str:
    """Return the first 200 characters, quoted."""
    return repr(text.strip()[:_SHOWN])


def _cause(error: BaseException) -> str:
    """Return the system's own words, such as "Connection refused", if there are any."""
    found = f"{type(error).__name__}: {error}"
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno and link.strerror:
            own = isinstance(link, socket.gaierror | ssl.SSLError)  # their numbers are not errno values
            found = link.strerror if own else os.strerror(link.errno)
        inner = link.exceptions[0] if isinstance(link, BaseExceptionGroup) else None
        link = inner or link.__cause__ or link.__context__
    return found
