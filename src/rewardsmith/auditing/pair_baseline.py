"""Build the baseline of a reward on preference pairs: the pairs, their input format and their scores."""

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
from rewardsmith.auditing.baseline import CONDUCT_ROWS
from rewardsmith.auditing.repeats import NO_CONDUCT, Conduct, score_repeatedly
from rewardsmith.data import PreferenceRow, Row, in_context, text_of
from rewardsmith.scoring import Scorer, Target, rewards_of
from rewardsmith.scoring.score_rows import resolve_form
from rewardsmith.scoring.work import Scored
from rewardsmith.types import Text

Floats = NDArray[np.float64]
Side = Literal["chosen", "rejected"]
SIDES: tuple[Side, Side] = ("chosen", "rejected")
TRIED = 2  # pairs on which the input format is tried


@dataclass(frozen=True, slots=True)
class PairBaseline:
    """Strict preference pairs with scores of both answers, in the format that the reward reads.

    rows: n pairs; a context is written into the prompt unless the reward reads it as a column.
    chosen, rejected: (n,) their scores, all finite.
    ties: pairs labeled as ties, scored or not.
    bare: (n,) prompts before a context was written into them; empty if none was.
    conduct: repeated scores of some of the answers.
    alpha: the error level per question. seed: of every probe's random draws.
    pool: completions for best-of-n, several per prompt; `gold` their true rewards (NaN if unknown); may be empty.
    compares: whether a score is P(an answer is better than the pair's other one), read first.
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
    compares: bool = False

    @property
    def margins(self) -> Floats:
        """(n,) scores of the chosen answer less the rejected one."""
        return self.chosen - self.rejected

    @property
    def unit(self) -> float:
        """The unit of effects: the median |chosen − rejected|, or the smallest float if that is 0."""
        return max(float(np.median(np.abs(self.margins))), float(np.finfo(np.float64).tiny))

    @property
    def clusters(self) -> list[str]:
        """The n prompt names; pairs of one prompt are not independent."""
        return [row.key for row in self.rows]

    def rng(self) -> random.Random:
        """Return a new random generator with the same seed at every call."""
        return random.Random(self.seed)

    def text(self, pair: int, side: Side) -> str:
        """Return one answer of a pair as plain text."""
        return text_of(getattr(self.rows[pair], side))

    def score(self, pair: int, side: Side) -> float:
        """Return the score of one answer of a pair."""
        return float((self.chosen if side == "chosen" else self.rejected)[pair])

    def row(self, pair: int, text: str) -> Row:
        """Return the row that scores `text` as an answer to a pair's prompt."""
        row = self.rows[pair]
        columns = row.columns if row.context is None else {**row.columns, "context": row.context}
        return Row(row.prompt, None, columns).with_completion(text)

    def against(self, pair: int, text: str, other: str, place: str = "first") -> Row:
        """Return the row that compares `text`, which stands in `place`, with another answer to a pair's prompt."""
        row = self.row(pair, text)
        shaped = other if isinstance(row.completion, str) else [{"role": "assistant", "content": other}]
        return replace(row, columns={**row.columns, "reference": shaped, "placed": place})

    def under(self, pair: int, side: Side, context: str | None) -> Row:
        """Return the row that scores a pair's answer under another context, or without one."""
        row = self.row(pair, self.text(pair, side))
        if not self.bare:
            return replace(row, columns={**row.columns, "context": context})
        prompt = self.bare[pair] if context is None else in_context(self.bare[pair], context)
        columns = {name: value for name, value in row.columns.items() if name != "context"}
        return replace(row, prompt=prompt, columns=columns if context is None else {**columns, "context": context})


def numbers_of(scores: Sequence[Scored]) -> Floats:
    """Return the (n,) rewards, NaN where unscored."""
    return np.array(rewards_of(scores), dtype=np.float64)


