"""Units of measure, money and counted things: one table with dimensions and exact scales."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple


class Unit(NamedTuple):
    """A product of powers of base units, how many of that product the unit is, and a count such as `dozen` or `%`."""

    powers: tuple[tuple[str, int], ...] = ()
    scale: Fraction = Fraction(1)
    number: Fraction = Fraction(1)

    def times(self, other: Unit, power: int = 1) -> Unit:
        """Return the product of the unit and a power of `other`."""
        total = dict(self.powers)
        for base, exponent in other.powers:
            total[base] = total.get(base, 0) + exponent * power
        powers = tuple(sorted((base, exponent) for base, exponent in total.items() if exponent))
        return Unit(powers, self.scale * other.scale**power, self.number * other.number**power)


_PREFIXES = {
    ("k", "kilo"): 3, ("c", "centi"): -2, ("m", "milli"): -3, ("μ", "micro"): -6, ("n", "nano"): -9, ("d", "deci"): -1,
    ("M", "mega"): 6, ("G", "giga"): 9, ("T", "tera"): 12, ("p", "pico"): -12, ("h", "hecto"): 2,
}  # fmt: skip
_PREFIXED = (
    "m g s L l W J N Pa Hz V A cal eV Wh B bit mol Ω F bar C T",
    "meter metre gram second liter litre watt joule newton pascal hertz volt amp ampere calorie byte bit mole ohm",
)
_ADJECTIVES = ("different", "distinct", "ordered", "positive", "possible", "such", "total", "unique", "valid")
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}


@lru_cache(maxsize=1)
def _table() -> dict[str, Unit]:
    """Return the unit of each spelling."""
    text = files(__package__).joinpath("units.txt").read_text(encoding="utf-8")
    bases, things, derived = (part.splitlines()[1:] for part in text.split("\n\n")[1:])
    units = {name: Unit(((line.split()[0], 1),)) for line in bases for name in line.split()}
    units |= {thing: Unit(((thing, 1),)) for line in things for thing in line.split()}
    for line in derived:
        names, _, product = line.partition(" = ")
        scale, *factors = product.split()
        unit = Unit((), Fraction(scale)) if factors else Unit(number=Fraction(scale))
        for factor in factors:
            base, _, power = factor.partition("^")
            unit = unit.times(units[base], int(power or 1))
        units |= dict.fromkeys(names.split(), unit)
    for names, spelling in zip(_PREFIXED, (0, 1), strict=True):
        for name in names.split():
            for prefixes, exponent in _PREFIXES.items():
                if exponent > 0 or name not in ("B", "bit", "byte"):
                    scaled = Unit((), Fraction(10) ** exponent).times(units[name])
                    units.setdefault(prefixes[spelling] + name, scaled)
    return units


def unit_named(word: str) -> Unit | None:
    """Return the unit that `word` spells, in the singular or plural, or None.

    >>> unit_named("kilometers") == unit_named("km"), unit_named("eighths")
    (True, None)
    """
    units = _table()
    spellings = [word]
    if len(word) > 3:  # a symbol of a few letters means another unit in another case
        spellings += [word.lower(), word.lower().removesuffix("s")]
    elif word[:1] == "K":
        spellings.append("k" + word[1:].lower())
    return next((units[spelling] for spelling in spellings if spelling in units), None)


def unit_at(words: Sequence[str], start: int, *, depth: int = 0) -> tuple[Unit, int] | None:
    """Return the product of units that begins at `words[start]` and the index after it, or None.

    Reads `km / h`, `miles per hour`, `square inches`, `m ^ { 2 }`, `kg * m s ^ { - 2 }`, `\\frac { m } { s }`. `words`
    ends in an empty string.

    >>> unit_at(["square", "cm", "", ""], 0)[0] == unit_at(["cm", "^", "2", ""], 0)[0]
    True
    """
    total, at = Unit(), start
    while True:
        power = -1 if words[at] in ("/", "per") else 1
        skipped = at + (words[at] in ("/", "per") or (at > start and words[at] == "*"))
        factor = _factor(words, skipped, depth)
        if factor is None:
            return (total, at) if at > start else None
        total, at = total.times(factor[0], power), factor[1]


def _factor(words: Sequence[str], at: int, depth: int) -> tuple[Unit, int] | None:  # noqa: PLR0911
    while words[at] in _ADJECTIVES:  # 15 distinct integers
        at += 1
    if words[at] in ("\\frac", "(") and depth < 3:
        pieces, closing = [], at
        for opens, closes in (("{", "}"), ("{", "}")) if words[at] == "\\frac" else (("(", ")"),):
            start = closing + (words[closing] in ("\\frac", opens) and words[closing] != opens)
            inner = unit_at(words, start + 1, depth=depth + 1) if words[start] == opens else None
            if inner is None or words[inner[1]] != closes:
                return None
            pieces.append(inner[0])
            closing = inner[1] + 1
        return (pieces[0].times(pieces[1], -1) if len(pieces) == 2 else pieces[0]), closing
    if words[at] in ("square", "sq", "cubic", "cu") and depth < 3:
        after = at + 2 if words[at + 1] == "." else at + 1
        inner = _factor(words, after, depth + 1)
        if inner is not None:
            return Unit().times(inner[0], _POWERS[words[at]]), inner[1]
    if words[at] in ("degree", "degrees", "°") and (unit_named("°" + words[at + 1]) or words[at + 1].istitle()):
        named = unit_named("°" + words[at + 1]) or unit_named(words[at + 1])
        return (named, at + 2) if named else None
    unit = unit_named(words[at]) if words[at] else None
    if unit is None:
        return None
    power, at = 1, at + 1
    if words[at] in ("squared", "cubed"):
        power, at = _POWERS[words[at]], at + 1
    elif words[at] == "^":
        digits = "".join(words[at + 1 : at + 5])
        match = re.match(r"(-?[1-9])(?![0-9])|\{(-?[1-9])\}", digits)
        if match is None:
            return None
        power, at = int(match[1] or match[2]), at + 1 + len(match[0])
    return Unit().times(unit, power), at
