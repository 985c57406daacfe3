"""Compare what a program gave with what a test expects. Only the parent does this."""

from __future__ import annotations

import math
import re
from itertools import zip_longest
from typing import Any, Literal

Whitespace = Literal["lines", "exact", "tokens"]
_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")


def near(given: float, expected: float, tolerance: float) -> bool:
    """Return whether |given − expected| ≤ tolerance · max(1, |expected|), or both are NaN or the same infinity."""
    if math.isfinite(given) and math.isfinite(expected):
        return abs(given - expected) <= tolerance * max(1.0, abs(expected))
    return given == expected or (math.isnan(given) and math.isnan(expected))


def same_value(given: Any, expected: Any, tolerance: float, *, loose: bool = False) -> bool:
    """Return whether two plain values are equal, as `==` says, with a tolerance where a float is expected.

    Args:
        loose: `expected` comes from JSON, which has no tuples and no keys but texts. Then a tuple equals a list, and
            a key equals its text.

    >>> same_value([0.1 + 0.2], [0.3], 1e-6), same_value((1,), [1], 0.0), same_value((1,), [1], 0.0, loose=True)
    (True, False, True)
    """
    if isinstance(expected, float) and isinstance(given, int | float):
        return near(float(given), expected, tolerance)
    if isinstance(expected, list | tuple):
        alike = isinstance(given, list | tuple) if loose else type(given) is type(expected)
        return alike and len(given) == len(expected) and all(
            same_value(one, other, tolerance, loose=loose) for one, other in zip(given, expected, strict=True)
        )  # fmt: skip
    if isinstance(expected, dict):
        if not isinstance(given, dict):
            return False
        given = {str(key): value for key, value in given.items()} if loose else given
        return given.keys() == expected.keys() and all(
            same_value(given[key], value, tolerance, loose=loose) for key, value in expected.items()
        )
    return bool(given == expected)


def same_output(given: str, expected: str, tolerance: float, whitespace: Whitespace) -> bool:
    """Return whether a printed text is the expected one.

    Args:
        tolerance: of numbers that the expected text writes with a decimal point or an exponent; all else is exact.
        whitespace: "lines" ignores spaces at the ends of lines and blank lines at the end, "tokens" all kinds and
            amounts of space, "exact" nothing.

    >>> same_output("0.3333333 \\n\\n", "0.33333333", 1e-6, "lines"), same_output("3.0", "3", 1e-6, "lines")
    (True, False)
    """
    if whitespace == "exact":
        return given == expected
    lines, wanted = (text.rstrip().replace("\r\n", "\n").split("\n") for text in (given, expected))
    if whitespace == "tokens":
        lines, wanted = given.split(), expected.split()
    return len(lines) == len(wanted) and all(
        line.rstrip() == other.rstrip() or _same_tokens(line, other, tolerance)
        for line, other in zip(lines, wanted, strict=True)
    )


def _same_tokens(given: str, expected: str, tolerance: float) -> bool:
    """Compare two lines with the same spaces between their tokens."""
    for one, other in zip_longest(re.split(r"(\s+)", given.rstrip()), re.split(r"(\s+)", expected.rstrip())):
        if one != other and not _near_text(one or "", other or "", tolerance):
            return False
    return True


def _near_text(given: str, expected: str, tolerance: float) -> bool:
    if not _FRACTION.fullmatch(expected) or len(given) > 400:
        return False
    number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", given)
    return number is not None and near(float(given), float(expected), tolerance)
