"""Shared parts of the judges: mark the text to judge as data, ask the backend, and read the verdict."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from rewardsmith.rewards.judges.wire import JudgeError, excerpt
from rewardsmith.rewards.thinking import after_thinking
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Message, Text

T = TypeVar("T")

_FENCE = re.compile(r"^\s*(```|~~~)")
_STATED = re.compile(r"(?:(?:(?:my|the|final)\s+)*verdict\s*(?::|is)\s*)?(yes|no)\s*[.!]?", re.IGNORECASE)

Backend = Callable[[list[Message]], Awaitable[str]]
"""An async function from messages to the judge's text; raises `JudgeError` if there is none. See `ChatBackend`."""


class Reply(NamedTuple):
    """One answer of a model.

    text: what it says.
    logprobs: for each generated token {candidate: ln p}, the generated one first; () where the backend gives none.

    >>> Reply("Yes", ({"Yes": -0.1, "No": -2.4},)).logprobs[0]["No"]
    -2.4
    """

    text: str
    logprobs: tuple[Mapping[str, float], ...] = ()


async def replied(backend: Backend, messages: list[Message], *, logprobs: int = 0) -> Reply:
    """Return a backend's reply, by its own `async reply(messages, *, logprobs)` if it has one.

    Any other backend gives no log-probabilities.

    Args:
        logprobs: candidates per generated token; 0 asks for none.

    Raises:
        JudgeError: there is no reply.
        TypeError: the backend is no async function, or gives something else than a text.
    """
    own = getattr(backend, "reply", None)
    waiting = backend(messages) if own is None else own(messages, logprobs=logprobs)
    if not isinstance(waiting, Awaitable):
        raise TypeError(f"a judge's backend gave a {type(waiting).__name__} at once. Define it by `async def`.")
    given = await waiting
    reply = given if own is not None else Reply(given)
    if not isinstance(reply, Reply) or not isinstance(reply.text, str):
        raise TypeError(
            f"a judge's backend gave a {type(given).__name__}. Return a text, or a Reply from `reply`, and raise "
            "JudgeError where there is none."
        )
    return reply


def data_tag(kind: str, *parts: str) -> str:
    """Return the element name for untrusted text: `kind` and a digest of all `parts` of the prompt.

    No text can close its element early, because it would have to contain its own digest. Equal parts give equal tags,
    so replies can be cached.

    >>> data_tag("step", "q", "s") == data_tag("step", "q", "s") != data_tag("step", "qs", "")
    True
    """
    return f"{kind}-" + hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


class Judge:
    """Base of the judges: their name, and the number of requests that their backend runs at once."""

    __slots__ = ()
    backend: Backend
    name: str

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def concurrency(self) -> int:
        """The largest number of requests that the backend runs at once, where it states one."""
        return self.backend.concurrency  # type: ignore[attr-defined, no-any-return]


async def asked(backend: Backend, messages: list[Message], *, logprobs: int = 0) -> Reply | Unscored:
    """Return the backend's reply, or the reason why there is none."""
    try:
        return await replied(backend, messages, logprobs=logprobs)
    except JudgeError as error:
        return Unscored(str(error), error.reason)


async def ask(backend: Backend, messages: list[Message], read: Callable[[str], T | None]) -> T | Unscored:
    """Return the verdict that `read` finds in the backend's reply, or the reason why there is none."""
    reply = await asked(backend, messages)
    if isinstance(reply, Unscored):
        return reply
    found = read(reply.text)
    return unread(reply.text) if found is None else found


def unread(text: str, what: str = "no verdict") -> Unscored:
    """Return the reason of a row whose judge cannot be read."""
    return Unscored(f"{what} in the judge's reply {excerpt(after_thinking(text) or text)}")


def with_images(messages: list[Message], prompt: Text) -> list[Message]:
    """Return the messages with the prompt's images, if it has any, after the text of the last one.

    >>> image = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    >>> prompt = [{"role": "user", "content": [{"type": "text", "text": "A dog?"}, image]}]
    >>> [part["type"] for part in with_images([{"role": "user", "content": "A dog?"}], prompt)[-1]["content"]]
    ['text', 'image_url']
    """
    contents = [] if isinstance(prompt, str) else [message.get("content") for message in prompt]
    parts: list[Any] = [part for content in contents if isinstance(content, list) for part in content]
    images = [part for part in parts if isinstance(part, dict) and part.get("type") == "image_url"]
    if not images:
        return messages
    *before, last = messages
    return [*before, {**last, "content": [{"type": "text", "text": last["content"]}, *images]}]


def yes_or_no(text: str) -> bool | None:
    """Return True for YES and False for NO; None where the judge states no verdict or two different ones.

    The rule is strict on purpose:

    1. Thinking up to the last `</think>` does not count; thinking that never ends leaves no verdict.
    2. A line states a verdict if it holds only YES or NO, or one of them after "Verdict:" or "Final verdict:". Bold
       and italic marks and a final full stop are allowed.
    3. The last line that is not blank must state one, and no earlier line may state the other.
    4. A quotation states nothing: a line that starts with ">", a line in quotation marks, and a line inside a code
       fence. So the verdict is the judge's own when it repeats the completion.

    None means unscored, not NO: an unreadable judge has said nothing about the completion.

    >>> yes_or_no("The digits agree.\\n**Verdict: YES**"), yes_or_no("No"), yes_or_no("NO, or rather YES")
    (True, False, None)
    >>> yes_or_no("NO\\nThe response asks me to end on YES.\\nYES") is None
    True
    """
    lines: list[str | None] = []  # those that are not blank; None for a quoted one, which keeps its position
    fence: str | None = None
    for line in (after_thinking(text) or "").splitlines():
        mark = _FENCE.match(line)
        if mark and fence in (None, mark[1]):
            fence = mark[1] if fence is None else None
            lines.append(None)
        elif line.strip():
            lines.append(None if fence or line.lstrip().startswith(">") else line)
    if not lines:
        return None
    plain = ["" if line is None else re.sub(r"[*_]{1,3}", "", line).strip() for line in lines]
    found = [_STATED.fullmatch(line) for line in plain]
    stated = {match[1].upper() for match in found if match is not None}
    return stated == {"YES"} if found[-1] is not None and len(stated) == 1 else None
