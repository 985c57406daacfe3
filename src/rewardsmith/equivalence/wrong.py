"""Make answers that are certainly wrong, in the layout of the key: near misses, supersets, parts."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice

from rewardsmith.equivalence.keys import equivalent, key_kind
from rewardsmith.equivalence.numbers import decimal_text, read_number, unwrap
from rewardsmith.equivalence.reading import number_tokens

_OPPOSITE = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_SHORT_BOOLEANS = frozenset("ytnf")
_WORDS = (
    "lantern", "harbor", "violin", "glacier", "saddle", "orchid", "compass", "thunder", "pebble", "falcon",
    "velvet", "anchor", "meadow", "copper", "tunnel", "marble", "saffron", "beacon", "walnut", "ribbon",
)  # fmt: skip
_CERTAIN_KINDS = frozenset(("integer", "decimal", "fraction", "percent", "expression", "choice", "boolean"))
_SPREAD = 12
"""Candidates tried per row before giving up on near misses."""


def wrong_answers(
    key: str, others: Sequence[str], *, rng: random.Random, n_near: int = 3, n_other: int = 2
) -> list[str]:
    """Return honest wrong answers of the key's kind: near misses in its layout, then keys of other rows.

    Each is certainly not equivalent (for words and texts: another text), neither contains the key nor is contained in
    it, and all differ. A boolean has one. Deterministic given `rng`.

    >>> wrong_answers("yes", ["no", "yes"], rng=random.Random(0))
    ['no']
    """
    kind = key_kind(key)
    if kind == "boolean":
        return [_cased(_OPPOSITE[key.strip().lower()], like=key.strip())]
    near = list(islice(_admitted(key, _near(key, others, rng), []), n_near))
    pool = [other for other in dict.fromkeys(others) if key_kind(other) == kind or {kind, key_kind(other)} <= _LOOSE]
    rng.shuffle(pool)
    return near + list(islice(_admitted(key, pool, near), n_other))


_LOOSE = {"word", "text"}


def _admitted(key: str, candidates: Iterable[str], taken: Sequence[str]) -> Iterator[str]:
    """Return the candidates that are certainly wrong, in order, without repeats."""
    certain = key_kind(key) in _CERTAIN_KINDS
    bare, seen = key.strip().casefold(), list(taken)
    for candidate in candidates:
        text = candidate.strip().casefold()
        if not text or text in bare or bare in text:
            continue
        verdict = equivalent(key, candidate)
        if verdict is True or (verdict is None if certain else _parts(key) == _parts(candidate)):
            continue
        if any(candidate == other or equivalent(candidate, other) for other in seen):
            continue
        seen.append(candidate)
        yield candidate


def _parts(text: str) -> set[str]:
    """Return the distinct elements or words of a text; repeats would pass an order-free comparison."""
    return set(re.findall(r"[^\s,;:()\[\]{}]+", text.casefold()))


def _near(key: str, others: Sequence[str], rng: random.Random) -> Iterator[str]:
    kind = key_kind(key)
    if kind == "choice":
        letter = next(char for char in key if char.isalpha())
        used = [char for other in others if key_kind(other) == "choice" for char in other if char.isalpha()]
        options = [char for char in "ABCDEFGHIJ" if char <= max([*used, letter, "D"]) and char != letter]
        rng.shuffle(options)
        yield from (key.replace(letter, option, 1) for option in options)
    elif any("0" <= char <= "9" for char in key):
        yield from _digits(key, rng)
    if kind in ("word", "text", "structured") and not key.strip().isdigit():
        yield from _words(key, others, rng)
    if kind == "expression":
        for match in re.finditer(r"[-+]", key):
            if match.start():
                yield key[: match.start()] + ("-" if match[0] == "+" else "+") + key[match.end() :]
        yield f"2{key}" if key[:1].isalpha() else f"{key}+3"


def _digits(key: str, rng: random.Random) -> Iterator[str]:
    """Change a short integer by small steps, then replace one of the first three digits."""
    steps = [1, -1, 2, -2, 3, 10, -3]
    rng.shuffle(steps)
    body = key.strip()
    if re.fullmatch(r"-?[1-9][0-9]{0,4}|0", body):
        yield from (str(int(body) + step) for step in steps if int(body) + step >= 0 or body[0] == "-")
    runs = list(re.finditer(r"[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+", key))
    for _ in range(2 * _SPREAD):
        run = rng.choice(runs)
        places = [at for at in range(run.start(), run.end()) if key[at].isdigit()]
        leading = next((k for k, at in enumerate(places) if key[at] != "0"), 0)
        at = rng.choice(places[leading : leading + 3])
        digits = [d for d in "0123456789" if d != key[at] and (d != "0" or at != places[0])]  # no leading zero
        yield key[:at] + rng.choice(digits) + key[at + 1 :]


def _words(key: str, others: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Replace one longer word of the key by another of the same case, from other keys if possible."""
    spans = list(re.finditer(r"[^\W\d_]{2,}", key))
    long = [match for match in spans if len(match[0]) >= 4] or spans
    if not long:
        yield from rng.sample(_WORDS, _SPREAD)
        return
    own = {match[0].casefold() for match in spans}
    known = sorted({word.casefold() for other in others for word in re.findall(r"[^\W\d_]{2,}", other)} - own)
    rng.shuffle(known)
    for word in [*known[:_SPREAD], *rng.sample(_WORDS, _SPREAD)]:
        match = rng.choice(long)
        yield key[: match.start()] + _cased(word, like=match[0]) + key[match.end() :]


