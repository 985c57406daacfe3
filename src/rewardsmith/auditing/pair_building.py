"""From preference rows to a panel: which pairs are asked about, in which form, and what they are paid."""

from __future__ import annotations

import inspect
import math
import random
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rewardsmith.auditing.asking import Ask
from rewardsmith.auditing.pair_baseline import PairPanel, numbers_of
from rewardsmith.data import PreferenceRow, Row, in_context, text_of
from rewardsmith.scoring import Scored, Scorer, Target
from rewardsmith.scoring.forms import resolve_form

TRIED = 2  # pairs on which the form is tried


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
        tried = [self._with_context(row) for row in rows[:TRIED]]
        answers = [Row(row.prompt, row.chosen, {**row.columns, "context": row.context}) for row in tried]
        self.name = resolve_form(scorer, answers).form

    def pair(self, row: PreferenceRow) -> PreferenceRow:
        """A pair as the reward reads it."""
        return self._shaped(self._with_context(row))

    def bare(self, row: PreferenceRow) -> PreferenceRow:
        """A pair as the reward reads it, without its context."""
        return self._shaped(row)

    def row(self, row: Row) -> Row:
        """A prompt, perhaps with a completion, as the reward reads it."""
        context = row.columns.get("context")
        if self.written and isinstance(context, str):
            row = replace(row, prompt=in_context(row.prompt, context))
        if self.name == "conversational":
            return row.conversational()
        completion = None if row.completion is None else row.text
        return replace(row, prompt=row.prompt_text, completion=completion) if self.name == "standard" else row

    def _with_context(self, row: PreferenceRow) -> PreferenceRow:
        return row.contextual() if self.written and row.context is not None else row

    def _shaped(self, row: PreferenceRow) -> PreferenceRow:
        shapes = {"conversational": row.conversational, "standard": row.standard}
        return replace(shapes[self.name](), prompt_id=row.key) if self.name in shapes else row


def build_pair_panel(
    rows: Sequence[PreferenceRow],
    form: Form,
    *,
    alpha: float,
    seed: int = 0,
    ties: Sequence[PreferenceRow] = (),
    pool: Sequence[Row] = (),
    gold: Sequence[float] = (),
) -> Generator[list[Ask], list[list[Scored]], PairPanel]:
    """Score both answers of every pair; a pair of which one has no finite score is left out."""
    nothing = np.full(len(rows), math.nan)
    bare = tuple(form.bare(row).prompt for row in rows) if form.written else ()
    draft = PairPanel(
        tuple(form.pair(row) for row in rows), nothing, nothing, alpha, seed, tuple(form.pair(row) for row in ties),
        tuple(form.row(row) for row in pool), np.array(gold, dtype=np.float64), bare,
    )  # fmt: skip
    places = range(len(rows))
    replies = yield [
        Ask([draft.row(place, draft.text(place, side)) for place in places]) for side in ("chosen", "rejected")
    ]
    chosen, rejected = (numbers_of(scores) for scores in replies)
    kept = np.flatnonzero(np.isfinite(chosen) & np.isfinite(rejected))
    return replace(
        draft,
        rows=tuple(draft.rows[place] for place in kept),
        chosen=chosen[kept],
        rejected=rejected[kept],
        bare=tuple(bare[place] for place in kept) if bare else (),
    )


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
