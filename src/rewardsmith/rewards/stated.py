"""The confidence that completions state: use it as a reward, weight votes by it, or hide it from another reward."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from rewardsmith.data import completion_text, parse_confidence, strip_confidence
from rewardsmith.data.confidence import ConfidenceScale
from rewardsmith.rewards.guards import Wrapper
from rewardsmith.scoring.sync_async import Calls, sync_or_async
from rewardsmith.types import Completion, Text


def stated_confidence(
    completions: list[Completion], *, scale: ConfidenceScale = 1, **columns: Any
) -> list[float | None]:
    """Return the confidence that each completion states, in [0, 1]; None where there is none that can be read.

    Do not optimize it alone: combine it with correctness by `transforms.brier_reward` or
    `transforms.ConfidenceAdjusted`. `scale` and the accepted statements are those of `data.parse_confidence`.

    >>> stated_confidence(["4 <confidence>0.8</confidence>", "4", "4, 90% sure"])
    [0.8, None, None]
    """
    return [parse_confidence(completion_text(completion), scale=scale) for completion in completions]


@dataclass(frozen=True)
class WithoutConfidence(Wrapper):
    """A reward that sees completions without their statements of confidence.

    Reward models prefer a confident tone, right or wrong. The wrapper removes that preference, and with it every reason
    to state a true confidence: add one with `transforms.ConfidenceAdjusted`. Leng et al. 2024, arXiv:2410.09724.

    Token ids still hold the statement, so `completion_ids` is not passed on, and a reward that needs it fails.

    Args:
        reward: any reward in TRL's contract, sync or async; all other columns are passed unchanged.

    >>> def length(*, prompts, completions, **columns):
    ...     return [float(len(text)) for text in completions]
    >>> WithoutConfidence(length)(prompts=["2+2?"], completions=["Four. Confidence: 9"])
    [5.0]
    """

    mark = "without_confidence"

    @sync_or_async
    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Calls:
        """Return the reward's values for the completions without their statements."""
        columns.pop("completion_ids", None)
        stripped = [strip_confidence(text) for text in completions]
        [scores] = yield [partial(self.reward, prompts=prompts, completions=stripped, **columns)]
        return scores


class Vote(NamedTuple):
    """The result of `weighted_vote`.

    winner: the answer with the largest share; None if no answer counts.
    shares: each counted answer's share, in the order of first appearance.
    tied: whether another answer has the same share.
    """

    winner: Any
    shares: dict[Any, float]
    tied: bool


def weighted_vote(answers: Sequence[Hashable], confidence: Sequence[float | None] | None = None) -> Vote:
    """Return the answer with the largest share of votes, weighted by stated confidence.

        share(y) = Σ_{i: y_i = y} c_i / Σ_i c_i

    Damani et al. 2025, arXiv:2507.16806 (test-time use of a calibrated policy). Answers of None, and confidences of
    None or NaN, do not count. If all weights are 0, votes count equally. Ties go to more votes, then to the first.

    Args:
        answers: the answers, such as texts normalized by `final_answer`; equal values are the same answer.
        confidence: c_i ≥ 0, as `stated_confidence` gives it; None counts each vote as 1, a plain majority.

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
            f"weighted_vote: confidence holds {odd[0]}, which is no weight. Pass numbers of at least 0, or None."
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
