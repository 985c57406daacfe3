"""The baseline of a reward on preference pairs: which pairs are asked about, in which form, and what they score."""

from __future__ import annotations

import inspect
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewardsmith.auditing.asking import Ask, Building
from rewardsmith.auditing.baseline import CONDUCT_ROWS, NO_CONDUCT, Conduct, score_repeatedly
from rewardsmith.data import PreferenceRow, Row, in_context, text_of
from rewardsmith.scoring import Scorer, Target, rewards_of
from rewardsmith.scoring.score_rows import resolve_form
from rewardsmith.scoring.work import Scored
from rewardsmith.types import Text

Floats = NDArray[np.float64]
Side = Literal["chosen", "rejected"]
SIDES: tuple[Side, Side] = ("chosen", "rejected")
TRIED = 2  # pairs on which the form is tried


@dataclass(frozen=True, slots=True)
class PairPanel:
    """Strict preference pairs, both answers of which were scored, in the form that the reward reads.

    rows: n pairs, a pair's context written into its prompt where the reward does not take it as a column.
    chosen, rejected: (n,) their scores, all finite.
    ties: pairs that the annotators left undecided, scored or not.
    bare: (n,) prompts as they were before a context was written into them; empty where none was.
    conduct: repeated scores of some of the answers.
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
    conduct: Conduct = NO_CONDUCT

    @property
    def margins(self) -> Floats:
        """(n,) chosen less rejected."""
        return self.chosen - self.rejected

    @property
    def gap(self) -> float:
        """The unit of effects: the median distance between a pair's two scores; the smallest float where it is 0."""
        return max(float(np.median(np.abs(self.margins))), float(np.finfo(np.float64).tiny))

    @property
    def unit(self) -> float:
        """In what differences between scores of one row are measured."""
        return self.gap

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
        row = self.rows[pair]
        columns = row.columns if row.context is None else {**row.columns, "context": row.context}
        return Row(row.prompt, None, columns).with_completion(text)

    def under(self, pair: int, side: Side, context: str | None) -> Row:
        """What is sent to have a pair's answer scored under another context, or under none."""
        row = self.row(pair, self.text(pair, side))
        if not self.bare:
            return replace(row, columns={**row.columns, "context": context})
        prompt = self.bare[pair] if context is None else in_context(self.bare[pair], context)
        columns = {name: value for name, value in row.columns.items() if name != "context"}
        return replace(row, prompt=prompt, columns=columns if context is None else {**columns, "context": context})


def numbers_of(scores: Sequence[Scored]) -> Floats:
    """(n,) the rewards, NaN where unscored."""
    return np.array(rewards_of(scores), dtype=np.float64)


