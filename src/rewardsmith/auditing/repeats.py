"""Score the same rows repeatedly: in one call again, in reverse, beside other texts, one by one."""

from __future__ import annotations

from typing import NamedTuple

from rewardsmith.auditing.asking import Ask, Building
from rewardsmith.data import Row
from rewardsmith.scoring.work import Scored


class Conduct(NamedTuple):
    """Scores of the same rows: at first, twice in one order, once in reverse, once one by one.

    mixed: scores in a call with a longer and a shorter text, or the first ones if that call failed.
    """

    rows: tuple[Row, ...]
    earliest: list[Scored]
    first: list[Scored]
    again: list[Scored]
    reverse: list[Scored]
    single: list[Scored]
    mixed: list[Scored]

    def largest_difference(self) -> float:
        """Return the largest difference between two scores of one row, in reward units."""
        spread = 0.0
        for scores in zip(self.first, self.again, self.reverse, self.single, strict=True):
            known = [score.reward for score in scores if score.reward is not None]
            spread = max(spread, max(known) - min(known)) if known else spread
        return spread


NO_CONDUCT = Conduct((), [], [], [], [], [], [])


def score_repeatedly(rows: tuple[Row, ...], earliest: list[Scored]) -> Building[Conduct]:
    """Score the same rows repeatedly; `earliest` holds their first scores."""
    first, again, reverse, mixed = yield [
        Ask(rows, nonce="conduct 1", whole=True),
        Ask(rows, nonce="conduct 2", whole=True),
        Ask(rows[::-1], nonce="conduct 3", whole=True),
        Ask(mix(rows), nonce="conduct mixed", whole=True),
    ]
    if {score.reason for score in mixed} - {score.reason for score in first}:
        mixed = first
    singles = yield [Ask([row], nonce="conduct 4", whole=True) for row in rows]
    single = [score for scores in singles for score in scores]
    return Conduct(rows, earliest[: len(rows)], first, again, reverse[::-1], single, mixed[: len(rows)])


def mix(rows: tuple[Row, ...]) -> list[Row]:
    """Return the rows, and two with a text of twice the first one's length and of one character."""
    return [
        *rows,
        *(row.with_completion(text) for row in rows[:1] for text in (f"{row.text} {row.text}", row.text[:1])),
    ]
