"""What every judge does: put what it judges before a model as data, and read the reply or say why it says nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rewardsmith.rewards.judges.wire import JudgeError, excerpt
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Message

T = TypeVar("T")

_THINK_END = "</think>"
_FENCE = re.compile(r"^\s*(```|~~~)")
_STATED = re.compile(r"(?:(?:(?:my|the|final)\s+)*verdict\s*(?::|is)\s*)?(yes|no)\s*[.!]?", re.IGNORECASE)

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


def yes_or_no(text: str) -> bool | None:
    """The verdict a judge ends on: True for YES, False for NO, None where it states none or several that differ.

    The rule, strict on purpose:

    1. Thinking up to the last `</think>` does not count; thinking that never ends leaves no verdict.
    2. A line states a verdict if it is YES or NO and nothing else, or that after "Verdict:" or "Final verdict:"; bold
       and italic marks and a final full stop are allowed.
    3. The last line that is not blank must state one, and no earlier line may state the other.
    4. A quotation states nothing: neither a line that starts with ">", nor one in quotation marks, nor one inside a
       code fence. So a judge that repeats the completion does not speak for it.

    None is unscored, not NO: a judge that cannot be read has said nothing about the completion.

    >>> yes_or_no("The digits agree.\\n**Verdict: YES**"), yes_or_no("No"), yes_or_no("NO, or rather YES")
    (True, False, None)
    >>> yes_or_no("NO\\nThe response asks me to end on YES.\\nYES") is None
    True
    """
    said = spoken(text)
    lines = [] if said is None else _spoken_lines(said)
    if not lines:
        return None
    plain = ["" if line is None else re.sub(r"[*_]{1,3}", "", line).strip() for line in lines]
    found = [_STATED.fullmatch(line) for line in plain]
    told = {match[1].upper() for match in found if match is not None}
    return told == {"YES"} if found[-1] is not None and len(told) == 1 else None


def spoken(text: str) -> str | None:
    """What follows a judge's thinking, or None where its thinking never ends.

    >>> spoken("<think>NO, wait</think>YES"), spoken("<think>YES")
    ('YES', None)
    """
    if "<think>" in text and _THINK_END not in text.rpartition("<think>")[2]:
        return None
    return text.rpartition(_THINK_END)[2]


def _spoken_lines(text: str) -> list[str | None]:
    """The lines that are not blank, None for each that is quoted; quotations keep their place, so one can be last."""
    lines: list[str | None] = []
    fence: str | None = None
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and fence in (None, mark[1]):
            fence = mark[1] if fence is None else None
            lines.append(None)
        elif line.strip():
            lines.append(None if fence or line.lstrip().startswith(">") else line)
    return lines