def number_of(value: Any) -> float:
    """Return what a column says as a number, NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def drawn(rows: Sequence[PreferenceRow], most: int, seed: int) -> list[PreferenceRow]:
    """At most about `most` rows, from every source as many as it has up to an equal share, prompts whole.

    All rows of a prompt stay together, so that repeated pairs and reversals by context are still there to compare; the
    last prompt of a source may so lead beyond its share.
    """
    if len(rows) <= most:
        return list(rows)
    rng = random.Random(seed)
    by_source: dict[str | None, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, row in enumerate(rows):
        by_source[row.source][text_of(row.prompt) if row.prompt_id is None else row.key].append(place)
    kept: list[int] = []
    left = most
    sizes = {source: sum(map(len, prompts.values())) for source, prompts in by_source.items()}
    for number, source in enumerate(sorted(by_source, key=lambda name: (sizes[name], str(name)))):
        share = math.ceil(left / (len(by_source) - number))
        taken: list[int] = []
        for key in rng.sample(list(by_source[source]), len(by_source[source])):
            if len(taken) >= share:
                break
            taken += by_source[source][key]
        kept += taken
        left = max(left - len(taken), 0)
    return [rows[place] for place in sorted(kept)]


class Form:
    """How a reward reads rows: as strings or conversations, its context written into the prompt or in a column."""

    def __init__(self, scorer: Scorer, rows: Sequence[PreferenceRow]) -> None:
        """Ask the tokenizer whether it has a chat template; where there is none, try what the reward can read."""
        self.written = not takes_context(scorer.target) and any(row.context is not None for row in rows)
        tokenizer = tokenizer_of(scorer.target.reward)
        if tokenizer is not None:
            self.name = "conversational" if tokenizer.chat_template else "standard"
            return
        tried = [row.contextual() if self.written and row.context is not None else row for row in rows[:TRIED]]
        answers = [Row(row.prompt, row.chosen, {**row.columns, "context": row.context}) for row in tried]
        self.name = resolve_form(scorer, answers).form

    def pair(self, row: PreferenceRow, *, bare: bool = False) -> PreferenceRow:
        """A pair as the reward reads it; `bare` without its context."""
        if self.written and row.context is not None and not bare:
            row = row.contextual()
        shapes = {"conversational": row.conversational, "standard": row.standard}
        return replace(shapes[self.name](), prompt_id=row.key) if self.name in shapes else row

    def row(self, row: Row) -> Row:
        """A prompt, perhaps with a completion, as the reward reads it."""
        context = row.columns.get("context")
        if self.written and isinstance(context, str):
            row = replace(row, prompt=in_context(row.prompt, context))
        if self.name == "conversational":
            return row.conversational()
        completion = None if row.completion is None else row.text
        return replace(row, prompt=row.prompt_text, completion=completion) if self.name == "standard" else row


def build_pair_panel(
    rows: Sequence[PreferenceRow],
    form: Form,
    *,
    alpha: float,
    seed: int = 0,
    ties: Sequence[PreferenceRow] = (),
    pool: Sequence[Row] = (),
    gold: Sequence[float] = (),
) -> Building[PairPanel]:
    """Score both answers of every pair; a pair of which one has no finite score is left out."""
    nothing = np.full(len(rows), math.nan)
    bare = tuple(form.pair(row, bare=True).prompt for row in rows) if form.written else ()
    draft = PairPanel(
        tuple(form.pair(row) for row in rows), nothing, nothing, alpha, seed, tuple(form.pair(row) for row in ties),
        tuple(form.row(row) for row in pool), np.array(gold, dtype=np.float64), bare,
    )  # fmt: skip
    replies = yield [Ask([draft.row(place, draft.text(place, side)) for place in range(len(rows))]) for side in SIDES]
    chosen, rejected = (numbers_of(scores) for scores in replies)
    kept = np.flatnonzero(np.isfinite(chosen) & np.isfinite(rejected))
    return replace(
        draft,
        rows=tuple(draft.rows[place] for place in kept),
        chosen=chosen[kept],
        rejected=rejected[kept],
        bare=tuple(bare[place] for place in kept) if bare else (),
    )


def with_conduct(panel: PairPanel) -> Building[PairPanel]:
    """Score some of the answers again and again."""
    rows = tuple(panel.row(pair, panel.text(pair, side)) for pair in range(len(panel.rows)) for side in SIDES)
    rows = rows[:CONDUCT_ROWS]
    (earliest,) = yield [Ask(rows)]  # scored for the panel, so nothing is sent
    return replace(panel, conduct=(yield from score_repeatedly(rows, earliest)))


def takes_context(target: Target) -> bool:
    """Whether the reward reads a column `context`, by a parameter of that name or as a `ContextualReward` does."""
    reward: Any = target.reward
    members = getattr(reward, "members", None) or ()
    if getattr(reward, "column", None) == "context" or any(
        getattr(member, "column", None) == "context" for member in members
    ):
        return True
    return "context" in inspect.signature(getattr(reward, "function", reward)).parameters


def tokenizer_of(reward: Any) -> Any:
    """The tokenizer of a reward model, of its first member that has one, or of the model that it wraps; else None."""
    found = getattr(reward, "tokenizer", None)
    inner = [getattr(reward, "model", None), *(getattr(reward, "members", None) or ())]
    return found if found is not None else next((t for part in inner if (t := getattr(part, "tokenizer", None))), None)
