"""Strict JSON: text from a policy or a judge must have exactly one meaning."""

from __future__ import annotations

import json
import math
import re
from typing import Any


def read_json(text: str) -> Any:
    """Parse `text` as one strict JSON document.

    Raises:
        ValueError: it is not JSON, has a duplicate key, or holds NaN, Infinity or a number that overflows.
        RecursionError: it is nested too deeply.

    >>> read_json('{"x": [1, 2.5]}')
    {'x': [1, 2.5]}
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)


def read_json_sequence(text: str) -> list[Any]:
    """Parse strict JSON documents that stand one after another, split by white space or semicolons.

    Raises:
        ValueError, RecursionError: as `read_json`.

    >>> read_json_sequence('{"x": 1}; {"x": 2}')
    [{'x': 1}, {'x': 2}]
    """
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    documents, position = [], 0
    while start := _SOMETHING.search(text, position):
        document, position = decoder.raw_decode(text, start.start())
        documents.append(document)
    return documents


_SOMETHING = re.compile(r"[^\s;]")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is given twice")
    return document


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(numeral: str) -> float:
    value = float(numeral)
    if not math.isfinite(value):
        raise ValueError("a number overflows")
    return value
