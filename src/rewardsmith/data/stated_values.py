"""Check whether a text states an answer, by value if the answer is a number: 0.5 states 1/2, and 1,000 states 1000.

The reading is generous: signs are ignored, 50% is ½ as well as 50, and 0,5 is ½ as well as 0 and 5. The purpose is to
rule out texts that give the answer away, not to check whether they are right.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_UP_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_FROM_TWENTY = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES = {word: value for value, word in enumerate(_UP_TO_NINETEEN.split())}
_TENS = {word: 10 * value for value, word in enumerate(_FROM_TWENTY.split(), start=2)}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_WORD = re.compile("|".join(rf"\b{word}\b" for word in [*_ONES, *_TENS, *_PARTS, *_SCALES]))

_DIGITS = r"(?:[0-9][0-9,]{0,40}(?:\.[0-9]{1,40})?|\.[0-9]{1,40})"
_NUMERAL = re.compile(
    rf"(?P<whole>[0-9]{{1,20}})\ (?P<top>[0-9]{{1,20}})\ ?/\ ?(?P<bottom>[0-9]{{1,20}})"
    rf"|(?P<number>{_DIGITS})"
    r"(?:e(?P<e>[+-]?[0-9]{1,3})|\ ?(?:\*|×|·|\\times|\\cdot)\ ?10\^\{?(?P<p>[+-]?[0-9]{1,3}))?"
    rf"(?:\ ?/\ ?(?P<over>{_DIGITS}))?(?:\ ?(?P<percent>\\?%|percent|per\ cent))?"
)
_FRACTION = re.compile(r"\\[dtc]?frac\ ?\{?\ ?([0-9.,]{1,40}?)\ ?\}?\ ?\{?\ ?([0-9.,]{1,40})\ ?\}?")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_LOOKS = re.compile(r"\\(?:left|right|displaystyle|text|mathrm|mathbf|boxed|quad|[,;:! ])(?![a-z])|[\s${}~]")


def states(text: str, answer: str) -> bool:
    """Return whether `text` holds `answer`: as separate words, as the same formula, or each of its numbers by value.

    >>> states("It is 0.5.", "1/2"), states("So 1,000 in all.", "1000"), states("It is 14.", "4")
    (True, True, False)
    """
    if not answer.strip():
        return False
    wanted = numbers(answer)
    if not wanted or re.search(r"[^\W\d_]", answer):  # for a plain 5 the digit alone is not enough, as in 2.5
        if re.search(rf"(?<!\w){re.escape(answer.strip())}(?!\w)", text, re.IGNORECASE):
            return True
        formula = _formula(answer)
        if not formula.isalnum() and re.search(rf"(?<!\w){re.escape(formula)}(?!\w)", _formula(text)):
            return True
    said = set().union(*numbers(text))
    return bool(wanted) and all(readings & said for readings in wanted)


def numbers(text: str) -> list[set[Fraction]]:
    """Return each number in `text`, in digits or in words, as the set of its possible values without sign."""
    text = _VULGAR.sub(lambda match: " " + match[0], text.casefold())
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/")
    text = re.sub(r"(?<=[0-9])(?:\{,\}|\\,|,\\!|[\u00a0\u202f _'’])(?=[0-9]{3}(?![0-9]))", ",", text)
    text = _FRACTION.sub(r" \1/\2 ", text)
    found = [_readings(match) for match in _NUMERAL.finditer(re.sub(r"\s+", " ", text))]
    run: list[str] = []  # of number words: forty-two, one half, three hundred and five
    end = 0
    for match in _WORD.finditer(text):
        if run and not re.fullmatch(r"[\s-]+(?:and\s+)?(?:an?\s+)?", text[end : match.start()]):
            found.append(_spoken(run))
            run = []
        run.append(match[0])
        end = match.end()
    found += [_spoken(run)] if run else []
    return [readings for readings in found if readings]


def _formula(text: str) -> str:
    return _LOOKS.sub("", re.sub(r"\\[dtc]frac", r"\\frac", text.casefold()))


def _readings(match: re.Match[str]) -> set[Fraction]:
    if match["whole"]:
        return {int(match["whole"]) + part for part in _ratio({Fraction(match["top"])}, {Fraction(match["bottom"])})}
    values = _decimals(match["number"])
    power = Fraction(10) ** int(match["e"] or match["p"] or "0")
    values = {value * power for value in values}
    if match["over"]:
        values = _ratio(values, _decimals(match["over"]))
    return values | {value / 100 for value in values} if match["percent"] else values


def _decimals(digits: str) -> set[Fraction]:
    """Read 1,000 as a thousand and 1,5 as one and a half; an ambiguous comma gives all readings."""
    digits = digits.rstrip(",")
    read = {Fraction(digits.replace(",", ""))}
    if digits.count(",") == 1 and "." not in digits:
        read.add(Fraction(digits.replace(",", ".")))
    if not re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?", digits):
        read |= {Fraction(part) for part in digits.split(",") if part}
    return read


def _ratio(tops: set[Fraction], bottoms: set[Fraction]) -> set[Fraction]:
    return {top / bottom for top in tops for bottom in bottoms if bottom}


def _spoken(words: list[str]) -> set[Fraction]:
    """Return the value of the whole run and of each of its words: "one two" may be one number or two."""
    total, current, wholes = Fraction(0), Fraction(0), set()
    for word in words:
        if word in _PARTS:
            wholes.add(total + current + Fraction(1, _PARTS[word]))  # two and a half, as well as two halves
            total, current = Fraction(0), (total + current or Fraction(1)) / _PARTS[word]
        elif word == "hundred":
            current = (current or Fraction(1)) * 100
        elif word in _SCALES:
            total, current = total + (current or Fraction(1)) * _SCALES[word], Fraction(0)
        else:
            current += _ONES.get(word, 0) + _TENS.get(word, 0)
    alone = {Fraction({**_ONES, **_TENS}[word]) for word in words if word in _ONES or word in _TENS}
    return alone | wholes | {total + current}
