"""Find the kind of an answer key and compare two answers, independent of any verifier.

The audit reports only what is certain, so `equivalent` returns None in case of doubt. One case it cannot detect: a key
such as "1011" or "1984" is read as a number although it may be a code or a year.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Literal

from rewardsmith.equivalence.algebra import equal_expressions, parse
from rewardsmith.equivalence.numbers import read_number, unwrap

Kind = Literal[
    "integer", "decimal", "fraction", "percent", "expression", "choice", "boolean", "word", "text", "structured"
]

_CHOICE = re.compile(r"\(?([A-J])(?:\)|\.|\))?")
_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_MAX_TEXT = 20_000


@lru_cache(maxsize=4096)
def key_kind(key: str) -> Kind:
    """Return the kind of an answer key by its layout: "1, 2" is structured, "1,234" an integer.

    >>> [key_kind(key) for key in ("1,234", "B", "yes", "Paris", "x^2+1", "[1, 2]", "New York")]
    ['integer', 'choice', 'boolean', 'word', 'expression', 'structured', 'text']
    """
    body = key.strip()
    number = read_number(body)
    if number is not None:
        return "decimal" if number.notation == "scientific" else number.notation
    if choice_letter(body) or body.lower() in _BOOLEANS:
        return "choice" if choice_letter(body) else "boolean"
    if "\n" in body or body[:1] in ("[", "{") or _elements(body) is not None:
        return "structured"
    if _WORD.fullmatch(body) and (len(body) > 1 or not body.isascii()):
        return "word"
    if parse(body) is not None or "\\frac" in body or "\\sqrt" in body:
        return "expression"
    return "text" if len(body.split()) > 1 else "word"


@lru_cache(maxsize=4096)
def equivalent(a: str, b: str) -> bool | None:
    r"""Return whether two answers denote the same thing, or None if uncertain.

    Compare numbers by exact rational arithmetic, then expressions, lists and JSON element by element, choices and
    booleans. Compare other text up to spacing, a final period, and case if it has no meaning.

    >>> equivalent("1,234.50", "1234.5"), equivalent(r"\frac{1}{2}", "50%"), equivalent("Paris", "Lyon")
    (True, True, None)
    """
    if max(len(a), len(b)) > _MAX_TEXT:
        return True if a == b else None
    left, right = " ".join(a.split()), " ".join(b.split())
    if left == right:
        return True
    if not left or not right:
        return False
    x, y = read_number(a.strip()), read_number(b.strip())
    if x is not None and y is not None:
        # Same unit: compare. A missing or another unit, or a percent against 100 times as much: open.
        if x.unit.lower().rstrip("s") != y.unit.lower().rstrip("s"):
            return None
        percents = (x.notation == "percent") + (y.notation == "percent")
        hundredfold = percents == 1 and (x.value == 100 * y.value or y.value == 100 * x.value)
        return True if x.value == y.value else None if hundredfold else False
    return _equal_written(left, right)


def _equal_written(left: str, right: str) -> bool | None:
    choices = choice_letter(left), choice_letter(right)
    if choices[0] and choices[1]:
        return choices[0] == choices[1]
    if any(choices) and choice_letter(left.upper()) == choice_letter(right.upper()):
        return None  # "b" may be the option B, or another variable
    first, second = _bare(unwrap(left)).lower(), _bare(unwrap(right)).lower()
    if first in _BOOLEANS and second in _BOOLEANS:  # "yes" and "true" mean the same but are no spellings of each other
        return True if first == second else None if _BOOLEANS[first] == _BOOLEANS[second] else False
    for read in (_json, _elements):
        p, q = read(left), read(right)
        if p is not None and q is not None:
            return _equal_structures(p, q)
    algebra = equal_expressions(left, right)
    if algebra is not None and not (_is_word(left) or _is_word(right)):
        return algebra
    return True if _normal(left) == _normal(right) else None


def _is_word(text: str) -> bool:
    return len(text) > 1 and text.isalpha()


def _equal_structures(x: Any, y: Any) -> bool | None:
    """Compare element by element; the same elements in another order give None, as the key may be a set."""
    if isinstance(x, list) and isinstance(y, list):
        if len(x) != len(y):
            return False
        verdict = _all([_equal_structures(p, q) for p, q in zip(x, y, strict=True)])
        shuffled = sorted(map(str, x)) == sorted(map(str, y))
        return None if verdict is False and shuffled else verdict
    if isinstance(x, dict) and isinstance(y, dict):
        return _all([_equal_structures(x[name], y[name]) for name in x]) if x.keys() == y.keys() else False
    if isinstance(x, list | dict) or isinstance(y, list | dict):
        return False
    return True if x == y and type(x) is type(y) else equivalent(str(x), str(y))


def _all(verdicts: list[bool | None]) -> bool | None:
    if any(verdict is False for verdict in verdicts):
        return False
    return None if None in verdicts else True


def _json(text: str) -> Any:
    """Read a JSON object or list with numbers kept as written; else None."""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None


def _elements(text: str) -> list[str] | None:
    """Return the elements of a flat list such as "1, 2" or "(3, x)" or "[a; b]"; else None."""
    body = unwrap(text)
    if body[:1] + body[-1:] in ("()", "[]"):
        body = body[1:-1]
    if not re.search(r"[,;]", body) or any(char in body for char in "()[]{}") or read_number(body) is not None:
        return None
    parts = [part.strip() for part in re.split(r"[,;]", body)]
    simple = all(part and len(part.split()) <= 2 and not part.endswith(".") for part in parts)
    return parts if simple else None


def choice_letter(text: str) -> str | None:
    """Return the letter of a multiple-choice answer such as "B", "(B)", "B." or "B)"; else None."""
    match = _CHOICE.fullmatch(text)
    if match is None or (text[0] == "(" and not text.endswith(")")):
        return None
    return match[1]


def _bare(text: str) -> str:
    return text[:-1] if text.endswith(".") else text


def _normal(text: str) -> str:
    """Drop a final period, and the case of lower-case or Title-case words."""
    text = _bare(unwrap(text))
    words = text.split()
    free = all(word.islower() or word.istitle() for word in words) and all(_WORD.fullmatch(word) for word in words)
    return text.lower() if free and len(text) > 1 else text


def committed(answer: str) -> str:
    """Return the final value of a reference answer: after the last `####`, in the last `\boxed{}`, or all of it.

    Published data often keep the whole solution as the answer; other numbers in it are no part of the key.

    >>> committed("3 + 4 = 7, so\\n#### 7"), committed("so \\\\boxed{\\\\frac{1}{2}}."), committed("7")
    ('7', '\\\\frac{1}{2}', '7')
    """
    if "####" in answer:
        return answer.rpartition("####")[2].strip() or answer
    start = answer.rfind("\\boxed{")
    if start < 0:
        return answer
    depth = 0
    for at in range(start + len("\\boxed"), len(answer)):
        depth += (answer[at] == "{") - (answer[at] == "}")
        if depth == 0:
            return answer[start + len("\\boxed{") : at].strip() or answer
    return answer
