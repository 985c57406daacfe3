"""Verifier of a completion that must be one JSON document accepted by a schema."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from rewardsmith.data import completion_text
from rewardsmith.data.rows import without_end_tokens
from rewardsmith.rewards.strict_json import read_json
from rewardsmith.rewards.thinking import after_thinking
from rewardsmith.types import Completion

MAX_CHARS = 200_000
_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)\n?```", re.DOTALL)
_TOOL_CALL = re.compile(r"<tool_call>(.*?)</tool_call>|<\|python_tag\|>(.*)|\[TOOL_CALLS\]\s*\[(.*)\]", re.DOTALL)
_DECIDES_ON_EMPTY = ("minLength", "enum", "const", "pattern", "format")


def json_schema(
    completions: list[Completion], *, schema: Mapping[str, Any], tool_call: bool = False, **columns: Any
) -> list[float | None]:
    """1.0 where the completion after its thinking is one strict JSON document that `schema` accepts, else 0.0.

    The document may be in one fenced block. Other text, a duplicate key, NaN, Infinity and a number that overflows are
    refused. A blank string is refused if the schema asks for a string and sets no condition on it (`minLength`, `enum`,
    `const`, `pattern`, `format`): otherwise an empty form would score like a filled one. Write `"minLength": 0` to
    allow it. Special tokens that end the turn, such as `<|im_end|>`, do not count.

    Args:
        schema: a JSON Schema (2020-12 unless `$schema` names another draft), with local references only.
        tool_call: the document has to stand alone in the mark of a tool call: `<tool_call>…</tool_call>` (Hermes,
            Qwen), `<|python_tag|>…` (Llama), or `[TOOL_CALLS] […]` with one call (Mistral).

    >>> json_schema(['{"x": 1}', '{"x": 1, "x": 2}', "x"], schema={"type": "object", "required": ["x"]})
    [1.0, 0.0, 0.0]
    """
    try:
        validator = schema_validator(json.dumps(schema, sort_keys=True))
    except TypeError as error:
        raise ValueError(f"json_schema: schema is not JSON ({error}). Pass a JSON Schema as a dict.") from error
    scores: list[float | None] = []
    for completion in completions:
        text = (after_thinking(without_end_tokens(completion_text(completion))) or "").strip()
        framed, valid = (_TOOL_CALL if tool_call else _FENCE).fullmatch(text), False
        if framed or tool_call:
            text = next(filter(None, framed.groups()), "") if framed else ""
        # Not JSON, a number beyond floats, or nesting beyond the stack limit.
        with contextlib.suppress(ValueError, ArithmeticError, RecursionError):
            valid = len(text) <= MAX_CHARS and validator.is_valid(read_json(text))
        scores.append(float(valid))
    return scores


@lru_cache(maxsize=256)
def schema_validator(schema_json: str, caller: str = "json_schema") -> Any:
    """Return the strict validator of a JSON Schema; it never uses the network.

    Raises:
        ValueError: it is no JSON Schema, or refers to another document.
    """
    from jsonschema import SchemaError
    from jsonschema.validators import Draft202012Validator, extend, validator_for
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    schema = json.loads(schema_json)
    draft = validator_for(schema, default=Draft202012Validator)
    try:
        draft.check_schema(schema)
    except SchemaError as error:
        raise ValueError(
            f"{caller}: schema is not a JSON Schema ({error.message} at {error.json_path}). Correct it there."
        ) from error
    registry: Any = Registry()  # empty, so that scoring never uses the network
    resolver = registry.resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise ValueError(
                f"{caller}: schema refers to {reference!r}, which it does not hold. Put it under `$defs`."
            ) from error
    strict: Any = extend(draft, {"type": _type_with_content(draft.VALIDATORS["type"])})  # type: ignore[no-untyped-call]
    return strict(schema, registry=registry)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _references(child)


def _type_with_content(check_type: Any) -> Any:
    """Return the keyword `type` that also refuses a blank string on which the schema sets no condition."""

    def check(validator: Any, types: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
        from jsonschema import ValidationError

        yield from check_type(validator, types, instance, schema)
        decided = any(word in schema for word in _DECIDES_ON_EMPTY)
        if isinstance(instance, str) and not instance.strip() and not decided:
            yield ValidationError("a blank string where the schema asks for a string")

    return check
