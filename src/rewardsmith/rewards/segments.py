"""AspectReward: turn a classifier of segments for one kind of error into a reward per step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, get_args

from rewardsmith._check import check_choice
from rewardsmith.scoring.contracts import is_async, name_of
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, sync_or_async
from rewardsmith.types import Completion, Text

Reduction = Literal["sum", "mean"]


@dataclass(frozen=True)
class AspectReward(SyncOrAsync):
    """A `types.ProcessReward`: each segment gets `positive` if it is free of an error, else `negative`.

    Wu et al. 2023, arXiv:2306.01693: ±0.3 per clause for relevance, ±0.5 per sentence for factuality. A step gets the
    sum of its segments' values (`data.split_clauses`, `data.split_sentences`).

    The policy chooses the number of segments. reduction="sum" therefore rewards more good ones, or, with positive=0, a
    shorter text. reduction="mean" divides by the completion's number of scored segments.

    Args:
        scorer: a process reward whose `steps` are the segments of each completion in order. It returns one number or
            None per segment, above `threshold` if the segment is free of the error. None leaves it out.
        positive, negative: the two values of a segment.
        segmenter: from a step's text to its segments; None takes the step itself as one.

    Raises:
        ValueError: positive is not above negative, or the scorer returns another number of scores than of segments.

    >>> def no_digits(completions, steps, **columns):
    ...     return [[float(not any(c.isdigit() for c in step)) for step in row] for row in steps]
    >>> vague = AspectReward(no_digits, positive=0.5, negative=-0.5, segmenter=lambda step: step.split(","))
    >>> vague(prompts=["?"], completions=["a,1\\n\\nb,c"], steps=[["a,1", "b,c"]])
    [[0.0, 1.0]]
    """

    scorer: Callable[..., Any]
    positive: float = 0.3
    negative: float = -0.3
    threshold: float = 0.5
    segmenter: Callable[[str], list[str]] | None = None
    reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        check_choice("AspectReward", "reduction", self.reduction, get_args(Reduction))
        if not self.positive > self.negative:
            raise ValueError(
                f"AspectReward: positive is {self.positive} and negative {self.negative}, so errors are rewarded. "
                "Pass positive above negative; if high scores mean errors, reverse them."
            )
        self.become(is_async=is_async(self.scorer))

    @property
    def __name__(self) -> str:
        """The scorer's name, for a trainer's logs."""
        return name_of(self.scorer)

    @sync_or_async
    def __call__(
        self, *, prompts: list[Text], completions: list[Completion], steps: list[list[str]], **columns: Any
    ) -> Calls:
        """Return one number or None per step of each row; None for a row that was not scored."""
        cut = self.segmenter
        segments = [[[step] if cut is None else cut(step) for step in row] for row in steps]
        shown = [[text for own in row for text in own] for row in segments]
        [scores] = yield [partial(self.scorer, prompts=prompts, completions=completions, steps=shown, **columns)]
        if len(scores) != len(segments):
            raise ValueError(
                f"AspectReward: {name_of(self.scorer)} returned {len(scores)} rows for {len(segments)} completions. "
                "Return one list, or None, per completion."
            )
        found: list[list[float | None] | None] = []
        for place, (row, own) in enumerate(zip(segments, scores, strict=True)):
            if own is None:
                found.append(None)
                continue
            given = own.tolist() if hasattr(own, "tolist") else list(own)
            expected = sum(map(len, row))
            if len(given) != expected:
                raise ValueError(
                    f"AspectReward: {name_of(self.scorer)} returned {len(given)} scores for the {expected} segments of "
                    f"row {place}; a text cut at the model's length limit loses its last ones. Score them in pieces, "
                    "or return None for the row."
                )
            known = [None if score is None or math.isnan(score) else score > self.threshold for score in given]
            share = 1 / max(1, len(known) - known.count(None)) if self.reduction == "mean" else 1.0
            rest = iter(known)
            values = [[self.positive if good else self.negative for good in islice(rest, len(step)) if good is not None]
                      for step in row]  # fmt: skip
            found.append([share * sum(step) if step else None for step in values])
        return found
