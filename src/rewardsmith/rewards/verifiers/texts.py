"""Is the committed answer that text?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from rewardsmith.data import completion_text
from rewardsmith.rewards.verifiers.final_answer import final_answer, section, unwrap
from rewardsmith.rewards.verifiers.reasons import key_text, says_why
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion


def plain_text(text: str, *, fold_case: bool = True) -> str:
    """`text` in NFC, spaces collapsed, without a final period, in lower case if `fold_case`.

    NFC joins an accent to its letter and leaves look-alikes, full-width and zero-width characters as they are, so that
    they stay different; NFKC and `casefold` would make some of them equal.

    >>> plain_text("  New   York. ")
    'new york'
    """
    text = re.sub(r"[ \t\r\n\u00a0]+", " ", unicodedata.normalize("NFC", text)).strip(" ")
    text = text[:-1].rstrip(" ") if text.endswith(".") and not text.endswith("..") else text
    return text.lower() if fold_case else text


@says_why
def exact_text(
    completions: list[Completion], answer: list[Any], *, normalize: Callable[[str], str] = plain_text, **columns: Any
) -> list[float | Unscored]:
    """1.0 where the completion commits to the text in `answer`, equal after `normalize`, else 0.0.

    A key of several lines must be the whole visible completion; any other follows `final_answer`.

    Args:
        answer: the keys.
        normalize: what differences do not count; `partial(plain_text, fold_case=False)` keeps case.

    Returns:
        One value a row; None where `answer` is empty.

    >>> exact_text(["Answer: Paris.", "Paris or Rome", "paris"], ["Paris", "Paris", ""])
    [1.0, 0.0, None]
    """
    return [_score(completion_text(c), key_text(a), normalize) for c, a in zip(completions, answer, strict=True)]


def _score(text: str, answer: str | Unscored, normalize: Callable[[str], str]) -> float | Unscored:
    if isinstance(answer, Unscored):
        return answer
    raw = answer.strip()
    key = normalize(unwrap(raw))
    if not key.strip():
        return Unscored("the key is empty")
    given = section(text) if "\n" in raw else final_answer(text)
    return float(given is not None and normalize(unwrap(given)) == key)
