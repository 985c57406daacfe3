"""Plain data as JSON and back: what may travel between a child and its parent, and nothing else.

JSON knows no tuple, set or bytes and only keys of text, so all that is not a list or a scalar is an object of one key,
its kind: `(1, 2)` is `{"tuple": [1, 2]}`. Runs on both sides. The parent trusts no byte of what a child sends.
"""

from __future__ import annotations

import json
from typing import Any

_LISTS = {"tuple": tuple, "set": set, "frozenset": frozenset}
SAFE_INTEGER = 2**63  # larger ones travel as hexadecimal, which has no limit of digits


def pack(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Return the value as JSON's own types; an instance of a subclass becomes its base.

    >>> pack({1: (True, b"a")})
    {'dict': [[1, {'tuple': [True, {'bytes': '61'}]}]]}

    Raises:
        TypeError: a value is not plain data.
    """
    if value is None or isinstance(value, bool):
        return value
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return pack(value.item())
    if isinstance(value, int):
        return int(value) if -SAFE_INTEGER < value < SAFE_INTEGER else {"int": hex(value)}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [pack(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[pack(key), pack(item)] for key, item in value.items()]}
    for kind, build in _LISTS.items():
        if isinstance(value, build):
            return {kind: [pack(item) for item in value]}
    raise TypeError(f"a value of type {type(value).__name__} is not plain data")


def unpack(packed: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Return the value that `pack` was given.

    >>> unpack({"dict": [[1, {"tuple": [True, {"bytes": "61"}]}]]})
    {1: (True, b'a')}

    Raises:
        ValueError, TypeError, KeyError: this is not what `pack` returns.
    """
    if isinstance(packed, list):
        return [unpack(item) for item in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, inner),) = packed.items()
    if kind == "dict":
        return {unpack(key): unpack(item) for key, item in inner}
    if kind == "int":
        return int(inner, 16)
    if kind == "bytes":
        return bytes.fromhex(inner)
    if kind == "complex":
        return complex(*inner)
    return _LISTS[kind](unpack(item) for item in inner)


def dumps(value: Any) -> bytes:
    """Return a message as one line of JSON."""
    return json.dumps(value).encode() + b"\n"
