"""What several answers to one prompt say together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple


class Vote(NamedTuple):
    """What `weighted_vote` found.

    winner: the answer with the largest share; None where nothing could be counted.
    shares: each counted answer's share, in the order of first appearance.
    tied: whether another answer has the same share.
    """

    winner: Any
    shares: dict[Any, float]
    tied: bool


def weighted_vote(answers: Sequence[Hashable], confidence: Sequence[float | None] | None = None) -> Vote:
    """Majority vote over sampled answers, each counted by its stated confidence.

        share(y) = Σ_{i: y_i = y} c_i / Σ_i c_i

    Damani et al. 2025, arXiv:2507.16806 (test-time use of a calibrated policy). An answer of None is no vote, and one
    whose confidence is None or NaN has no weight to count by, so it is skipped. Where every weight is 0 all count
    alike. Among equal shares the answer counted more often wins, then the one counted first.

    Args:
        answers: what was answered, such as texts made comparable by `final_answer`; equal means the same.
        confidence: c_i ≥ 0, as `stated_confidence` gives it; all 1 if None, which is the plain majority.

    >>> weighted_vote(["4", "5", "5", None], [0.75, 0.125, 0.125, 1.0])
    Vote(winner='4', shares={'4': 0.75, '5': 0.25}, tied=False)
    """
    given = [1.0] * len(answers) if confidence is None else list(confidence)
    if len(answers) != len(given):
        raise ValueError(
            f"weighted_vote: {len(answers)} answers come with {len(given)} confidences. Give one per answer, "
            "None where none was stated."
        )
    weights = [None if c is None or math.isnan(c) else float(c) for c in given]
    odd = [c for c in weights if c is not None and not 0 <= c < math.inf]
    if odd:
        raise ValueError(
            f"weighted_vote: confidence holds {odd[0]}, which is no weight. Pass numbers from 0 up, None where unknown."
        )
    votes = [(y, c) for y, c in zip(answers, weights, strict=True) if y is not None and c is not None]
    if not any(c for _, c in votes):
        votes = [(y, 1.0) for y, _ in votes]
    ballots: dict[Hashable, list[float]] = {}
    for answer, weight in votes:
        ballots.setdefault(answer, []).append(weight)
    total = math.fsum(weight for _, weight in votes)
    shares = {answer: math.fsum(weights) / total for answer, weights in ballots.items()}
    most = max(shares.values(), default=0.0)
    first = [answer for answer, share in shares.items() if math.isclose(share, most, rel_tol=1e-9)]
    winner = max(first, key=lambda answer: len(ballots[answer]), default=None)  # the first of the longest
    return Vote(winner, shares, len(first) > 1)
