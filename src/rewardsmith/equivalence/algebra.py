"""Compare two short expressions: a small grammar, exact arithmetic first, sympy for roots and π."""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

from rewardsmith.equivalence.numbers import MAX_LENGTH, unwrap

Tree = tuple[Any, ...]
"""("num", Fraction), ("var", letter), ("pi",), ("neg", t), ("+ - * / ^", t, t), or ("sqrt sin cos tan ln exp", t)."""

_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(\\?[A-Za-zπ]+)|(\*\*|[-+*/^(){}·×√]))")
_FUNCTIONS = ("sqrt", "sin", "cos", "tan", "ln", "exp")
_OPERATORS: dict[str, Callable[..., Any]] = {
    "neg": operator.neg, "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "^": operator.pow,
}  # fmt: skip
_MAX_POWER = 12
_MAX_NODES = 40
_MAX_DEGREE = 64
_POINTS = [Fraction(random.Random(38).randrange(10**6, 10**9)) + Fraction(k, 7919) for k in range(12)]


def equal_expressions(a: str, b: str) -> bool | None:
    """Return whether two expressions agree everywhere, or None if unknown or outside the grammar.

    Rational functions are compared exactly at points far from small roots: a difference is a proof, and agreement at
    12 of them errs with probability below (degree / 10⁸)¹² (Schwartz–Zippel).

    >>> equal_expressions("(x+1)^2", "x^2 + 2x + 1"), equal_expressions(r"\\frac{\\sqrt{8}}{2}", "sqrt(2)")
    (True, True)
    """
    left, right = parse(a), parse(b)
    if left is None or right is None:
        return None
    letters = sorted(_letters(left) | _letters(right))
    if {"e", "i", "j"} & set(letters):  # constants or variables: unknown
        return True if left == right else None
    if _transcendental(left) or _transcendental(right):
        return _equal_symbolic(left, right)
    agreed = 0
    for shift in range(len(_POINTS)):
        at = {letter: _POINTS[(shift + 5 * k) % 12] + 31 * k for k, letter in enumerate(letters)}
        try:
            if _evaluate(left, partial(_at, letters=at)) != _evaluate(right, partial(_at, letters=at)):
                return False
        except (ZeroDivisionError, OverflowError):
            continue
        agreed += 1
    return True if agreed >= 6 else None


def _at(kind: str, content: Any, *, letters: dict[str, Fraction]) -> Any:
    return letters[content] if kind == "var" else content


def _evaluate(tree: Tree, leaf: Callable[..., Any]) -> Any:
    """Evaluate a tree; `leaf` gives the values of numbers, letters and functions."""
    kind, *parts = tree
    if kind in ("num", "var", "pi"):
        return leaf(*tree)
    values = [_evaluate(part, leaf) for part in parts]
    return _OPERATORS[kind](*values) if kind in _OPERATORS else leaf(kind, *values)


def _equal_symbolic(left: Tree, right: Tree) -> bool | None:
    """Show a difference by numbers to 60 digits, or equality by `simplify`; else return None."""
    import sympy

    difference = _evaluate(left, _sympy) - _evaluate(right, _sympy)
    if difference == 0:
        return True
    free = sorted(difference.free_symbols, key=str)
    value = difference.subs({symbol: sympy.Rational(17 + 4 * k, 13) for k, symbol in enumerate(free)}).evalf(60)
    if not value.is_number or value.has(sympy.nan, sympy.zoo, sympy.oo):
        return None
    if abs(value) > sympy.Float("1e-30"):
        return False
    return True if sympy.simplify(difference) == 0 else None


def _sympy(kind: str, content: Any = None) -> Any:
    import sympy

    if kind == "num":
        return sympy.Rational(content.numerator, content.denominator)
    if kind == "var":
        return sympy.Symbol(content, real=True)
    return sympy.pi if kind == "pi" else getattr(sympy, "log" if kind == "ln" else kind)(content)


def _letters(tree: Tree) -> set[str]:
    if tree[0] == "var":
        return {tree[1]}
    return set().union(*(_letters(part) for part in tree[1:] if isinstance(part, tuple)))


def _transcendental(tree: Tree) -> bool:
    own = tree[0] in _FUNCTIONS or tree[0] == "pi"
    if tree[0] == "^":
        exponent = tree[2][1] if tree[2][0] == "neg" else tree[2]
        own = not (exponent[0] == "num" and exponent[1].denominator == 1)
    return own or any(_transcendental(part) for part in tree[1:] if isinstance(part, tuple))


