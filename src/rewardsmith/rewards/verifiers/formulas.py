"""The outer structure of a formula: relations, lists, sets, tuples, intervals and unions of plain values."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from rewardsmith.rewards.verifiers.numerals import read_quantity, simplified

MAX_PARTS = 30
Kind = Literal["chain", "union", "list", "set", "bracket"]


class Value(NamedTuple):
    """One value, still as text."""

    text: str


class Compound(NamedTuple):
    """Several parts. marks: the relations of a chain, or the two brackets; otherwise empty."""

    kind: Kind
    parts: tuple[Value | Compound, ...]
    marks: tuple[str, ...] = ()


Formula = Value | Compound

_SPELLINGS = {
    r"\leqslant": "≤", r"\geqslant": "≥", r"\leq": "≤", r"\geq": "≥", r"\le": "≤", r"\ge": "≥", "<=": "≤", ">=": "≥",
    r"\neq": "≠", r"\ne": "≠", "!=": "≠", r"\lt": "<", r"\gt": ">", r"\in": "∈", r"\cup": "∪", "±": r"\pm",
    r"\lbrace": r"\{", r"\rbrace": r"\}",
}  # fmt: skip
_SPELLING = re.compile("|".join(re.escape(s) + ("(?![a-zA-Z])" if s[-1].isalpha() else "") for s in _SPELLINGS))
_TOKEN = re.compile(r"\\[{}]|\\[a-zA-Z]+|\\.|(?<=[ }\])0-9])and(?=[ \\\[({0-9])|.", re.DOTALL)
_MIRROR = {"<": ">", "≤": "≥", ">": "<", "≥": "≤"}


def read_formula(text: str) -> Formula | None:
    """Parse the structure of `text`; None where a part is empty or brackets do not close.

    A chain is turned to rise: `2 > x` is `x < 2`. `a \\pm b` lists both values; `[1, 2)` keeps its brackets; `(a)` is
    a.

    >>> read_formula(r"\\{1, 2\\}")
    Compound(kind='set', parts=(Value(text='1'), Value(text='2')), marks=())
    """
    text = _SPELLING.sub(lambda match: _SPELLINGS[match[0]], simplified(text))
    return _read(text.replace(r"\{ ", r"\{"), depth=0)


def _read(text: str, depth: int) -> Formula | None:
    text = text.strip()
    if not text or depth > 4:
        return None
    if read_quantity(text) is not None and "=" not in text:
        return Value(text)
    for seps, kind in (((",", ";", "and"), "list"), (("=", "<", ">", "≤", "≥", "≠", "∈"), "chain"), (("∪",), "union")):
        split = _split(text, seps)
        if split is None or len(split[0]) > MAX_PARTS:
            return None
        if len(split[0]) > 1:
            return _compound(kind, split[0], split[1] if kind == "chain" else [], depth)  # type: ignore[arg-type]
    return _bracketed(text, depth) or _both_signs(text, depth)


def _compound(kind: Kind, texts: list[str], marks: list[str], depth: int) -> Formula | None:
    parts = [_read(part, depth + 1) for part in texts]
    if any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    if marks and all(mark in _MIRROR for mark in marks) and marks[0] in (">", "≥"):
        known, marks = known[::-1], [_MIRROR[mark] for mark in marks[::-1]]
    return Compound(kind, tuple(known), tuple(marks))


def _bracketed(text: str, depth: int) -> Formula | None:
    """Parse a set, tuple or interval: one pair of brackets around `text`, with more than one grouped value."""
    braces = text.startswith(r"\{") and text.endswith(r"\}")
    if not braces and not (text[0] in "([" and text[-1] in ")]" and len(text) > 2):
        return None
    inner = text[2:-2] if braces else text[1:-1]
    split = _split(inner, (",", ";"))
    if split is None:
        return None
    if braces:
        return _compound("set", split[0], [], depth)
    if len(split[0]) == 1:
        return _read(inner, depth + 1) if (text[0], text[-1]) == ("(", ")") else None
    return _compound("bracket", split[0], [text[0], text[-1]], depth)


def _both_signs(text: str, depth: int) -> Formula | None:
    signs = len(re.findall(r"\\pm(?![a-zA-Z])", text))
    if signs == 0:
        return Value(text) if _split(text, ()) is not None else None
    if signs > 1:
        return None
    spelled = [re.sub(r"\\pm(?![a-zA-Z])", f" {sign} ", text) for sign in "+-"]
    return _compound("list", spelled, [], depth)


def _split(text: str, separators: tuple[str, ...]) -> tuple[list[str], list[str]] | None:
    """Split `text` at each separator outside all brackets; None where brackets do not close."""
    parts, marks, start, depth = [], [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("(", "[", "{", r"\{"):
            depth += 1
        elif token[0] in (")", "]", "}", r"\}"):
            depth -= 1
            if depth < 0:
                return None
        elif depth == 0 and token[0] in separators:
            parts.append(text[start : token.start()])
            marks.append(token[0])
            start = token.end()
    return ([*parts, text[start:]], marks) if depth == 0 else None
