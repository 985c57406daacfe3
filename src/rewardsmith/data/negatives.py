"""Wrong versions of right answers that keep their look, and labels on which two sources agree."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from rewardsmith.data.rows import text_of
from rewardsmith.errors import RewardsmithError
from rewardsmith.types import Message, Text

NegativeMaker = Callable[[Text, Text, random.Random], "str | Awaitable[str | None] | None"]
"""(question, right answer, random numbers) → a wrong answer of the same look, or None; sync or async."""

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w]|\.\d)")
_STEPS = (1, -1, 2, -2, 3, 10, -10)
_REWRITE = (
    "Below are a question and a right solution. Write a solution of the same length, layout and tone whose final "
    "answer is wrong, by a mistake that is easy to make. Write only the solution, and do not hint that it is wrong."
)


def corrupt_number(question: Text, answer: Text, rng: random.Random) -> str | None:
    """Change the last number of an answer, wherever the answer repeats it, and nothing else.

    A whole number moves by 1, 2, 3 or 10 and stays at least 0; of a decimal one digit changes.

    Returns:
        The text, or None where it has no number.

    >>> corrupt_number("5 + 3?", "5 + 3 makes 8. So 8.", random.Random(1))
    '5 + 3 makes 7. So 7.'
    """
    text = text_of(answer)
    found = _NUMBER.findall(text)
    if not found:
        return None
    old = found[-1]
    if "." in old:
        at = rng.choice([place for place, char in enumerate(old) if char.isdigit()])
        new = old[:at] + rng.choice([digit for digit in "123456789" if digit != old[at]]) + old[at + 1 :]
    else:
        new = str(rng.choice([int(old) + step for step in _STEPS if int(old) + step >= 0]))
    return _NUMBER.sub(lambda match: new if match[0] == old else match[0], text)


class Rewriter(NamedTuple):
    """A negative maker that lets a language model write the wrong solution.

    A failing backend gives None, so that the caller tries again or leaves the row out.

    backend: async, messages → text, such as `rewards.ChatBackend`; with a temperature above 0, so that a second try
        differs, and without a cache.
    instructions: the system message.
    """

    backend: Callable[[list[Message]], Awaitable[str]]
    instructions: str = _REWRITE

    async def __call__(self, question: Text, answer: Text, rng: random.Random) -> str | None:
        """Return the model's wrong solution, or None where it has none."""
        content = f"Question:\n{text_of(question)}\n\nRight solution:\n{text_of(answer)}"
        try:
            text = await self.backend(
                [{"role": "system", "content": self.instructions}, {"role": "user", "content": content}]
            )
        except RewardsmithError:
            return None
        return text.strip() or None


class Agreement(NamedTuple):
    """The result of `agreement_filter`: indices of rows, and the labels of the kept ones."""

    kept: list[int]
    labels: list[Any]
    disagreed: list[int]
    unknown: list[int]

    @property
    def rate(self) -> float | None:
        """The share of agreement where both sources have a label; None if there is no such row."""
        n = len(self.kept) + len(self.disagreed)
        return len(self.kept) / n if n else None


def agreement_filter(first: Sequence[Any], second: Sequence[Any]) -> Agreement:
    """Keep the rows on which two sources of labels agree, such as a rule and a judge.

    Hong et al. 2025, arXiv:2508.05613 (hybrid annotation). Two sources that err on the same rows agree there, and what
    is kept is easier than what is not.

    Args:
        first, second: labels, compared by ==; None where a source has none.

    >>> agreement_filter([1, 0, 1, None], [1, 1, True, 0])
    Agreement(kept=[0, 2], labels=[1, 1], disagreed=[1], unknown=[3])
    """
    if len(first) != len(second):
        raise ValueError(
            f"agreement_filter: got {len(first)} and {len(second)} labels. Give one of each source for every row."
        )
    pairs = list(enumerate(zip(first, second, strict=True)))
    unknown = [place for place, pair in pairs if None in pair]
    kept = [place for place, (a, b) in pairs if a is not None and b is not None and a == b]
    disagreed = [place for place, (a, b) in pairs if a is not None and b is not None and a != b]
    return Agreement(kept, [first[place] for place in kept], disagreed, unknown)
