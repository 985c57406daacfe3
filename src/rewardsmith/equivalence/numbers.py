"""Read a written number exactly, in all common spellings, as one `Fraction`."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

Notation = Literal["integer", "decimal", "fraction", "percent", "scientific"]

MAX_LENGTH = 80
"""Longer text is not read as a number or an expression."""
MAX_EXPONENT = 60
"""Larger powers of ten are refused, as 10**999999999 would not terminate."""

_WRAPPERS = (
    re.compile(r"^\$\$(?P<body>[^$]+)\$\$$"),
    re.compile(r"^\$(?P<body>[^$]+)\$$"),
    re.compile(r"^\\\((?P<body>.+)\\\)$", re.DOTALL),
    re.compile(r"^\\\[(?P<body>.+)\\\]$", re.DOTALL),
    re.compile(r"^\\boxed\{(?P<body>[^{}]*(?:\{[^{}]*\}[^{}]*)*)\}$"),
    re.compile(r"^\\(?:text|mathrm|textbf|mathbf)\{(?P<body>[^{}]*)\}$"),
)
_SPELLINGS = (
    ("{,}", ","),
    ("\\%", "%"),
    ("\\$", "$"),
    ("\\!", ""),
    ("\\,", " "),
    ("\\;", " "),
    ("\\ ", " "),
    ("~", " "),
    ("\\left", ""),
    ("\\right", ""),
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\times", "×"),
    ("\\cdot", "·"),
    ("−", "-"),
)
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm)\{([^{}]*)\}")
_PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_TENS = re.compile(r"\s*(?:[eE](?P<e>[+-]?[0-9]+)|[×·*]\s*10\s*\^\s*(?:\{(?P<b>[+-]?[0-9]+)\}|(?P<c>[+-]?[0-9]+)))")
_NUMBER = re.compile(_PLAIN)
_REPEATED = re.compile(r"\\overline\s*\{([0-9]{1,12})\}")
_FRAC = re.compile(rf"\\frac\s*(?:\{{\s*(-?(?:{_PLAIN}))\s*\}}|([0-9]))\s*(?:\{{\s*({_PLAIN})\s*\}}|([0-9]))")
_SLASH = re.compile(rf"({_PLAIN})\s*/\s*({_PLAIN})")
_WHOLE = re.compile(r"([0-9]+)(?:\s+(?=[0-9])|\s*(?=\\frac))")
_UNIT = re.compile(r"(\s*)((?:[A-Za-zµ]+|°[CF]?)(?:[/ ][A-Za-z]+)?(?:²|³|\^[23])?)")
_ONE_LETTER_UNITS = "mgshLlNJWVAKCF"
_NOT_UNITS = frozenset((
    "and", "or", "not", "is", "to", "of", "the", "pi", "sqrt", "st", "nd", "rd", "th", "sin", "cos", "tan", "ln", "log",
    "exp", "frac", "x",
))  # fmt: skip


class Number(NamedTuple):
    """Value, notation and unit of a written number.

    value: exact. notation: how it is written. unit: letters after it or a currency sign before it, "" where none.
    """

    value: Fraction
    notation: Notation
    unit: str = ""


def unwrap(text: str) -> str:
    r"""Remove surrounding space, math delimiters, `\boxed` and `\text`, and simplify LaTeX spellings.

    >>> unwrap(r" $1{,}234\%$ ")
    '1,234%'
    """
    text = text.strip()
    for _ in range(4):
        before = text
        for wrapper in _WRAPPERS:
            if match := wrapper.match(text):
                text = match["body"].strip()
        if text == before:
            break
    if "\\" in text or "{" in text or "~" in text or "−" in text:
        for old, new in _SPELLINGS:
            text = text.replace(old, new)
        text = _TEXT_COMMAND.sub(r"\1", text).strip()
    return text


@lru_cache(maxsize=8192)
def read_number(text: str) -> Number | None:
    """Read the whole of `text` as a number; None if it is none, or uncertain.

    A leading zero before other digits ("007", "0110") makes it a code, which is no number.

    >>> read_number("1 1/2"), read_number("007")
    (Number(value=Fraction(3, 2), notation='fraction', unit=''), None)
    """
    if len(text) > 4 * MAX_LENGTH:
        return None
    body = unwrap(text)
    if len(body) > MAX_LENGTH or not any("0" <= char <= "9" for char in body):
        return None
    if body.endswith(".") and not body.endswith(".."):
        body = body[:-1]
    sign = -1 if body[:1] == "-" else 1
    if body[:1] in ("-", "+"):
        body = body[1:].lstrip()
    currency = body[:1] if body[:1] in "$€£" else ""
    body = body[len(currency) :].lstrip() if currency else body
    read = _fraction(body) or _decimal(body)
    if read is None:
        return None
    value, notation, rest = read
    if rest.strip() == "%":
        return Number(sign * value / 100, "percent", currency)
    if not rest.strip():
        return Number(sign * value, notation, currency)
    unit = None if currency else _unit(rest)
    return None if unit is None else Number(sign * value, notation, unit)


def _unit(rest: str) -> str | None:
    """Read `rest` as a unit, or None: "5x" is a product, "3rd" an ordinal, "3 or 4" two numbers."""
    match = _UNIT.fullmatch(rest)
    if match is None or any(word in _NOT_UNITS for word in match[2].lower().split()):
        return None
    if len(match[2]) == 1 and match[2] != "°" and not (match[1] and match[2] in _ONE_LETTER_UNITS):
        return None
    return match[2]


def _plain(digits: str) -> Fraction | None:
    """Read an unsigned decimal literal exactly; None for codes such as "007"."""
    digits = digits.replace(",", "")
    whole, _, decimals = digits.partition(".")
    if len(whole) > 1 and whole[0] == "0":
        return None
    return Fraction(int((whole + decimals) or "0"), 10 ** len(decimals))


def _fraction(body: str) -> tuple[Fraction, Notation, str] | None:
    """Read `a/b`, `\frac{a}{b}` or a mixed number at the start of `body`; also return the rest."""
    whole = _WHOLE.match(body)
    start = whole.end() if whole else 0
    match = _FRAC.match(body, start) or _SLASH.match(body, start)
    if match is None:
        return None
    top, bottom = (group for group in match.groups() if group is not None)
    if whole and (top[0] == "-" or not (top + bottom).isdigit()):
        return None
    numerator, denominator = _plain(top.lstrip("-")), _plain(bottom)
    lead = _plain(whole[1]) if whole else Fraction(0)
    if numerator is None or not denominator or lead is None:
        return None
    value = numerator / denominator
    if whole and value >= 1:
        return None
    return lead + (-value if top[0] == "-" else value), "fraction", body[match.end() :]


def _decimal(body: str) -> tuple[Fraction, Notation, str] | None:
    """Read a decimal literal, perhaps with a power of ten, at the start of `body`; also return the rest."""
    match = _NUMBER.match(body)
    value = _plain(match[0]) if match else None
    if match is None or value is None:
        return None
    if "." in match[0] and (repeated := _REPEATED.match(body, match.end())):  # 0.1\overline{6} is 1/10 + 6/(9·10)
        places = len(match[0].partition(".")[2])
        value += Fraction(int(repeated[1]), (10 ** len(repeated[1]) - 1) * 10**places)
        return value, "decimal", body[repeated.end() :]
    tens = _TENS.match(body, match.end())
    if tens is None:
        return value, "decimal" if "." in match[0] else "integer", body[match.end() :]
    exponent = tens["e"] or tens["b"] or tens["c"]
    if len(exponent) > 4 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    return value * Fraction(10) ** int(exponent), "scientific", body[tens.end() :]


def decimal_text(value: Fraction) -> str | None:
    """Return the plain decimal spelling of `value`, or None if it has more than 12 decimals.

    >>> decimal_text(Fraction(3, 8)), decimal_text(Fraction(1, 3))
    ('0.375', None)
    """
    for places in range(13):
        scaled = value * 10**places
        if scaled.denominator == 1:
            digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
            sign = "-" if value < 0 else ""
            return sign + (digits if not places else f"{digits[:-places]}.{digits[-places:]}")
    return None