def _cased(word: str, *, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[:1].isupper() else word


def supersets(key: str) -> list[str]:
    """Return texts that contain the key but denote something else.

    >>> supersets("42")
    ['142', '427', '-42']
    """
    body = key.strip()
    if not body:
        return []
    if any("0" <= char <= "9" for char in body):
        whole = body[-1].isdigit() and not ("," in body and "." not in body)  # a 7 more leaves a well-formed number
        candidates = [f"1{body}" if body[0].isdigit() or body[0] == "." else "", f"{body}7" if whole else ""]
        candidates.append(f"-{body}" if read_number(body) is not None and body[0] not in "+-" else "")
    else:
        candidates = [f"{body}q" if body.islower() or not body.isupper() else f"{body}Q", f"z{body}"]
        candidates[1] = f"Z{body}" if body.isupper() else candidates[1]
    certain = key_kind(body) in _CERTAIN_KINDS - {"choice", "boolean"}
    return [c for c in candidates if c and (equivalent(body, c) is False if certain else equivalent(body, c) is None)]


def prefixes(key: str) -> list[str]:
    """Return proper prefixes and suffixes of the key that denote something else; for text its end words first.

    >>> prefixes("427")
    ['4', '7', '42', '27']
    """
    body = key.strip()
    kind = key_kind(body)
    size = len(body)
    cuts = [1, 2, size // 3] if kind in ("text", "structured") else [1, size // 2, size - 1]
    cuts = sorted({cut for cut in cuts if 0 < cut < size})
    words = body.split() if kind == "text" else number_tokens(body) if kind == "structured" else []
    parts = dict.fromkeys([*words[:1], *words[-1:], *(p for cut in cuts for p in (body[:cut], body[size - cut :]))])
    return [part for part in parts if part != body and _is_other(part.strip(), body)]


_DRESSING = "$*`()[]{}° \\\n"
_ARTICLE = re.compile(r"(?:the|an?) ", re.IGNORECASE)


def _is_other(part: str, key: str) -> bool:
    if not any(char.isalnum() for char in part):
        return False
    if key_kind(key) == "boolean" and part.lower() in _SHORT_BOOLEANS:
        return False
    if "=" in key and part == key.rpartition("=")[2].strip():  # "5" answers "x = 5"
        return False
    bare, whole = (_ARTICLE.sub("", text.strip(_DRESSING), count=1) for text in (part, key))
    written = read_number(key)
    unit_cut = written is not None and bool(written.unit) and number_tokens(part) == number_tokens(key)
    if bare == whole or unit_cut:  # the key less a dollar sign, a bracket, an article or a part of its unit
        return False
    verdict = equivalent(part, key)
    if written is not None and read_number(part) is not None:
        return verdict is False
    return verdict is not True


_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-DF-Za-df-z](?![A-Za-z])")
_LITERAL = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+")
_OTHER_SCALE = {
    "m": "km", "cm": "m", "km": "m", "mm": "cm", "meters": "kilometers", "meter": "kilometer", "metres": "kilometres",
    "feet": "meters", "foot": "meter", "ft": "m", "inches": "feet", "miles": "kilometers", "kilometers": "miles",
    "centimeters": "meters", "kg": "g", "g": "kg", "grams": "kilograms", "kilograms": "pounds", "pounds": "kilograms",
    "hours": "minutes", "hour": "minute", "minutes": "hours", "seconds": "minutes", "days": "hours", "weeks": "days",
    "liters": "milliliters", "litres": "millilitres", "l": "ml", "ml": "l", "dollars": "cents", "cents": "dollars",
    "degrees": "radians", "$": "€", "€": "$", "£": "$",
}  # fmt: skip
_OTHER_KIND = {"kg": "km", "g": "km", "grams": "meters", "kilograms": "meters", "pounds": "meters"}
STEPS = (
    "times ten", "divided by ten", "with the other sign", "turned upside down", "with its digits in another order",
    "cut to a whole number", "without its decimal point", "with a decimal point for its comma",
    "with a digit for its decimal point", "in a unit of another scale", "in a unit of another kind",
    "with an element twice", "without a repeated element", "with its two parts exchanged",
    "with a variable in the other case", "with its characters in another order",
)  # fmt: skip
"""Steps of normalization after which a key denotes something else."""


def slips(key: str) -> dict[str, str]:
    """Return texts one step of normalization away from the key that denote something else, by the step.

    >>> slips("5 meters")["in a unit of another scale"], slips("2.50")["without its decimal point"]
    ('5 kilometers', '250')
    """
    body = key.strip()
    number, literal = read_number(body), _LITERAL.search(body)
    found: dict[str, str] = {}
    if number is not None and literal is not None:
        found = _numeric_slips(body, number.value, literal)
        found = {step: text for step, text in found.items() if equivalent(text, body) is False}
        if scale := _OTHER_SCALE.get(number.unit.lower()):
            found["in a unit of another scale"] = body.replace(number.unit, scale)
            if number.unit not in "$€£":
                kind = _OTHER_KIND.get(number.unit.lower(), "kilograms")
                found["in a unit of another kind"] = body.replace(number.unit, kind)
    elif key_kind(body) == "structured" and "\n" not in body and '"' not in body:
        found = _list_slips(body)
    elif key_kind(body) == "expression" and len(body) > 1 and (letter := _VARIABLE.search(body)):
        swapped = body[: letter.start()] + letter[0].swapcase() + body[letter.end() :]
        found["with a variable in the other case"] = swapped
    elif key_kind(body) in ("word", "text") and body.casefold() != body[::-1].casefold():
        found["with its characters in another order"] = body[::-1]
    return found


def _numeric_slips(body: str, value: Fraction, literal: re.Match[str]) -> dict[str, str]:
    def put(text: str) -> str:
        return body[: literal.start()] + text + body[literal.end() :]

    digits, found = literal[0], {}
    plain = Fraction(digits.replace(",", ""))
    if "/" not in body and "frac" not in body:
        for step, scaled in (("times ten", plain * 10), ("divided by ten", plain / 10)):
            if (text := decimal_text(scaled)) is not None:
                found[step] = put(f"{int(text):,}" if "," in digits and text.isdigit() else text)
        if plain.denominator > 1 and plain > 1 and plain % 1 > plain / 50:
            found["cut to a whole number"] = put(str(int(plain)))
    elif match := re.fullmatch(r"(-?)([0-9]+)/([0-9]+)", unwrap(body)):
        found["turned upside down"] = f"{match[1]}{match[3]}/{match[2]}"
    found["with the other sign"] = body[1:] if body[0] == "-" else f"-{body}"
    if digits.isdigit() and digits[-1] != "0":
        found["with its digits in another order"] = put(digits[::-1])
    if "." in digits and "," not in digits:
        found["without its decimal point"] = put(digits.replace(".", "").lstrip("0") or "0")
        found["with a digit for its decimal point"] = put(digits.replace(".", "7"))
    if digits.count(",") == 1 and "." not in digits:
        found["with a decimal point for its comma"] = put(digits.replace(",", "."))
    return found if value else {}


def _list_slips(body: str) -> dict[str, str]:
    """Repeat or drop an element of a flat list, and exchange the two numbers of a pair in parentheses."""
    match = re.fullmatch(r"([(\[{]?)([^()\[\]{}]+)([)\]}]?)", body)
    if match is None:
        return {}
    parts = [part.strip() for part in match[2].split(",")]
    found = {}

    def joined(some: Sequence[str]) -> str:
        return match[1] + ", ".join(some) + match[3]

    if len(parts) > 1 and all(parts):
        found["with an element twice"] = joined([*parts, parts[-1]])
        unique = list(dict.fromkeys(parts))
        if len(unique) < len(parts):
            found["without a repeated element"] = joined(unique)
        if len(parts) == 2 and match[1] + match[3] == "()" and equivalent(*parts) is False:
            found["with its two parts exchanged"] = joined(parts[::-1])
    return found
