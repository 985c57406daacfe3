"""Read tool calls from the syntaxes of chat templates, servers and data sets; text is parsed and never evaluated."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple, get_args

from rewardsmith.data import completion_text
from rewardsmith.data.rows import without_end_tokens
from rewardsmith.rewards.strict_json import read_json, read_json_sequence
from rewardsmith.rewards.thinking import after_thinking

Syntax = Literal["hermes", "llama", "mistral", "json", "python", "messages"]
MAX_CHARS, MAX_PYTHON, MAX_CALLS, MAX_DEPTH = 200_000, 20_000, 256, 32

_MARKS: dict[str, Syntax] = {
    "<tool_call>": "hermes", "<|python_tag|>": "llama", "[TOOL_CALLS]": "mistral", "<function=": "llama",
}  # fmt: skip
_BLOCK = re.compile(r"\s*<tool_call>(.*?)</tool_call>\s*", re.DOTALL)
_FUNCTION = re.compile(r"\s*<function=([\w.\-]{1,200})>(.*?)</function>\s*", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=([\w.\-]{1,200})>(.*?)</parameter>\s*", re.DOTALL)
_FENCE = re.compile(r"```(?:json|python|tool_code)?[ \t]*\n(.*?)\n?```", re.DOTALL)
_PYTHON = re.compile(r"\[?\s*[A-Za-z_][\w.]*\s*\(.*\)\s*\]?", re.DOTALL)


class ToolCall(NamedTuple):
    """One call: the tool's name and its arguments, which are JSON values.

    >>> ToolCall("add", {"x": 1}).arguments
    {'x': 1}
    """

    name: str
    arguments: dict[str, Any]


def read_tool_calls(source: Any, *, syntax: Syntax | None = None) -> tuple[ToolCall, ...]:
    """Read all tool calls of a completion or of a reference answer, in order; () where it calls no tool.

    | syntax | looks like |
    |---|---|
    | `hermes` (Qwen too) | `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, several blocks or several lines in one; Qwen-Coder's `<function=f><parameter=x>1</parameter></function>` inside |
    | `llama` | `<|python_tag|>{"name": …, "parameters": {…}}`, several split by `;`, or `<function=f>{…}</function>` |
    | `mistral` | `[TOOL_CALLS] [{"name": …, "arguments": {…}}]` |
    | `json` | one object or a list of them, alone or in one fenced block |
    | `python` | `[f(x=1), g(y="a")]`, also without brackets, with literals as keyword arguments |
    | `messages` | `tool_calls` of OpenAI's and TRL's assistant messages; results of tools do not count |

    The thinking and the special tokens that end a turn are not read. Before the first call any text may stand; between
    calls and after the last one, only white space. Refused are a key or an argument that is given twice, NaN, numbers
    that overflow, calls in the field `tool_calls` and in the text of one completion, more than 256 calls, 200,000
    characters (20,000 of Python) or 32 levels of nesting. In an object that was not read from text, an argument of None
    is no argument, because data sets fill their columns with it.

    Args:
        source: a text, messages, one call as an object, or a list of such objects.
        syntax: the only syntax to accept; None accepts any of them.

    Raises:
        ValueError: it means to call a tool and cannot be read, or is written in another syntax.

    >>> read_tool_calls('Let me look. <tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>')
    (ToolCall(name='f', arguments={'x': 1}),)
    >>> read_tool_calls("[f(x=1), g()]") == read_tool_calls([{"name": "f", "parameters": {"x": 1}}, {"name": "g", "arguments": "{}"}])
    True
    >>> read_tool_calls("It is 4.")
    ()
    """  # noqa: E501 - rows of a table
    if syntax is not None and syntax not in get_args(Syntax):
        raise ValueError(f"read_tool_calls: syntax is {syntax!r}. Use one of {', '.join(get_args(Syntax))}, or None.")
    source = source.tolist() if hasattr(source, "tolist") else source  # an array, as pandas reads lists
    try:
        if isinstance(source, str):
            written, calls = _in_text(source)
        elif isinstance(source, Mapping):
            written, calls = _in_objects([source])
        elif isinstance(source, Sequence):
            written, calls = _in_objects(source)
        else:
            raise ValueError(f"a {type(source).__name__} holds no calls")
    except (RecursionError, MemoryError) as error:
        raise ValueError("the calls are nested too deeply") from error
    if syntax is not None and calls and written != syntax:
        raise ValueError(f"the calls are written as {written}, not as {syntax}")
    if len(calls) > MAX_CALLS:
        raise ValueError(f"{len(calls)} calls are more than {MAX_CALLS}")
    return tuple(calls)


def _in_objects(items: Sequence[Any]) -> tuple[Syntax, list[ToolCall]]:
    """Read messages, or a list of calls."""
    if not any(isinstance(item, Mapping) and {"role", "tool_calls", "content"} & item.keys() for item in items):
        return "json", [_call(item, filled=True) for item in items]
    said = [item for item in items if isinstance(item, Mapping) and item.get("role", "assistant") == "assistant"]
    fields = [message.get("tool_calls") or [] for message in said]
    if not all(isinstance(field, Sequence) and not isinstance(field, str) for field in fields):
        raise ValueError("`tool_calls` is no list")
    calls = [_call(item, filled=True) for field in fields for item in field]
    texts = [completion_text([message]) for message in said]
    if not calls:
        read = [_in_text(text) for text in texts]
        written: Syntax = next((syntax for syntax, found in read if found), "messages")
        return written, [call for _, found in read for call in found]
    if any(mark in text for text in texts for mark in _MARKS):
        raise ValueError("calls stand both in `tool_calls` and in the text")
    return "messages", calls


def _in_text(text: str) -> tuple[Syntax, list[ToolCall]]:
    if len(text) > MAX_CHARS:
        raise ValueError(f"{len(text)} characters are more than {MAX_CHARS}")
    shown = (after_thinking(without_end_tokens(text)) or "").strip()
    found = [(place, mark) for mark in _MARKS if (place := shown.find(mark)) >= 0]
    if found:
        place, mark = min(found)
        inside = shown[place:] if mark in ("<tool_call>", "<function=") else shown[place + len(mark) :].strip()
        if mark == "<tool_call>":
            return "hermes", [call for (body,) in _all(_BLOCK, inside) for call in _in_block(body.strip())]
        if mark == "<function=":
            return "llama", _in_functions(inside)
        if mark == "<|python_tag|>" and _PYTHON.fullmatch(inside):
            return "llama", _in_python(inside) or []
        return _MARKS[mark], _in_json(inside)
    fenced = _FENCE.fullmatch(shown)
    shown = (fenced[1] if fenced else shown).strip()
    if re.match(r"\{|\[\s*[{\]]", shown):
        return "json", _in_json(shown)
    calls = _in_python(shown) if _PYTHON.fullmatch(shown) else None
    return "python", calls or []


def _all(pattern: re.Pattern[str], text: str) -> list[tuple[str, ...]]:
    """Return the groups of all matches, which must cover the text."""
    found, position = [], 0
    while match := pattern.match(text, position):
        found.append(tuple(match.groups()))
        position = match.end()
    if position < len(text):
        raise ValueError(f"{text[position : position + 40]!r} stands where a call or the end should")
    return found


def _in_block(body: str) -> list[ToolCall]:
    return _in_functions(body) if body.startswith("<function=") else _in_json(body)


def _in_json(text: str) -> list[ToolCall]:
    """Read JSON documents that stand one after another, split by white space or semicolons."""
    documents = read_json_sequence(text)
    if not documents:
        raise ValueError("a mark of a call without a call")
    return [_call(item) for document in documents for item in (document if isinstance(document, list) else [document])]


def _in_functions(text: str) -> list[ToolCall]:
    calls = []
    for name, body in _all(_FUNCTION, text):
        if body.strip().startswith("{"):
            calls.append(_call({"name": name, "arguments": body}))
            continue
        pairs = _all(_PARAMETER, body.strip())
        arguments = {key: _untyped(value.removeprefix("\n").removesuffix("\n")) for key, value in pairs}
        if len(arguments) < len(pairs):
            raise ValueError("an argument is given twice")
        calls.append(_call({"name": name, "arguments": arguments}))
    return calls


def _untyped(text: str) -> Any:
    """Return what a text without quotes means: the JSON value that it spells, or the text itself."""
    try:
        return read_json(text)
    except ValueError:
        return text


def _in_python(text: str) -> list[ToolCall] | None:
    """Read Python calls with literals; None where the text is no Python."""
    levels = list(accumulate((c in "([{") - (c in ")]}") for c in text))
    if len(text) > MAX_PYTHON or max(levels) > MAX_DEPTH or re.search(r"[-+~]{9}|(?:\bnot\s+){9}", text):
        raise ValueError("Python calls of this size or depth are not read")
    try:
        with warnings.catch_warnings():  # `1or 2` is worth a warning to Python, or an error, by the caller's filters
            warnings.simplefilter("ignore")
            body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    calls = []
    for node in body:
        value = node.value if isinstance(node, ast.Expr) else node
        for item in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
            name = ast.unparse(item.func) if isinstance(item, ast.Call) else ""
            if not isinstance(item, ast.Call) or not re.fullmatch(r"[\w.]+", name):
                raise ValueError("Python that is no call of a tool by its name")
            keys = [keyword.arg for keyword in item.keywords]
            if item.args or None in keys or len(set(keys)) < len(keys):
                raise ValueError("arguments of a Python call must be keywords, each given once")
            calls.append(ToolCall(name, {str(keyword.arg): _literal(keyword.value) for keyword in item.keywords}))
    return calls


def _literal(node: ast.expr) -> Any:
    """Return the JSON value of a Python literal."""
    if isinstance(node, ast.Dict):
        keys = [_literal(key) if key is not None else None for key in node.keys]
        if not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
            raise ValueError("keys of a Python dict must be texts, each given once")
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    return _plain(ast.literal_eval(node))


def _call(item: Any, *, filled: bool = False) -> ToolCall:
    """Read one object of `name` and `arguments` or `parameters`, perhaps inside `function`.

    Args:
        filled: whether None may stand for what is absent.
    """
    inner = item.get("function") if isinstance(item, Mapping) else None
    fields = inner if isinstance(inner, Mapping) else item
    if not isinstance(fields, Mapping):
        raise ValueError(f"a {type(item).__name__} is no call")
    name, given = fields.get("name"), [fields[k] for k in ("arguments", "parameters") if fields.get(k) is not None]
    if not isinstance(name, str) or not name or len(given) != 1:
        raise ValueError("a call needs a `name`, and either `arguments` or `parameters`")
    arguments = read_json(given[0]) if isinstance(given[0], str) else given[0]
    if not isinstance(arguments, Mapping):
        raise ValueError("the arguments of a call are no object")
    if filled and not isinstance(given[0], str):
        arguments = {key: value for key, value in arguments.items() if value is not None}
    return ToolCall(name, _plain(arguments))


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a JSON value, with arrays and tuples as lists."""
    if depth > MAX_DEPTH:
        raise ValueError(f"arguments are nested more than {MAX_DEPTH} levels deep")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key of an argument is no text")
        return {key: _plain(own, depth + 1) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own, depth + 1) for own in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not JSON")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a {type(value).__name__} is no JSON value")
