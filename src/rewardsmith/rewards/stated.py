"""Rewards about the confidence a completion states, and rewards that must not see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from rewardsmith.data import completion_text, parse_confidence, strip_confidence
from rewardsmith.data.confidence import ConfidenceScale
from rewardsmith.rewards.guards import Wrapper
from rewardsmith.scoring.sync_async import Calls, sync_or_async
from rewardsmith.types import Completion, Text


def stated_confidence(
    completions: list[Completion], *, scale: ConfidenceScale = 1, **columns: Any
) -> list[float | None]:
    """The confidence that each completion states, in [0, 1]; None where it states none that can be read.

    Not a reward to be optimized by itself, but a source beside correctness: `transforms.brier_reward` and
    `transforms.ConfidenceAdjusted` take both. Scale and what counts as a statement as in `data.parse_confidence`.

    >>> stated_confidence(["4 <confidence>0.8</confidence>", "4", "4, 90% sure"])
    [0.8, None, None]
    """
    return [parse_confidence(completion_text(completion), scale=scale) for completion in completions]


@dataclass(frozen=True)
class WithoutConfidence(Wrapper):
    """A reward that sees completions from which every statement of confidence is taken out.

    Reward models like a confident tone whatever the answer is worth; this alone removes the liking, and with it every
    reason to state a true confidence: add one with `transforms.ConfidenceAdjusted`. Leng et al. 2024, arXiv:2410.09724.

    The ids of the tokens still hold the statement, so `completion_ids` is not passed on: a reward that asks for it
    fails rather than see what it must not.

    Args:
        reward: any reward in TRL's contract, sync or async; every other column reaches it as it is.

    >>> def length(*, prompts, completions, **columns):
    ...     return [float(len(text)) for text in completions]
    >>> WithoutConfidence(length)(prompts=["2+2?"], completions=["Four. Confidence: 9"])
    [5.0]
    """

    mark = "without_confidence"

    @sync_or_async
    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Calls:
        """What the reward returns for the stripped completions."""
        columns.pop("completion_ids", None)
        stripped = [strip_confidence(text) for text in completions]
        [scores] = yield [partial(self.reward, prompts=prompts, completions=stripped, **columns)]
        return scores
