"""Measure how long a reward takes, and let one that waits for a server work on several rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from rewardsmith.data import Row
from rewardsmith.scoring.calling import is_model
from rewardsmith.scoring.scorer import Scorer
from rewardsmith.scoring.work import Scored

TRIED = 10
"""Rows on which a reward's speed is measured."""
MOST_TRIED = 4 * TRIED
SLOW, MOST_BUSY = 0.02, 0.25
"""A call waits if it takes this many seconds, of which the processor works at most this share."""


class Speed(NamedTuple):
    """Median seconds of a call with one row, and how many calls run at once."""

    seconds: float
    at_once: int


def measure(scorer: Scorer, rows: Sequence[Row]) -> Speed:
    """Send the first ten rows one by one, and call a reward that waits in threads from then on.

    A worker's first row is not measured, as the reward may import or load something for it. While some of ten rows time
    out, the next ten are sent in the same way, at most four times.

    A sync reward waits if a call takes 20 ms or more and the processor works for at most a quarter of it. Then the ten
    rows are sent again, all at once. If that changes a result, they are sent once more one by one: if that changes as
    many, the reward is random and threads are not the reason, else it keeps one call at a time. A resumed job decides
    as before.
    """
    rows, rest = rows[:TRIED], rows[TRIED:MOST_TRIED]
    reward = scorer.target.reward
    # Rows of one batch may influence each other, so those of a batched reward are sent again with their batch.
    nonce, size = ("" if scorer.caller.row is not None else "speed"), (None if is_model(reward) else 1)
    done = len(scorer.engine.busy)
    first = scorer.score(rows, nonce=nonce, batch_size=size)
    found = first
    while rest and any(result.reason == "timeout" for result in found):  # rows that hang are known sooner one by one
        found, rest = scorer.score(rest[:TRIED], nonce=nonce, batch_size=size), rest[TRIED:]
    if "waits" not in scorer.notes:
        each = median([result.seconds for result in first[1:] or first])
        busy = scorer.engine.busy[done:]  # none if journaled
        steady = size is not None and not scorer.caller.is_async and all(result.reason != "timeout" for result in first)
        waits = steady and each >= SLOW and bool(busy) and median(busy) <= MOST_BUSY * each
        scorer.note(seconds=each, waits=waits)
    if scorer.notes["waits"] and scorer.concurrency > 1:
        scorer.in_threads(True)
        together = _changed(first, scorer.score(rows, nonce="speed, at once", batch_size=1))
        if together:
            scorer.in_threads(False)
            alone = _changed(first, scorer.score(rows, nonce="speed, again", batch_size=1))
            if together <= alone:
                scorer.in_threads(True)
    return Speed(scorer.notes["seconds"], scorer.at_once)


def _changed(first: Sequence[Scored], second: Sequence[Scored]) -> int:
    return sum(one.reward != other.reward for one, other in zip(first, second, strict=True))
