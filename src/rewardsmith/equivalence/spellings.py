"""Other spellings of an answer key that a fair grader accepts, each verified by `equivalent`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple
from zlib import crc32

from rewardsmith.equivalence.keys import choice_letter, equivalent, key_kind
from rewardsmith.equivalence.numbers import MAX_LENGTH, Number, decimal_text, read_number, unwrap

USUAL = 4  # spellings that come first
SENTENCE = "sentence"
_PLAIN_INTEGER = re.compile(r"-?[0-9]+")
_OWN_NOTATION = frozenset(("thousands", "leading_zero", "units", "case", "surrounding", "choice"))


class Spelling(NamedTuple):
    """Another spelling of a key, and its family of spellings."""

    text: str
    family: str


def spellings_of(key: str) -> list[Spelling]:
    """Return other spellings of `key` that a fair grader accepts, all different.

    The four best known come first. The others begin at another place for every key, so that the first few of many keys
    hold every family.

    >>> [form.text for form in spellings_of("1234")][:3]
    ['1,234', '1{,}234', '1234.0']
    """
    if not key.strip() or len(key) > 4 * MAX_LENGTH:
        return [form for form in _surrounding(key) if key.strip()]
    seen = {key}
    forms = []
    for form in (*_own_spellings(key.strip()), *_surrounding(key)):
        if form.text not in seen and equivalent(key, form.text):
            seen.add(form.text)
            forms.append(form)
    usual, others = forms[:USUAL], forms[USUAL:]
    start = crc32(key.encode(errors="replace")) % max(len(others), 1)
    return [*usual, *others[start:], *others[:start]]


def restated(key: str) -> list[Spelling]:
    """Return right answers that mean `key` only as answers to its question: by itself, "042" may be a code.

    No truncated decimal is among them, as 0.3333 differs from 1/3, and no article but "the": "few" is not "a few".

    >>> [form.text for key in ("42", "A", "the derivative") for form in restated(key)]
    ['042', 'x = 42', 'So it is 42.', 'a', 'So it is A.', 'derivative', 'So it is the derivative.']
    """
    body = key.strip()
    if not body or "\n" in body or body.endswith((".", "!", "?")):
        return []
    forms = []
    if key_kind(body) == "integer" and _PLAIN_INTEGER.fullmatch(body):
        forms.append(Spelling(re.sub(r"(?=[0-9])", "0", body, count=1), "zero_padding"))
    if read_number(body) is not None and re.fullmatch(r"-?[0-9.,/]*[0-9]", body):
        forms.append(Spelling(f"x = {body}", "equation"))
    if letter := choice_letter(body):
        forms.append(Spelling(letter.lower(), "choice_case"))
    if body.islower() and body.startswith("the "):
        forms.append(Spelling(body.removeprefix("the "), "article"))
    return [*forms, Spelling(f"So it is {body}.", SENTENCE)]


def same_notation(key: str, form: Spelling) -> bool:
    """Return whether `form` keeps the key's notation: "1,234" for "1234" does, "1234.0" and LaTeX do not.

    >>> others = Spelling("1,234", "thousands"), Spelling("1234.0", "trailing_zero")
    >>> [same_notation("1234", other) for other in others]
    [True, False]
    """
    if form.family == "trailing_zero":
        return key_kind(key) == "decimal"
    if form.family == "latex":
        return "\\" in key or key.strip().startswith("$")
    if form.family == "thousands":
        return "{" not in form.text
    if form.family == "percent":
        return "\\" not in form.text and form.text.endswith("%")
    return form.family in _OWN_NOTATION


def _surrounding(key: str) -> Iterator[Spelling]:
    yield Spelling(f" {key} ", "surrounding")
    yield Spelling(f"{key}\n", "surrounding")
    if not key.rstrip().endswith((".", "!", "?")) and key_kind(key) != "structured":
        yield Spelling(f"{key.rstrip()}.", "surrounding")


def _own_spellings(key: str) -> Iterator[Spelling]:
    kind = key_kind(key)
    number = read_number(key)
    varied = 2 * len(set(key)) >= len(key)  # "cbbaacabcb" is a string, not a word
    free_case = 2 <= len(key) <= 15 and key.isalpha() and varied and (key.islower() or key.istitle())
    if number is not None:
        yield from _number_spellings(key, number)
    elif kind == "choice":
        letter = choice_letter(key)
        yield from (Spelling(text, "choice") for text in (f"({letter})", f"{letter}.", f"{letter})", f"{letter}"))
    elif kind == "boolean" or (kind == "word" and free_case):
        yield from (Spelling(text, "case") for text in (key.lower(), key.capitalize(), key.upper()))
    elif kind == "expression":
        yield Spelling(f"${key.strip('$')}$", "latex")
        if "\\frac" in key:
            yield Spelling(key.replace("\\frac", "\\dfrac"), "latex")
        yield Spelling(key.replace("\\pi", "π") if "\\pi" in key else key.replace("π", "\\pi"), "symbol")
        yield Spelling(re.sub(r"\*?(?<!\\)sqrt\(([^()]*)\)", r"\\sqrt{\1}", key), "radical")
        yield Spelling(re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", key), "radical")
        yield Spelling(re.sub(r"\\sqrt\{([0-9a-z])\}", r"\\sqrt \1", key), "radical")
        yield Spelling(re.sub(r"(?<=[0-9])(?=\\)", " ", key), "spacing")
    elif kind == "structured" and "\n" not in key:
        yield Spelling(re.sub(r",\s*", ", ", key), "spacing")
        yield Spelling(re.sub(r",\s*", ",", key), "spacing")
    if kind in ("integer", "decimal", "fraction", "expression"):
        yield Spelling(f"({key})", "parentheses")
    if kind in ("word", "boolean", "choice") and key.isalpha():
        yield Spelling(f"\\text{{{key}}}", "latex")


def _number_spellings(key: str, number: Number) -> Iterator[Spelling]:
    if number.unit:
        yield from _unit_spellings(key, number.unit)
        return
    plain, value, notation = unwrap(key), number.value, number.notation
    decimal = decimal_text(value)
    if "," in plain:
        yield Spelling(plain.replace(",", ""), "thousands")
    elif value.denominator == 1 and abs(value) >= 1000 and _PLAIN_INTEGER.fullmatch(plain):
        yield Spelling(f"{value.numerator:,}", "thousands")
        yield Spelling(f"{value.numerator:,}".replace(",", "{,}"), "thousands")
    if notation in ("integer", "decimal") and _PLAIN_INTEGER.fullmatch(plain.replace(",", "").split(".")[0]):
        yield Spelling(f"{plain}.0" if notation == "integer" else f"{plain}0", "trailing_zero")
    if notation == "percent":
        texts = (plain, plain.replace("%", " %"), plain.replace("%", "\\%"), decimal)
        yield from (Spelling(text, "percent") for text in texts if text is not None)
    else:
        if decimal is not None and "," not in plain:
            families = {"fraction": "fraction", "scientific": "scientific"}
            yield Spelling(decimal, families.get(notation, "trailing_zero"))
            if abs(value) < 1 and value and notation == "decimal":
                yield Spelling(decimal.replace("0.", ".", 1), "leading_zero")
                yield Spelling(decimal, "leading_zero")
        if value.denominator > 1 and value.denominator <= 1000:
            sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
            yield Spelling(f"{sign}{top}/{bottom}", "fraction")
            yield Spelling(f"{sign}\\frac{{{top}}}{{{bottom}}}", "latex")
            yield Spelling(f"{sign}\\dfrac{{{top}}}{{{bottom}}}", "latex")
            yield Spelling(f"{sign}{2 * top}/{2 * bottom}", "unreduced")
            yield from _repeating(sign, top, bottom)
            if top > bottom:
                yield Spelling(f"{sign}{top // bottom} {top % bottom}/{bottom}", "mixed")
        if value and notation in ("integer", "decimal") and (abs(value) >= 1000 or abs(value) < Fraction(1, 100)):
            yield from _scientific(value)
    yield from _signed(plain, value)
    if notation not in ("percent", "scientific"):
        yield Spelling(f"${plain}$", "latex")
        yield Spelling(f"\\text{{{plain}}}", "latex")


def _signed(plain: str, value: Fraction) -> Iterator[Spelling]:
    if value > 0 and not plain.startswith("+"):
        yield Spelling(f"+{plain}", "plus_sign")
    if plain.startswith("-"):
        yield from (Spelling(f"{minus}{plain[1:]}", "minus_sign") for minus in ("−", "− ", "- "))
    if not value:
        yield Spelling(f"-{plain}", "minus_sign")


def _repeating(sign: str, top: int, bottom: int) -> Iterator[Spelling]:
    """Spell a fraction with at most 6 decimals before and in the repeated group, by long division."""
    whole, rest = divmod(top, bottom)
    digits, seen = "", dict[int, int]()
    while rest and rest not in seen and len(digits) <= 6:
        seen[rest] = len(digits)
        digit, rest = divmod(10 * rest, bottom)
        digits += str(digit)
    if rest in seen:
        start = seen[rest]
        yield Spelling(f"{sign}{whole}.{digits[:start]}\\overline{{{digits[start:]}}}", "repeating")


def _scientific(value: Fraction) -> Iterator[Spelling]:
    exponent = 0
    while abs(value) >= 10:
        value, exponent = value / 10, exponent + 1
    while abs(value) < 1:
        value, exponent = value * 10, exponent - 1
    mantissa = decimal_text(value)
    if mantissa is not None and exponent:
        yield Spelling(f"{mantissa}e{exponent}", "scientific")
        yield Spelling(f"{mantissa}E{exponent}", "scientific")
        yield Spelling(f"{mantissa} \\times 10^{{{exponent}}}", "scientific")


def _unit_spellings(key: str, unit: str) -> Iterator[Spelling]:
    if unit in "$€£":
        yield Spelling(key.replace(unit, f"{unit} ", 1), "units")
        yield Spelling(key.replace("$", "\\$"), "units")
        return
    value = key[: key.rindex(unit)].rstrip()
    yield Spelling(f"{value} {unit}", "units")
    yield Spelling(f"{value}{unit}", "units")
    if unit.isalpha():
        yield Spelling(f"{value}\\text{{ {unit}}}", "units")
