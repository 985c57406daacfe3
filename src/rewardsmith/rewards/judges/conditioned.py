"""PrincipleConditioned: the contract of judges that are given a principle in words, and what they share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rewardsmith.data.keys import is_missing
from rewardsmith.rewards.judges.asking import Reply
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

LEAST = -100.0
"""The ln p below which a candidate counts as missing; some servers send −9999."""


@runtime_checkable
class PrincipleConditioned(Protocol):
    """Contract of judges that score responses by a principle in words, as `ListJudge` and `EntailmentJudge`.

    >>> from rewardsmith.rewards import EntailmentJudge, ReferenceJudge
    >>> [isinstance(judge(None), PrincipleConditioned) for judge in (EntailmentJudge, ReferenceJudge)]
    [True, False]
    """

    async def judged_by(
        self, principle: str, prompts: Sequence[Text], responses: Sequence[Sequence[Completion]]
    ) -> list[list[float | Unscored]]:
        """Return one score per response of each prompt; they are compared within a prompt."""


class Token(NamedTuple):
    """A generated token: where it begins and ends in the reply's text, and the candidates in its place."""

    start: int
    stop: int
    candidates: Mapping[str, float]


def tokens_of(reply: Reply) -> list[Token]:
    """Return the tokens of a reply's text; [] where its log-probabilities are missing, above 0, or of another text.

    Tokens before and after the text, such as those of hidden thinking or of the end, are left out.

    >>> [token[:2] for token in tokens_of(Reply("Yes.", ({"Yes": -0.1}, {".": -0.1}, {"<eos>": 0.0})))]
    [(0, 3), (3, 4)]
    """
    written = [next(iter(candidates), "") for candidates in reply.logprobs]
    offset = "".join(written).rfind(reply.text)
    sound = all(p <= 1e-3 for candidates in reply.logprobs for p in candidates.values())  # False for NaN too
    return [] if offset < 0 or not sound else list(_placed(written, reply, offset))


def _placed(written: list[str], reply: Reply, offset: int) -> Iterator[Token]:
    start = -offset
    for text, candidates in zip(written, reply.logprobs, strict=True):
        if start < len(reply.text) and start + len(text) > 0:
            yield Token(start, start + len(text), candidates)
        start += len(text)


def spellings(candidates: Mapping[str, float], marks: Sequence[str]) -> dict[str, float]:
    """Return ln P of each mark, over all its spellings: case, blanks and punctuation around it do not count.

        ln P(mark) = ln Σ_{c spells mark} p(c)

    >>> found = spellings({"Yes": math.log(0.5), " yes.": math.log(0.25), "No": math.log(0.2)}, ["yes", "no"])
    >>> {mark: round(math.exp(value), 6) for mark, value in found.items()}
    {'yes': 0.75, 'no': 0.2}
    """
    found: dict[str, float] = {}
    for text, logprob in candidates.items():
        mark = re.sub(r"^[\W_]+|[\W_]+$", "", text).lower()
        if mark in marks and logprob > LEAST:
            low, high = sorted((found.get(mark, -math.inf), logprob))
            found[mark] = high + math.log1p(math.exp(low - high))
    return found


def principles_of(caller: str, default: str | None, given: Any, n: int) -> list[str | None]:
    """Return the principle of each row: its column's, the judge's own where that is empty, None where it is no text.

    Raises:
        ValueError: neither is given, or the column is one text or has another length.
    """
    if default is None and given is None:
        raise ValueError(f"{caller}: there is neither a principle nor a column `principle`. Pass one of them.")
    if isinstance(given, str) or (given is not None and len(given) != n):
        raise ValueError(
            f"{caller}: the column `principle` is {str(given)[:80]!r} for {n} rows. Give one text per row; a principle "
            "of all rows belongs to the judge."
        )
    column = [None] * n if given is None else list(given)
    empty = [is_missing(own) or (isinstance(own, str) and not own.strip()) for own in column]
    texts = [own if isinstance(own, str) else None for own in column]
    return [default if none else text for none, text in zip(empty, texts, strict=True)]
