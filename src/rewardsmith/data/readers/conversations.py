"""Parse the conversation formats of data sets: transcripts in one string, HelpSteer's markers, lists of messages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rewardsmith.data.keys import is_missing
from rewardsmith.data.readers.schema import Broken, Drop
from rewardsmith.data.rows import text_of
from rewardsmith.types import Message, Text

_TURN = re.compile(r"\n\n(Human|Assistant): ?")
_MARK = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")
_ROLES = {"Human": "user", "User": "user", "Assistant": "assistant"}


def transcript(text: str) -> list[Message]:
    """Parse an HH-RLHF transcript into messages, with an empty last turn of the assistant.

    >>> transcript("\\n\\nHuman: Hi\\n\\nAssistant: Hello")
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    if not isinstance(text, str):
        raise Broken(f"no transcript but {kind_of(text)}")
    before, *turns = _TURN.split("\n\n" + text.lstrip("\n"))
    if before or not turns:
        raise Drop("no transcript of Human and Assistant turns")
    return _messages(turns)


def marked(text: str) -> list[Message]:
    """Parse a HelpSteer2 prompt, whose later turns follow `<extra_id_1>User` and `<extra_id_1>Assistant`.

    >>> [m["content"] for m in marked("Hi\\n<extra_id_1>Assistant\\nHello\\n<extra_id_1>User\\nBye")]
    ['Hi', 'Hello', 'Bye']
    """
    return _messages(["User", *_MARK.split(text)])


def _messages(turns: Sequence[str]) -> list[Message]:
    """Build messages from role, text, role, text ..."""
    return [{"role": _ROLES[r], "content": said.strip()} for r, said in zip(turns[::2], turns[1::2], strict=True)]


def messages(value: Any, *, called: str = "no list of messages but") -> list[Message]:
    """Return a published list of messages as dictionaries with `role` and `content`; `called` begins an error."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise Broken(f"{called} {kind_of(value)}")
    if not all(isinstance(m, Mapping) and m.get("role") and "content" in m for m in value):
        raise Broken("a message without role or content")
    return [{"role": str(m["role"]), "content": m["content"]} for m in value]


def kind_of(value: Any) -> str:
    """Name a value's kind for an error message: null, or its type with an article.

    >>> kind_of(None), kind_of(3), kind_of([])
    ('null', 'a number', 'an empty list')
    """
    if is_missing(value):
        return "null"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return "a number"
    return "an empty list" if isinstance(value, list) and not value else f"a {type(value).__name__}"


def words(value: Any, name: str, role: str) -> list[Message]:
    """Return a text or a list of messages as messages; `name` is the column in an error."""
    return [{"role": role, "content": value}] if isinstance(value, str) else messages(value, called=f"`{name}` is")


def is_filled(text: Any, what: str = "an answer or prompt") -> bool:
    """Return whether a text or a list of messages holds more than blanks.

    Raises:
        Broken: it is neither, or a message has no text.
    """
    if not isinstance(text, str) and not (isinstance(text, list) and all(isinstance(m, Mapping) for m in text)):
        raise Broken(f"{what} is {kind_of(text)}")
    for content in [text] if isinstance(text, str) else [message.get("content") for message in text]:
        if not isinstance(content, str | list):
            raise Broken(f"{what} is {kind_of(content)}")
    return bool(text_of(text).strip())


def steps_of(record: Mapping[str, Any], name: str) -> list[Any]:
    """Return a column that holds a list of steps.

    Raises:
        Broken: it is something else, such as a text, whose parts would be its letters.
    """
    value = record[name].tolist() if hasattr(record[name], "tolist") else record[name]
    if not isinstance(value, list | tuple):
        raise Broken(f"`{name}` is no list of steps but {kind_of(value)}")
    return list(value)


def source_of(record: Mapping[str, Any]) -> str | None:
    """Return a record's source as text."""
    source = record.get("source")
    return None if is_missing(source) else str(source)


def divided(chosen: list[Message], rejected: list[Message]) -> tuple[Text, Text, Text]:
    """Split two conversations that share all but the assistant's last turn into prompt and two answers.

    Raises:
        Drop: they differ earlier, or do not end with the assistant.
    """
    if not chosen or not rejected or chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise Drop("does not end with the assistant's turn")
    if chosen[:-1] != rejected[:-1]:
        raise Drop("the conversations differ before the last turn")
    if len(chosen) < 2:
        raise Drop("no prompt")
    return cast(Text, chosen[:-1]), cast(Text, chosen[-1:]), cast(Text, rejected[-1:])


def number(value: Any) -> float | None:
    """Return a published rating as a number; None for "N/A" and similar values."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found == found else None  # noqa: PLR0124 — NaN


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the published ratings that are numbers."""
    return {name: found for name, value in values.items() if (found := number(value)) is not None}


def aspects(completion: Mapping[str, Any]) -> dict[str, float]:
    """Return the numeric `Rating` of each aspect of one of UltraFeedback's completions."""
    found = (completion.get("annotations") or {}).items()
    firsts = {name: value[0] if isinstance(value, list) and value else value for name, value in found}  # older: lists
    return numbers({name: value.get("Rating") for name, value in firsts.items() if isinstance(value, Mapping)})