@lru_cache(maxsize=2048)
def parse(text: str) -> Tree | None:
    """Parse a short expression; None outside the grammar (long text, words, big powers, relations)."""
    if len(text) > 2 * MAX_LENGTH:
        return None
    body = unwrap(text)
    if len(body) > MAX_LENGTH:
        return None
    body, tokens, position = body.rstrip("."), list[str](), 0
    while position < len(body):
        match = _TOKEN.match(body, position)
        if match is None:
            return None
        tokens.append(next(group for group in match.groups() if group))
        position = match.end()
    if not tokens or len(tokens) > _MAX_NODES:
        return None
    try:
        tree, position = _sum(tokens, 0)
    except (IndexError, ValueError, RecursionError):
        return None
    return tree if position == len(tokens) and _degree(tree) <= _MAX_DEGREE else None


def _degree(tree: Tree) -> int:
    """Bound the degree of a tree, with numbers counted like letters: ((9^12)^12)^12 must not be computed."""
    parts = [_degree(part) for part in tree[1:] if isinstance(part, tuple)]
    if tree[0] == "^":
        exponent = tree[2][1] if tree[2][0] == "neg" else tree[2]
        return parts[0] * (max(1, abs(int(exponent[1]))) if exponent[0] == "num" else _MAX_POWER)
    return sum(parts) if tree[0] in ("*", "/") else max(parts, default=1)


def _sum(tokens: list[str], at: int) -> tuple[Tree, int]:
    left, at = _product(tokens, at)
    while at < len(tokens) and tokens[at] in "+-":
        right, after = _product(tokens, at + 1)
        left, at = (tokens[at], left, right), after
    return left, at


def _product(tokens: list[str], at: int) -> tuple[Tree, int]:
    left, at = _signed(tokens, at)
    while at < len(tokens) and tokens[at] not in ("+", "-", ")", "}"):
        explicit = tokens[at] in ("*", "/", "·", "×")
        if not explicit and tokens[at][0].isdigit():  # "x 2" or "2 3": not a product anyone writes
            raise ValueError
        if explicit:
            right, after = _signed(tokens, at + 1)
        else:
            if left[0] == "/":  # "1/2x" is read both ways
                raise ValueError
            right, after = _power(tokens, at)
        left, at = ("/" if tokens[at] == "/" else "*", left, right), after
    return left, at


def _signed(tokens: list[str], at: int) -> tuple[Tree, int]:
    if tokens[at] in "+-":
        inner, after = _signed(tokens, at + 1)
        return (("neg", inner) if tokens[at] == "-" else inner), after
    return _power(tokens, at)


def _power(tokens: list[str], at: int) -> tuple[Tree, int]:
    base, at = _atom(tokens, at)
    if at < len(tokens) and tokens[at] in ("^", "**"):
        exponent, at = _group(tokens, at + 1) if tokens[at + 1] == "{" else _signed(tokens, at + 1)
        number = exponent[1] if exponent[0] == "neg" else exponent
        if number[0] == "num" and (abs(number[1]) > _MAX_POWER or number[1].denominator > _MAX_POWER):
            raise ValueError
        if number[0] not in ("num", "/", "var"):
            raise ValueError
        return ("^", base, exponent), at
    return base, at


def _atom(tokens: list[str], at: int) -> tuple[Tree, int]:
    token = tokens[at]
    name = token.lstrip("\\")
    if token[0].isdigit() or token[0] == ".":
        if len(token) > 1 and token[0] == "0" and token[1] != ".":  # "007" is a code
            raise ValueError
        return ("num", Fraction(token)), at + 1
    if token in ("(", "{"):
        return _group(tokens, at)
    if token == "\\frac":
        top, at = _group(tokens, at + 1)
        bottom, at = _group(tokens, at)
        return ("*", ("num", Fraction(1)), ("/", top, bottom)), at
    if name in _FUNCTIONS or token == "√":
        function, after = name if name in _FUNCTIONS else "sqrt", tokens[at + 1]
        inner, at = (("num", Fraction(after)), at + 2) if after[0].isdigit() else _group(tokens, at + 1)
        return (function, inner), at
    if name in ("pi", "π"):
        return ("pi",), at + 1
    called = at + 1 < len(tokens) and tokens[at + 1] == "(" and token in ("f", "g", "h")
    if len(token) == 1 and token.isascii() and token.isalpha() and not called:
        return ("var", token), at + 1
    raise ValueError


def _group(tokens: list[str], at: int) -> tuple[Tree, int]:
    closing = {"(": ")", "{": "}"}.get(tokens[at])
    if closing is None:
        raise ValueError
    inner, at = _sum(tokens, at + 1)
    if tokens[at] != closing:
        raise ValueError
    return inner, at + 1
