"""PairwiseReward: a model that reads two answers together and says which is better, as a comparer or a reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from rewardsmith.data import text_of
from rewardsmith.rewards.models.templated import TemplatedReward, filled
from rewardsmith.scoring.calling import Unscored, scored
from rewardsmith.types import Completion, Text

PAIR_TEMPLATE = "\n\nFirst answer: {first}\n\nSecond answer: {second}"
"""The text after the prompt."""
PAIR_FILE = "pairwise.json"


@dataclass
class PairwiseReward(TemplatedReward):
    """The log-odds that one answer is better than another, from a classifier with one logit that reads both.

        r(x, y) = ½ ( f(x, y, y′) − f(x, y′, y) )        f = logit P(the first is better), y′ the row's reference

    As in PairRM, Jiang et al. 2023, arXiv:2306.02561. The mean of both orders removes the model's position bias;
    `audit` reports its size. As a reward it needs a column `reference`, the answer to compare each completion with. Use
    one for a whole group, such as an answer of the reference policy: scores against others have no common level.

    Args:
        model: a `…ForSequenceClassification` with one label, trained by a logistic loss on "the first is better".
        tokenizer: its own.
        template: the text of two answers after the prompt, with {first} and {second}, as in training.
        max_length, chat, eos, batching: as in `SequenceReward`, which reads the rows.
        name: the name in trainers' logs and in reports.
    """

    _: KW_ONLY
    template: str = PAIR_TEMPLATE
    name: str = "pairwise_reward"
    options_file: ClassVar[str] = PAIR_FILE

    def __post_init__(self) -> None:
        self.check(("{first}", "{second}"), "the log-odds are one number")

    def compare(
        self, prompts: Sequence[Text], firsts: Sequence[Completion], seconds: Sequence[Completion]
    ) -> list[float | None]:
        """Return P(first is better) in this one order; None where the pair is too long or has no number."""
        found = scored(self.name, self.reading.reasoned(list(prompts), self._written(firsts, seconds)))
        return [None if logit is None else sigmoid(logit) for logit in found]

    def __call__(  # type: ignore[override]
        self, prompts: list[Text], completions: list[Completion], *, reference: list[Completion], **columns: Any
    ) -> list[float | None]:
        """Return the log-odds of each completion against its reference; None where either order has none."""
        found: list[float | None] = self.score(prompts, completions, reference=reference, **columns)
        return found

    def reasoned(  # type: ignore[override]
        self, prompts: list[Text], completions: list[Completion], *, reference: list[Completion], **columns: Any
    ) -> list[float | Unscored]:
        """Return the values of `score`, with the reason in place of None.

        A column `placed` of "first" or "second" reads the completion in that position only, instead of both.
        """
        placed = columns.get("placed") or [None] * len(prompts)
        there = self.reading.reasoned(prompts, self._written(completions, reference))
        back = self.reading.reasoned(prompts, self._written(reference, completions))
        found: list[float | Unscored] = []
        for one, other, place in zip(there, back, placed, strict=True):
            if place == "first" or isinstance(one, Unscored):
                found.append(one)
            elif isinstance(other, Unscored):
                found.append(other)
            else:
                found.append(-other if place == "second" else (one - other) / 2)
        return found

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """Return the batches in which a `Scorer` should send these rows."""
        reference = columns.get("reference") or completions
        return self.reading.plan(prompts, self._written(completions, reference))

    def _written(self, firsts: Sequence[Completion], seconds: Sequence[Completion]) -> list[Completion]:
        return [
            in_pair(text_of(first), text_of(second), self.template)
            for first, second in zip(firsts, seconds, strict=True)
        ]


def in_pair(first: str, second: str, template: str = PAIR_TEMPLATE) -> str:
    """Return the text after the prompt in which a pairwise model reads two answers.

    >>> in_pair("yes", "no", "A: {first} B: {second}")
    'A: yes B: no'
    """
    return filled(template, {"{first}": first, "{second}": second})


def sigmoid(logit: float) -> float:
    """Return 1 / (1 + exp(−x)) for any x, without overflow."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))
