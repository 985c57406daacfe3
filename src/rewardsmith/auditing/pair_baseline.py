"""What every question about a reward on preference pairs starts from: pairs, their scores, and the unit of effects."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewardsmith.data import PreferenceRow, Row, in_context, text_of
from rewardsmith.scoring import Scored, rewards_of
from rewardsmith.types import Text

Floats = NDArray[np.float64]
Side = Literal["chosen", "rejected"]


@dataclass(frozen=True, slots=True)
class PairPanel:
    """Strict preference pairs, both answers of which were scored, in the form that the reward reads.

    rows: n pairs, a pair's context written into its prompt where the reward does not take it as a column.
    chosen, rejected: (n,) their scores, all finite.
    ties: pairs that the annotators left undecided, scored or not.
    bare: (n,) prompts as they were before a context was written into them; empty where none was.
    alpha: the error level per question. seed: of what a probe draws; the same for every probe.
    pool: completions to choose the best of, several to a prompt, for questions about optimization; `gold` their true
        rewards, NaN where unknown; both empty without any.
    """

    rows: tuple[PreferenceRow, ...]
    chosen: Floats
    rejected: Floats
    alpha: float
    seed: int = 0
    ties: tuple[PreferenceRow, ...] = ()
    pool: tuple[Row, ...] = ()
    gold: Floats = field(default_factory=lambda: np.zeros(0))
    bare: tuple[Text, ...] = ()

    @property
    def margins(self) -> Floats:
        """(n,) chosen less rejected."""
        return self.chosen - self.rejected

    @property
    def gap(self) -> float:
        """The unit of effects: the median distance between a pair's two scores; the smallest float where it is 0."""
        return max(float(np.median(np.abs(self.margins))), float(np.finfo(np.float64).tiny))

    @property
    def clusters(self) -> list[str]:
        """n names of prompts: pairs that share one are no independent rows."""
        return [row.key for row in self.rows]

    def rng(self) -> random.Random:
        """A fresh source of randomness, the same at every call."""
        return random.Random(self.seed)

    def text(self, pair: int, side: Side) -> str:
        """One of a pair's answers as plain text."""
        return text_of(getattr(self.rows[pair], side))

    def score(self, pair: int, side: Side) -> float:
        """What that answer was paid."""
        return float((self.chosen if side == "chosen" else self.rejected)[pair])

    def row(self, pair: int, text: str) -> Row:
        """What is sent to have `text` scored as an answer to a pair's prompt."""
        prompt = self.rows[pair].prompt
        return Row(prompt, columns=_columns(self.rows[pair])).with_completion(text)

    def elsewhere(self, pair: int, side: Side, other: int) -> Row:
        """What is sent to have a pair's answer scored under the prompt of another pair."""
        return replace(self.row(pair, self.text(pair, side)), prompt=self.rows[other].prompt)

    def under(self, pair: int, side: Side, context: str | None) -> Row:
        """What is sent to have a pair's answer scored under another context, or under none."""
        row = self.row(pair, self.text(pair, side))
        if not self.bare:
            return replace(row, columns={**row.columns, "context": context})
        prompt = self.bare[pair] if context is None else in_context(self.bare[pair], context)
        columns = {name: value for name, value in row.columns.items() if name != "context"}
        return replace(row, prompt=prompt, columns=columns if context is None else {**columns, "context": context})


def _columns(row: PreferenceRow) -> dict[str, object]:
    return {**row.columns, **({} if row.context is None else {"context": row.context})}


def numbers_of(scores: Sequence[Scored]) -> Floats:
    """(n,) the rewards, NaN where unscored."""
    return np.array(rewards_of(scores), dtype=np.float64)
