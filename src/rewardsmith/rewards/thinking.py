"""Tell a completion's thinking from its answer, in the syntax of DeepSeek and Qwen, and in gpt-oss's channels."""

from __future__ import annotations

import re
from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"
_CHANNEL = re.compile(
    r"\s*(?:<\|start\|>assistant)?<\|channel\|>(?P<name>\w+)[^<]{0,200}(?:<\|constrain\|>\w+\s*)?<\|message\|>"
    r"(?P<text>(?:(?!<\|(?:start|channel|message|end|return|call)\|>).)*)(?:<\|(?:end|return|call)\|>|\Z)\s*",
    re.DOTALL,
)
_CHANNELS = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")


class Parts(NamedTuple):
    """The thinking and the answer of a completion; None where there is none."""

    thought: str | None
    answer: str | None


def parts_of(text: str) -> Parts:
    """Split a completion that has exactly the form that its model was trained to write.

    - `<think>thought</think>answer`, one of each;
    - messages in the channels `analysis` (one or more) and then `final` (one), with their special tokens kept.

    Any other text has neither part.

    >>> parts_of("<think>2 + 2</think> 4")
    Parts(thought='2 + 2', answer=' 4')
    >>> parts_of("<|channel|>analysis<|message|>2 + 2<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>")
    Parts(thought='2 + 2', answer='4')
    """
    if _CHANNELS.match(text):
        *before, last = _messages(text) or [("", "")]
        fits = last[0] == "final" and bool(before) and {name for name, _ in before} == {"analysis"}
        return Parts("\n".join(said for _, said in before), last[1]) if fits else Parts(None, None)
    if not text.lstrip().startswith(OPEN) or text.count(OPEN) != 1 or text.count(CLOSE) != 1:
        return Parts(None, None)
    thought, _, answer = text.lstrip().removeprefix(OPEN).partition(CLOSE)
    return Parts(thought, answer)


def after_thinking(text: str) -> str | None:
    """Return what a completion says after its thinking, all of it if it has none; None where the thinking never ends.

    In channels that is the only message in `final`; None where there is none, or a second one.

    >>> after_thinking("<think>NO, wait</think>YES"), after_thinking("<think>YES"), after_thinking("YES")
    ('YES', None, 'YES')
    """
    if _CHANNELS.match(text):
        final = [said for name, said in _messages(text) if name == "final"]
        return final[0] if len(final) == 1 else None
    shown = text.rpartition(CLOSE)[2]
    return None if OPEN in shown else shown


def _messages(text: str) -> list[tuple[str, str]]:
    """Return channel and text of each message, or [] where something else stands between them."""
    found, position = list[tuple[str, str]](), 0
    while position < len(text):
        match = _CHANNEL.match(text, position)
        if match is None:
            return []
        found.append((match["name"], match["text"]))
        position = match.end()
    return found
