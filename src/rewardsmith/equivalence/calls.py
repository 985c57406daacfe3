"""Read the tool calls of a key, and write wrong ones; independent of any reward of tool calls."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_TAGS, _PYTHON = (
    re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL),
    re.compile(r"\[?\s*[A-Za-z_][\w.]*\(\s*\w+\s*="),
)
_WORDS = ("amber", "cobalt", "indigo", "scarlet", "violet")


class Call(NamedTuple):
    """One tool call; calls of a later step need the result of an earlier one, which they may name by its label."""

    name: str
    arguments: dict[str, Any]
    step: int = 0
    label: str = ""


def calls_in(value: Any) -> list[Call]:
    """Return the calls of a key: JSON, `<tool_call>` tags, OpenAI messages, or Python; none if it holds other things.

    >>> calls_in('[{"name": "add", "arguments": {"x": 1}}]') == calls_in("add(x=1)") == [Call("add", {"x": 1})]
    True
    """
    try:
        found = _calls(value.tolist() if hasattr(value, "tolist") else value)
        for place, call in enumerate(found):
            said = json.dumps(call.arguments)
            later = any(one.label and one.label in said for one in found[:place])
            found[place] = call._replace(arguments=json.loads(said), step=place if later else call.step)
    except (AttributeError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return []
    return found


def _calls(value: Any) -> list[Call]:
    if isinstance(value, str):
        text = "\n".join(_TAGS.findall(value)) or value.strip()
        if _PYTHON.match(text):
            tree: Any = ast.parse(text[:20_000], mode="eval").body
            return [
                Call(ast.unparse(node.func), {str(word.arg): ast.literal_eval(word.value) for word in node.keywords})
                for node in getattr(tree, "elts", [tree])
            ]
        return _calls([json.loads(line) for line in (text.splitlines() if "\n{" in text else [text]) if line.strip()])
    if isinstance(value, Mapping):
        if "role" in value:
            return _calls(value.get("tool_calls") or []) if value["role"] == "assistant" else []
        own = value.get("function", value)
        given: Any = own["arguments"] if own.get("arguments") is not None else own.get("parameters")
        if isinstance(given, Mapping):  # data sets fill columns of objects with None
            given = {key: one for key, one in given.items() if one is not None}
        given = json.loads(given) if isinstance(given, str) else given
        fits = isinstance(given, dict) and isinstance(own.get("name"), str)
        return [Call(own["name"], given, label=str(value.get("label") or value.get("id") or ""))] if fits else []
    found = [_calls(item) for item in value] if isinstance(value, Sequence) else []
    turns = [turn for turn, item in enumerate(value) if isinstance(item, Mapping) and "role" in item] if found else []
    calls = [call._replace(step=turn if turns else call.step) for turn, own in enumerate(found) for call in own]
    return calls if turns or all(found) else []


def written(calls: Sequence[Call]) -> str:
    """Write calls as JSON text, in which 1 and true differ."""
    return json.dumps([{"name": call.name, "arguments": call.arguments} for call in calls], ensure_ascii=False)


def changed(call: Call, shift: int = 1, *, last: bool = False) -> Call:
    """Return a call with another value of its first or last argument, or another name if it has none.

    >>> changed(Call("f", {"x": 1, "y": "a"})).arguments
    {'x': 2, 'y': 'a'}
    """
    if not call.arguments:
        return call._replace(name=f"{call.name}_{shift}")
    key = list(call.arguments)[-last]
    value: Any = call.arguments[key]
    if isinstance(value, int | float):
        value = not value if isinstance(value, bool) else value + shift
    elif isinstance(value, list | dict):
        value = [*value, shift] if isinstance(value, list) else {**value, "option": shift}
    else:
        value = [word for word in _WORDS if word != value][shift % 4]
    return call._replace(arguments={**call.arguments, key: value})


def wrong_calls(calls: Sequence[Call], other: Sequence[Call]) -> list[list[Call]]:
    """Return wrong calls, nearest first: with another value, an argument less, another name; at last another row's."""
    at = next((place for place, call in enumerate(calls) if call.arguments), 0)
    call, lost = calls[at], dict(list(calls[at].arguments.items())[:-1])
    name = next((one.name for one in other if one.name != call.name), f"{call.name}_v2")
    edits = (changed(call), call._replace(arguments=lost), call._replace(name=name))
    near, *more = ([*calls[:at], edit, *calls[at + 1 :]] for edit in edits)
    found = [near, [*calls[:-1], changed(calls[-1], 2, last=True)], *more, list(other)]
    return [own for own in found if own and written(own) != written(calls)]
