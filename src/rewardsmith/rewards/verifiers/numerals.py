"""Read one numeral exactly: an integer, decimal, fraction, percentage or power of ten, with an optional unit."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

MAX_CHARS = 1000
"""Longer numerals are refused: no answer key needs them, and they take quadratic time."""
MAX_EXPONENT = 1000
"""Larger powers of ten are refused, so that `1e999999999` takes no time."""


class Quantity(NamedTuple):
    """A number with its unit and its variable; "" where there is none."""

    value: Fraction
    unit: str = ""
    name: str = ""


_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
_POWER = (
    r"(?:[eE](?P<e>[+-]?[0-9]{1,9})"
    r"|\ ?(?:\*|×|·|\\times|\\cdot)\ ?10(?:\^|\*\*)(?P<p>\{[+-]?[0-9]{1,9}\}|[+-]?[0-9]{1,9}))?"
)
_FRACTION = (
    rf"\\[dtc]?frac\ ?(?:\{{(?P<fn>[+-]?\ ?{_DECIMAL})\}}\ ?\{{(?P<fd>[+-]?\ ?{_DECIMAL})\}}"
    r"|(?P<fsn>[0-9])\ ?(?P<fsd>[0-9]))"
)
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)\ ?(?P<currency>\\?\$|€|£|¥)?\ ?(?P<sign2>[+-]?)\ ?"
    rf"(?:(?P<whole>[0-9]+)\ ?{_FRACTION}"
    rf"|(?P<mixed>[0-9]+)\ (?P<mn>[0-9]+)/(?P<md>[0-9]+)"
    rf"|{_FRACTION.replace('P<', 'P<only_')}"
    rf"|(?P<num>{_DECIMAL}){_POWER}(?:\ ?/\ ?(?P<den>[+-]?{_DECIMAL}))?)"
    rf"\ ?(?P<percent>\\?%|percent\b|per\ cent\b)?(?P<tail>.*)"
)
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|operatorname)\ ?\{([^{}\\]*)\}")
_SPACING = re.compile(r"\\(?:left|right|displaystyle|quad|qquad)(?![a-zA-Z])|\\[;:! ]|~")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|\{\\,\}|\\,|,\\!)(?=[0-9]{3}(?![0-9]))")
_ASSIGNMENT = re.compile(r"([A-Za-z](?:_(?:[A-Za-z0-9]|\{[A-Za-z0-9]{1,8}\}))?) ?= ?")

_SHORT_UNITS = frozenset(
    re.findall(r"\S+", "m s g h l L W V A N J C F Hz kg mg cm mm km nm ft in yd mi mL ml dL kW kV Pa pm am hr ° °C °F")
)
_NOT_UNITS = frozenset(  # words that change the value before them, or add a second one
    re.findall(
        r"\S+",
        "hundred thousand million billion trillion dozen score half halves third thirds quarter quarters tenth tenths "
        "hundredth hundredths thousandth thousandths percent percentage pct or and to plus minus times over point not "
        "nor versus maybe until through thru mod squared cubed factorial negative bn mln one two three four five six "
        "seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty "
        "thirty forty fifty sixty seventy eighty ninety zero remainder choose permille hundreds thousands millions "
        "billions dozens wrong incorrect false else instead",
    )
)
_RAISED = r"(?:\^\{?[23]\}?|[²³])?"
_UNIT = re.compile(
    rf"(?:per |square |cubic )?[A-Za-z°]{{1,20}}{_RAISED}(?: ?/ ?[A-Za-z]{{1,12}}| [A-Za-z]{{1,20}}){{0,2}}{_RAISED}"
)


def simplified(text: str) -> str:
    """Return the formula without LaTeX that only changes its look: spacing, `\\left`, font commands, `{,}`."""
    text = text.replace("−", "-")
    for _ in range(3):
        text = _TEXT.sub(r" \1 ", text)
    text = _THOUSANDS.sub(",", text)
    text = _SPACING.sub(" ", text).replace("\\,", " ").replace("^\\circ", "°").replace("^{\\circ}", "°")
    return re.sub(r"[ \t\u00a0]+", " ", text).strip()


def read_quantity(text: str) -> Quantity | None:
    """Return the one number that `text` consists of, exactly; None where it is anything else.

    Reads `1,234`, `1{,}234`, `.5`, `+5`, `3/4`, `\\dfrac{3}{4}`, `1 3/4`, `50%` (which is 1/2), `1.2e3`,
    `1.2 \\times 10^3`, `$5`, `5 km`, `x = 5`. Only ASCII digits count.

    >>> read_quantity(r"\\frac{3}{4}"), read_quantity("12 or 13")
    (Quantity(value=Fraction(3, 4), unit='', name=''), None)
    """
    if len(text) > MAX_CHARS or "\n" in text:
        return None
    text = simplified(text)
    assigned = _ASSIGNMENT.match(text)
    match = _NUMBER.fullmatch(text, assigned.end() if assigned else 0)
    if match is None or (match["sign"] and match["sign2"]):
        return None
    unit = match["tail"].strip()
    if unit:  # spelled canonically, "" for none
        words = re.findall(r"[A-Za-z°]+", unit)
        if not _UNIT.fullmatch(unit) or any(
            word.lower() in _NOT_UNITS or (len(word) < 3 and word not in _SHORT_UNITS) for word in words
        ):
            return None
        canonical = unit.replace("²", "^2").replace("³", "^3").replace("{", "").replace("}", "")
        unit = " ".join(w.lower().rstrip("s") if len(w) > 2 else w for w in canonical.split())
    magnitude = _magnitude(match)
    if magnitude is None or (unit and (match["percent"] or match["currency"])):
        return None
    negative = "-" in (match["sign"] + match["sign2"])
    value = (-magnitude if negative else magnitude) / (100 if match["percent"] else 1)
    currency = (match["currency"] or "").lstrip("\\")
    return Quantity(value, currency or unit, assigned[1] if assigned else "")


def same_quantity(key: Quantity, given: Quantity, *, tolerance: Fraction = Fraction(0)) -> bool:
    """Return whether the values are equal, and so are the units and variables that both state."""
    agree = all(not one or not two or one == two for one, two in zip(key[1:], given[1:], strict=True))
    return agree and abs(key.value - given.value) <= tolerance


def _magnitude(match: re.Match[str]) -> Fraction | None:
    try:
        if match["whole"] is not None:
            part = _ratio(match["fn"] or match["fsn"], match["fd"] or match["fsd"])
            return int(match["whole"]) + part if 0 <= part < 1 else None
        if match["mixed"] is not None:
            part = _ratio(match["mn"], match["md"])
            return int(match["mixed"]) + part if 0 <= part < 1 else None
        if match["num"] is None:
            return _ratio(match["only_fn"] or match["only_fsn"], match["only_fd"] or match["only_fsd"])
        exponent = int((match["e"] or match["p"] or "0").strip("{}"))
        if abs(exponent) > MAX_EXPONENT:
            return None
        return _ratio(match["num"], match["den"] or "1") * Fraction(10) ** exponent
    except (ZeroDivisionError, ValueError):  # ValueError: more digits than the interpreter converts
        return None


def _ratio(numerator: str, denominator: str) -> Fraction:
    return _decimal(numerator) / _decimal(denominator)


def _decimal(numeral: str) -> Fraction:
    return Fraction(numeral.replace(",", "").replace(" ", "").removesuffix("."))
