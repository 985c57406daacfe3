"""Is the committed answer that one letter?"""

from __future__ import annotations

import re
from typing import Any

from rewardsmith.data import completion_text
from rewardsmith.rewards.verifiers.final_answer import final_answer, unwrap
from rewardsmith.rewards.verifiers.reasons import key_text, no_key, says_why
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion

_OPTION = re.compile(
    r"(?:(?:option|choice) )?(?:(?P<alone>[A-Za-z])|\((?P<paren>[A-Za-z])\)|\[(?P<square>[A-Za-z])\])"
    r"(?:[.):](?:\s+(?P<text>[^\n]{1,300}))?)?",
    re.IGNORECASE | re.ASCII,
)


@says_why
def multiple_choice(
    completions: list[Completion], answer: list[Any], *, letters: str = "ABCDEFGHIJ", **columns: Any
) -> list[float | Unscored]:
    """1.0 where the completion commits to exactly the option letter in `answer`, else 0.0.

    `B`, `(b)`, `B.`, `option B` and `B) Paris` name option B. Where the option's text holds another option letter that
    stands alone, the answer names several and counts as none.

    Args:
        answer: the keys, each one letter in any of these forms.
        letters: the letters that are options; a letter outside it is never an answer.

    Returns:
        One value a row; None where `answer` is not one of `letters`.

    >>> multiple_choice(["The answer is (B).", "A or B", "B) Paris", "B"], ["B", "B", "B", "?"])
    [1.0, 0.0, 1.0, None]
    """
    options = letters.upper()
    if not (options.isascii() and options.isalpha() and len(set(options)) == len(options)):
        raise ValueError(
            f"multiple_choice: letters is {letters!r}, which is not a string of distinct ASCII letters. "
            "Pass the option letters, such as 'ABCD'."
        )
    return [_score(completion_text(c), key_text(a), options) for c, a in zip(completions, answer, strict=True)]


def _score(text: str, answer: str | Unscored, options: str) -> float | Unscored:
    if isinstance(answer, Unscored):
        return answer
    key = _letter(answer, options)
    return no_key(answer, f"is none of the letters {options}") if key is None else float(_letter(text, options) == key)


def _letter(text: str, options: str) -> str | None:
    committed = final_answer(text)
    match = None if committed is None else _OPTION.fullmatch(unwrap(committed))
    if match is None:
        return None
    letter = (match["alone"] or match["paren"] or match["square"]).upper()
    others = re.findall(r"(?<![^\W_])[A-Za-z](?![^\W_])", match["text"] or "")
    named = {other.upper() for other in others if other.isupper() or other.lower() != "a"}
    return letter if letter in options and not named & (set(options) - {letter}) else None
