"""AspectReward: what a classifier of segments says about one kind of error, as a reward per step."""

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

Pay = Literal["each", "mean"]


@dataclass(frozen=True)
class AspectReward(SyncOrAsync):
    """A `types.ProcessReward`: each segment is paid `positive` where it is free of an error, else `negative`.

    Wu et al. 2023, arXiv:2306.01693: ±0.3 per clause for relevance, ±0.5 per sentence for factuality. A step may hold
    several segments (`data.split_clauses`, `data.split_sentences`); it gets the sum of theirs.

    How many segments there are is up to the policy, so pay="each" pays for further good ones, and with positive=0 for
    saying less. pay="mean" divides by the completion's number of scored segments.

    Args:
        scorer: called as a process reward, with `steps` the segments of each completion in order; one number or None
            per segment, above `threshold` where the segment is free of the error. An error of the scorer is no verdict.
        positive, negative: what the two are paid.
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
    pay: Pay = "each"

    def __post_init__(self) -> None:
        check_choice("AspectReward", "pay", self.pay, get_args(Pay))
        if not self.positive > self.negative:
            raise ValueError(
                f"AspectReward: positive is {self.positive} and negative {self.negative}, so errors are paid. "
                "Pass positive above negative; to reward what the scorer calls an error, turn its scores round."
            )
        self.become(is_async=is_async(self.scorer))

    @property
    def __name__(self) -> str:
        """The scorer's name: a trainer logs aspects by it."""
        return name_of(self.scorer)

    @sync_or_async
    def __call__(
        self, *, prompts: list[Text], completions: list[Completion], steps: list[list[str]], **columns: Any
    ) -> Calls:
        """Per row one number or None per step, None for a row that was not scored."""
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
            share = 1 / max(1, len(known) - known.count(None)) if self.pay == "mean" else 1.0
            rest = iter(known)
            paid = [[self.positive if good else self.negative for good in islice(rest, len(step)) if good is not None]
                    for step in row]  # fmt: skip
            found.append([share * sum(step) if step else None for step in paid])
        return found