def number_of(value: Any) -> float:
    """Return a column's value as a number, NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def drawn(rows: Sequence[PreferenceRow], most: int, seed: int) -> list[PreferenceRow]:
    """Draw about `most` rows, equally many from each source if it has them, with prompts kept whole.

    All rows of a prompt stay together, which keeps repeated pairs and reversals by context. The last prompt of a source
    may therefore exceed its share.
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
    """The input format of a reward: strings or conversations, with the context in the prompt or in a column."""

    def __init__(self, scorer: Scorer, rows: Sequence[PreferenceRow]) -> None:
        """Look for a chat template; without a tokenizer, try which format the reward can read."""
        self.written = not takes_context(scorer.target) and any(row.context is not None for row in rows)
        tokenizer = tokenizer_of(scorer.target.reward)
        if tokenizer is not None:
            self.name = "conversational" if tokenizer.chat_template else "standard"
            return
        tried = [row.contextual() if self.written and row.context is not None else row for row in rows[:TRIED]]
        answers = [Row(row.prompt, row.chosen, {**row.columns, "context": row.context}) for row in tried]
        self.name = resolve_form(scorer, answers).form

    def pair(self, row: PreferenceRow, *, bare: bool = False) -> PreferenceRow:
        """Return a pair in the reward's format, if `bare` without its context."""
        if self.written and row.context is not None and not bare:
            row = row.contextual()
        shapes = {"conversational": row.conversational, "standard": row.standard}
        return replace(shapes[self.name](), prompt_id=row.key) if self.name in shapes else row

    def row(self, row: Row) -> Row:
        """Return a prompt, with or without a completion, in the reward's format."""
        context = row.columns.get("context")
        if self.written and isinstance(context, str):
            row = replace(row, prompt=in_context(row.prompt, context))
        if self.name == "conversational":
            return row.conversational()
        completion = None if row.completion is None else row.text
        return replace(row, prompt=row.prompt_text, completion=completion) if self.name == "standard" else row


def build_pair_baseline(
    rows: Sequence[PreferenceRow],
    form: Form,
    *,
    alpha: float,
    seed: int = 0,
    ties: Sequence[PreferenceRow] = (),
    pool: Sequence[Row] = (),
    gold: Sequence[float] = (),
    compares: bool = False,
) -> Building[PairBaseline]:
    """Score both answers of every pair, or compare them in both orders; leave out pairs without two finite scores."""
    nothing = np.full(len(rows), math.nan)
    bare = tuple(form.pair(row, bare=True).prompt for row in rows) if form.written else ()
    draft = PairBaseline(
        tuple(form.pair(row) for row in rows), nothing, nothing, alpha, seed, tuple(form.pair(row) for row in ties),
        tuple(form.row(row) for row in pool), np.array(gold, dtype=np.float64), bare, compares=compares,
    )  # fmt: skip

    def row(place: int, side: Side, other: Side) -> Row:
        text = draft.text(place, side)
        return draft.against(place, text, draft.text(place, other)) if compares else draft.row(place, text)

    replies = yield [Ask([row(k, *sides) for k in range(len(rows))]) for sides in (SIDES, SIDES[::-1])]
    chosen, rejected = (numbers_of(scores) for scores in replies)
    kept = np.flatnonzero(np.isfinite(chosen) & np.isfinite(rejected))
    return replace(
        draft,
        rows=tuple(draft.rows[place] for place in kept),
        chosen=chosen[kept],
        rejected=rejected[kept],
        bare=tuple(bare[place] for place in kept) if bare else (),
    )


def with_conduct(baseline: PairBaseline) -> Building[PairBaseline]:
    """Score some of the answers repeatedly, and add these scores to the baseline."""
    rows = tuple(baseline.row(pair, baseline.text(pair, side)) for pair in range(len(baseline.rows)) for side in SIDES)
    rows = rows[:CONDUCT_ROWS]
    (earliest,) = yield [Ask(rows)]  # already scored, so nothing is sent
    return replace(baseline, conduct=(yield from score_repeatedly(rows, earliest)))


def takes_context(target: Target) -> bool:
    """Return whether the reward reads a column `context`, as a parameter or as a `ContextualReward`."""
    reward: Any = target.reward
    columns = [getattr(part, "column", None) for part in (reward, *(getattr(reward, "members", None) or ()))]
    return "context" in columns or "context" in inspect.signature(getattr(reward, "function", reward)).parameters


def tokenizer_of(reward: Any) -> Any:
    """Return the tokenizer of a reward model, of its first member with one or of the model it wraps; else None."""
    found = getattr(reward, "tokenizer", None)
    inner = [getattr(reward, "model", None), *(getattr(reward, "members", None) or ())]
    return found if found is not None else next((t for part in inner if (t := getattr(part, "tokenizer", None))), None)
