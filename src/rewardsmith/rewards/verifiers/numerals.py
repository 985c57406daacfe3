"""Read one numeral exactly: an integer, decimal, fraction, percentage or power of ten, with an optional unit."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from rewardsmith.rewards.verifiers.evaluation import TooLargeError, UndefinedError, same_value
from rewardsmith.rewards.verifiers.formulas import read_formula
from rewardsmith.rewards.verifiers.nodes import Node
from rewardsmith.rewards.verifiers.spelling import UnreadableError
from rewardsmith.rewards.verifiers.units import Unit

MAX_CHARS = 1000
"""Longer numerals are refused: no answer key needs them, and they take quadratic time."""
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")


class Quantity(NamedTuple):
    """A number with its unit and its variable, which is "" where there is none."""

    value: Fraction
    unit: Unit = Unit()
    name: str = ""


def read_quantity(text: str) -> Quantity | None:
    """Return the one number that `text` consists of, exactly; None where it is anything else.

    Reads `1,234`, `1{,}234`, `.5`, `+5`, `3/4`, `\\dfrac{3}{4}`, `1 3/4`, `50%` (which is 1/2), `1.2e3`,
    `1.2 \\times 10^3`, `0.\\overline{3}`, `$5`, `5 km`, `x = 5`, `2 + 3 = 5`.

    >>> read_quantity(r"\\frac{3}{4}").value, read_quantity("12 or 13")
    (Fraction(3, 4), None)
    """
    if _PLAIN.fullmatch(text):
        return Quantity(Fraction(text))
    if len(text) > MAX_CHARS:
        return None
    try:
        name, node = named(read_formula(text), [10_000])
    except (UnreadableError, TooLargeError, UndefinedError):
        return None
    unit = node.marks[0] if node.op == "unit" else Unit()
    value = numeral(node.args[0] if node.op == "unit" else node)
    return None if value is None else Quantity(value, unit, name)


def same_quantity(
    key: Quantity, given: Quantity, *, tolerance: Fraction = Fraction(0), require_unit: bool = False
) -> bool:
    """Return whether the values are equal, and so are the units and variables that both state."""
    factors = factors_of(key.unit, given.unit, require_unit=require_unit)
    if factors is None or (key.name and given.name and key.name != given.name):
        return False
    scale = factors[0] / key.unit.number  # the tolerance is in the unit of the key
    return abs(key.value * factors[0] - given.value * factors[1]) <= tolerance * scale


def factors_of(key: Unit, given: Unit, *, require_unit: bool = False) -> tuple[Fraction, Fraction] | None:
    """Return what to multiply two values by before they are compared; None where the units disagree.

    A unit may be missing on one side unless `require_unit`; counts such as `%` and `dozen` may not.
    """
    if key.powers == given.powers:
        return key.scale * key.number, given.scale * given.number
    may_miss = not key.powers or (not given.powers and not require_unit)
    return (key.number, given.number) if may_miss else None


def numeral(node: Node) -> Fraction | None:  # noqa: PLR0911
    """Return the value of a finished numeral; None for work that is still to be done, such as 5 + 7.

    >>> numeral(read_formula("-3/4")), numeral(read_formula("5+7")), numeral(read_formula("10^{-3}"))
    (Fraction(-3, 4), None, Fraction(1, 1000))
    """
    if node.op == "num":
        value: Fraction = node.marks[0]
        return value
    if node.op == "+" or len(node.args) != 2:
        return None
    left, right = node.args
    if node.op == "*" and left.marks == (Fraction(-1),):
        inner = numeral(right)
        return None if inner is None else -inner
    first, second = _signed(left), _signed(right)
    if node.op == "/" and first is not None and second:
        return first / second
    if node.op == "^" and left.marks == (Fraction(10),) and second is not None:
        return Fraction(10) ** int(second) if second.denominator == 1 and abs(second) <= 1000 else None
    if node.op == "*" and first is not None and right.op == "^":
        power = numeral(right)
        return None if power is None else first * power
    return None


def _signed(node: Node) -> Fraction | None:
    negative = node.op == "*" and node.args[0].marks == (Fraction(-1),)
    inner = node.args[1] if negative else node
    return None if inner.op != "num" else -inner.marks[0] if negative else inner.marks[0]


def named(node: Node, budget: list[int]) -> tuple[str, Node]:
    """Return the variable that is set to a value and the value; "" and the node where no variable is.

    A chain of equations that all hold, such as `x = 2 + 2 = 4`, has its last part as the value.
    """
    if node.op == "list" and node.marks:
        return "", node
    if node.op != "chain" or set(node.marks) != {"="}:
        return "", node
    name, parts = name_of(node.args[0]), node.args
    if name:
        parts = parts[1:]
    elif len(parts) == 2 and node.args[1].op == "sym":
        return name_of(node.args[1]), parts[0]
    if len(parts) == 1:
        return name, parts[0]
    bare = [part.args[0] if part.op == "unit" else part for part in parts]
    if any(name_of(part) for part in parts):
        return "", node
    steps = [same_value(bare[-1], part, "", budget) for part in bare[:-1]]
    return (name, parts[-1]) if all(steps) else ("", node)


def name_of(node: Node) -> str:
    """Return the name of a variable, of a function of variables or of a tuple of variables; "" for other nodes."""
    if node.op == "sym":
        return str(node.marks[0])
    called = node.op == "call" and node.marks[0].endswith("()")
    if (called or node.op == "bracket") and all(part.op == "sym" for part in node.args):
        inner = ",".join(part.marks[0] for part in node.args)
        return f"{node.marks[0][:-2]}({inner})" if called else f"({inner})"
    return ""
