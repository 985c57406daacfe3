"""Decide whether an honest reader of a text would take the answer key from it."""

from __future__ import annotations

import re
from functools import lru_cache

from rewardsmith.equivalence.keys import equivalent
from rewardsmith.equivalence.numbers import read_number

_NUMBER_TOKEN = re.compile(
    r"(?<![\w.])[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:/[0-9]+)?%?|\\d?frac\{[^{}]*\}\{[^{}]*\}"
)


def number_tokens(text: str) -> list[str]:
    """Return the numbers that stand alone in `text`, as written, in order.

    >>> number_tokens("Add 1,200 and -3.5; x2 does not count.")
    ['1,200', '-3.5']
    """
    return list(_tokens(text))


@lru_cache(maxsize=1024)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_NUMBER_TOKEN.findall(text))


@lru_cache(maxsize=1024)
def _joined(text: str) -> str:
    return " ".join(text.split())


def stands_alone(text: str, key: str) -> bool:
    """Return whether `text` contains the key: a number of its value, or its words with borders on both sides."""
    if read_number(key) is not None:
        return any(equivalent(token, key) for token in _tokens(text)) or _bordered(text, key)
    return _bordered(text, key)


def _bordered(text: str, key: str) -> bool:
    body, words = _joined(key), _joined(text)
    if body.isascii() and words.isascii() and body.lower() not in words.lower():  # most texts: no search is needed
        return False
    return bool(body) and re.search(rf"(?<!\w){re.escape(body)}(?!\w)", words, re.IGNORECASE) is not None


def reads_off(text: str, key: str) -> bool:
    """Return whether the key is the first or the last possible answer in `text`.

    >>> reads_off("What is 4 + 5?", "5"), reads_off("Is 4 + 5 more than 7?", "5")
    (True, False)
    """
    body = _joined(key).casefold()
    if read_number(key) is not None and (tokens := _tokens(text)):
        return any(bool(equivalent(token, key)) for token in (tokens[0], tokens[-1])) or _at_edge(text, body)
    return _at_edge(text, body)


def _at_edge(text: str, body: str) -> bool:
    plain = _joined(text).casefold().strip(".,:;!?()[]*\"' ")
    if not body or not _bordered(plain, body):
        return False
    bare = body.strip(".,:;!?()[]*\"' ") or body
    return bool(re.match(rf"{re.escape(bare)}(?!\w)", plain) or re.search(rf"(?<!\w){re.escape(bare)}$", plain))
