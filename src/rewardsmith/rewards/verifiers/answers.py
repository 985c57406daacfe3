"""Verifiers of a final answer that is a letter, a number or a text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

from rewardsmith.rewards.verifiers.final_answer import final_answer, section, unwrap
from rewardsmith.rewards.verifiers.numerals import Quantity, read_quantity, same_quantity
from rewardsmith.rewards.verifiers.reasons import by_key, no_key, with_reasons
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion

_OPTION = re.compile(
    r"(?:(?:option|choice) )?(?:(?P<alone>[A-Za-z])|\((?P<paren>[A-Za-z])\)|\[(?P<square>[A-Za-z])\])"
    r"(?:(?:[.):]|(?<=[)\]]))(?:\s+(?P<text>[^\n]{1,300}))?)?",
    re.IGNORECASE | re.ASCII,
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_RULED_OUT = re.compile(
    r"\b(?:trap|distractor|wrong|incorrect|false|misleading|tempting|fails?|ruled out|eliminated|not)\b", re.IGNORECASE
)
_TAKEN_BACK = re.compile(
    r"\b(?:or|wait|actually|maybe|perhaps|also|instead|rather|alternatively|no,)(?!\w)", re.IGNORECASE
)


@with_reasons
def multiple_choice(
    completions: list[Completion], answer: list[Any], *, letters: str = "ABCDEFGHIJ", **columns: Any
) -> list[float | Unscored]:
    """1.0 where the completion commits to exactly the option letter in `answer`, else 0.0.

    `B`, `(b)`, `B.`, `option B`, `B) Paris` and `(B) Paris` name option B. If what follows names another option by its
    letter, the answer counts as none, unless that sentence rules the other out ("Note that A is a common trap.").

    Args:
        answer: the keys, each one letter in any of these spellings.
        letters: the option letters; any other letter is no answer.

    Returns:
        One value per row; None where `answer` is not one of `letters`.

    >>> multiple_choice(["The answer is (B).", "A or B", "B) Paris", "B"], ["B", "B", "B", "?"])
    [1.0, 0.0, 1.0, None]
    """
    options = letters.upper()
    if not (options.isascii() and options.isalpha() and len(set(options)) == len(options)):
        raise ValueError(
            f"multiple_choice: letters is {letters!r}, which is not a string of distinct ASCII letters. "
            "Pass the option letters, such as 'ABCD'."
        )

    def letter(text: str) -> str | None:
        committed = final_answer(text)
        match = None if committed is None else _OPTION.fullmatch(unwrap(committed))
        if match is None:
            return None
        found = (match["alone"] or match["paren"] or match["square"]).upper()
        for sentence in _SENTENCE.split(match["text"] or ""):
            letters_of = re.findall(r"(?<![^\W_])[A-Za-z](?![^\W_])", sentence)
            named = {other.upper() for other in letters_of if other.isupper() or other != "a"} & set(options)
            ruled_out = bool(_RULED_OUT.search(sentence)) and not _TAKEN_BACK.search(sentence)
            if (named - {found} and not ruled_out) or (found in named and ruled_out):
                return None
        return found if found in options else None

    def score(text: str, answer: str) -> float | Unscored:
        key = letter(answer)
        return no_key(answer, f"is none of the letters {options}") if key is None else float(letter(text) == key)

    return by_key(completions, answer, score)


@with_reasons
def exact_number(
    completions: list[Completion], answer: list[Any], *, tolerance: float = 0.0, **columns: Any
) -> list[float | Unscored]:
    """1.0 where the completion commits to the number in `answer`, compared as rationals, else 0.0.

        |x − a| ≤ tolerance        x, a ∈ ℚ

    `final_answer` finds the answer of a completion, and `numerals.read_quantity` reads its number. A unit may be left
    out, but two stated units must agree; 50% is 1/2, never 50.

    Args:
        answer: the keys, plain ("0.5", 12) or a solution that ends in one ("… #### 12", "… \\boxed{12}").
        tolerance: the largest absolute difference that counts as equal.

    Returns:
        One value per row; None where `answer` holds no number: the row cannot be scored, which is not wrong.

    >>> exact_number(["The answer is 1/2.", r"\\boxed{0.50}", "1 or 1/2", "4"], ["0.5", "50%", "0.5", "n/a"])
    [1.0, 1.0, 0.0, None]
    """
    if not math.isfinite(tolerance) or tolerance < 0:
        raise ValueError(f"exact_number: tolerance is {tolerance}. Pass a finite number ≥ 0.")

    def quantity(text: str) -> Quantity | None:
        committed = final_answer(text, sentences=True)
        return None if committed is None else read_quantity(committed)

    def score(text: str, answer: str) -> float | Unscored:
        key = quantity(answer)
        if key is None:
            return no_key(answer, "holds no number")
        given = quantity(text)
        return float(given is not None and same_quantity(key, given, tolerance=Fraction(tolerance)))

    return by_key(completions, answer, score)


def plain_text(text: str, *, fold_case: bool = True) -> str:
    """Return `text` in NFC with collapsed spaces and no final period, in lower case if `fold_case`.

    NFC joins an accent to its letter. Look-alike, full-width and zero-width characters stay different, which NFKC and
    `casefold` would change for some of them.

    >>> plain_text("  New   York. ")
    'new york'
    """
    text = re.sub(r"[ \t\r\n\u00a0]+", " ", unicodedata.normalize("NFC", text)).strip(" ")
    text = text[:-1].rstrip(" ") if text.endswith(".") and not text.endswith("..") else text
    return text.lower() if fold_case else text


@with_reasons
def exact_text(
    completions: list[Completion],
    answer: list[Any],
    *,
    fold_case: bool = True,
    normalize: Callable[[str], str] | None = None,
    **columns: Any,
) -> list[float | Unscored]:
    """1.0 where the completion commits to the text in `answer`, equal after `normalize`, else 0.0.

    A key of several lines must be the whole visible completion; other keys follow `final_answer`.

    Args:
        answer: the keys.
        fold_case: upper and lower case are the same.
        normalize: removes differences that do not count; `plain_text` with `fold_case` if None.

    Returns:
        One value per row; None where `answer` is empty.

    >>> exact_text(["Answer: Paris.", "Paris or Rome", "paris"], ["Paris", "Paris", ""])
    [1.0, 0.0, None]
    """
    plain = normalize or partial(plain_text, fold_case=fold_case)

    def score(text: str, answer: str) -> float | Unscored:
        raw = answer.strip()
        key = plain(unwrap(raw))
        if not key.strip():
            return Unscored("the key is empty")
        given = section(text) if "\n" in raw else final_answer(text)
        return float(given is not None and plain(unwrap(given)) == key)

    return by_key(completions, answer, score)
