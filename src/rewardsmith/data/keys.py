"""Check a row's reference answer (key): it must be a text or a number; otherwise there is a reason why it is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple


class Key(NamedTuple):
    """The text of a reference answer, or None with the reason."""

    text: str | None
    why: str = ""


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty: None, NaN, or pandas' NA and NaT.

    >>> [is_missing(value) for value in (None, float("nan"), "", "nan", 0, [None])]
    [True, True, False, False, False, False]
    """
    if value is None or isinstance(value, str):
        return value is None
    try:
        return not bool(value == value)  # noqa: PLR0124 — only missing values differ from themselves
    except TypeError:  # NA has no truth value
        return True
    except Exception:  # an array of several values
        return False


def read_key(value: Any) -> Key:
    """Read a reference answer as text, or return the reason why it is no key.

    A dict or a list is no key, because any of its values could be meant.

    >>> read_key(7), read_key({"target": "7"}).text, read_key(None).why
    (Key(text='7', why=''), None, 'the row has no key')
    """
    if is_missing(value):
        return Key(None, "the row has no key")
    if hasattr(value, "tolist"):
        value = value.tolist()  # numpy numbers and arrays
    if isinstance(value, str) or not isinstance(value, Mapping | Sequence | Set | bytes | bytearray):
        try:
            return Key(str(value)) if not is_missing(value) else Key(None, "the row has no key")
        except Exception as error:  # an integer with more digits than Python writes
            return Key(None, f"the key cannot be written as text ({type(error).__name__}: {error})")
    kind = type(value).__name__
    held = f"with {', '.join(map(str, list(value)[:4]))}" if isinstance(value, Mapping) else f"of {len(value)}"
    return Key(None, f"the key is a {kind} {held}, but `answer` must be one text or number")


def only_text(value: Any) -> str | None:
    """Return a key's text, or the only text or number in a dict or a list; else None.

    >>> only_text({"target": ["7"]}), only_text({"numbers": [1, 2], "target": 3}), only_text("7")
    ('7', None, '7')
    """
    for _ in range(4):
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, Mapping):
            value = list(value.values())
        if not isinstance(value, list | tuple):
            break
        if len(value) != 1:
            return None
        value = value[0]
    return read_key(value).text
