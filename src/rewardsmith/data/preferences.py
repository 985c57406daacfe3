"""Training and test rows of reward models: preference pairs, rated or right answers, labeled steps, benchmark items."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from rewardsmith._check import check_range
from rewardsmith.data.contexts import CONTEXT_TEMPLATE, in_context
from rewardsmith.data.rows import as_messages, text_of
from rewardsmith.types import Text

if TYPE_CHECKING:
    from datasets import Dataset

TRAINING_COLUMNS = ("margin", "weight", "soft_label", "is_tie")
"""Columns of a pair that change its loss; see `engines.trl.RewardTrainer`."""


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """Two answers to one prompt, chosen and rejected; all three are strings, or all three are lists of messages.

    margin: the wanted difference of the scores, in the reward model's unit.
    weight: factor of the pair's loss, 1 if None.
    soft_label: the probability that the label is wrong.
    is_tie: neither is better; the order of `chosen` and `rejected` then means nothing.
    strength: how much better, in the annotators' unit, > 0 (HelpSteer: 1 slightly, 2 better, 3 much better).
    ratings: attribute → (rating of `chosen`, rating of `rejected`).
    context: the criterion under which the label holds.
    prompt_id: rows with the same id belong in one split; None uses the prompt's text.
    """

    prompt: Text
    chosen: Text
    rejected: Text
    margin: float | None = None
    weight: float | None = None
    soft_label: float | None = None
    is_tie: bool = False
    strength: float | None = None
    ratings: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    context: Text | None = None
    source: str | None = None
    split: str | None = None
    prompt_id: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The id that rows of one prompt share; it must not be in both training and test."""
        return self.prompt_id if self.prompt_id is not None else text_of(self.prompt)

    def conversational(self) -> PreferenceRow:
        """Convert prompt and answers to lists of messages, for a model with a chat template."""
        chosen, rejected = as_messages(self.chosen), as_messages(self.rejected)
        return replace(self, prompt=as_messages(self.prompt, "user"), chosen=chosen, rejected=rejected)

    def standard(self) -> PreferenceRow:
        """Convert the row to strings; a longer conversation becomes a transcript in the format of HH-RLHF."""
        return replace(self, prompt=_plain(self.prompt), chosen=text_of(self.chosen), rejected=text_of(self.rejected))

    def contextual(self, *, template: str = CONTEXT_TEMPLATE) -> PreferenceRow:
        """Write the row's context into its prompt, as `in_context` does; the key does not change."""
        context = None if self.context is None else text_of(self.context)
        return replace(self, prompt=in_context(self.prompt, context, template=template), prompt_id=self.key)

    def swapped(self) -> PreferenceRow:
        """Exchange chosen and rejected, and their ratings."""
        ratings = {name: (second, first) for name, (first, second) in self.ratings.items()}
        return replace(self, chosen=self.rejected, rejected=self.chosen, ratings=ratings)

    def record(self) -> dict[str, Any]:
        """Return the row as TRL and `engines.trl.RewardTrainer` read it, without missing fields."""
        names = ("margin", "weight", "soft_label", "strength", "context", "source", "split", "prompt_id")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        given |= {"is_tie": True} if self.is_tie else {}
        given |= {"ratings": {name: list(pair) for name, pair in self.ratings.items()}} if self.ratings else {}
        return {**self.columns, "prompt": self.prompt, "chosen": self.chosen, "rejected": self.rejected, **given}


@dataclass(frozen=True, slots=True)
class RatedRow:
    """One answer and its ratings by attribute; an attribute may be missing."""

    prompt: Text
    completion: Text
    ratings: Mapping[str, float]
    source: str | None = None
    split: str | None = None

    @property
    def key(self) -> str:
        """The id that rows of one prompt share."""
        return text_of(self.prompt)

    def conversational(self) -> RatedRow:
        """Convert prompt and completion to lists of messages."""
        return replace(self, prompt=as_messages(self.prompt, "user"), completion=as_messages(self.completion))

    def standard(self) -> RatedRow:
        """Convert the row to strings, as `PreferenceRow.standard` does."""
        return replace(self, prompt=_plain(self.prompt), completion=text_of(self.completion))

    def record(self) -> dict[str, Any]:
        """Return the row as `engines.trl.RatingTrainer` reads it."""
        return {"prompt": self.prompt, "completion": self.completion, "ratings": dict(self.ratings)}


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One completion and whether it is right."""

    prompt: Text
    completion: Text
    label: bool
    source: str | None = None
    split: str | None = None

    @property
    def key(self) -> str:
        """The id that rows of one prompt share."""
        return text_of(self.prompt)

    def conversational(self) -> OutcomeRow:
        """Convert prompt and completion to lists of messages."""
        return replace(self, prompt=as_messages(self.prompt, "user"), completion=as_messages(self.completion))

    def standard(self) -> OutcomeRow:
        """Convert the row to strings, as `PreferenceRow.standard` does."""
        return replace(self, prompt=_plain(self.prompt), completion=text_of(self.completion))

    def record(self) -> dict[str, Any]:
        """Return the row as `engines.trl.OutcomeTrainer` and TRL's KTOTrainer read it."""
        return {"prompt": self.prompt, "completion": self.completion, "label": self.label}


@dataclass(frozen=True, slots=True)
class StepRow:
    """A solution in labeled steps, in TRL's stepwise schema.

    labels: per step True or False, or the probability that it is right; None if it is not labeled.
    """

    prompt: str
    completions: Sequence[str]
    labels: Sequence[float | None]
    source: str | None = None
    split: str | None = None

    @property
    def key(self) -> str:
        """The id that rows of one prompt share."""
        return self.prompt

    def record(self) -> dict[str, Any]:
        """Return the row as `engines.trl.StepRewardTrainer` reads it."""
        labels = [None if label is None else float(label) for label in self.labels]
        return {"prompt": self.prompt, "completions": list(self.completions), "labels": labels}


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """One item of a reward model benchmark: each completion of `chosen` should score above each one of `rejected`.

    subset: the group in which results are reported. item_id: as published. columns: the item's other fields.
    """

    prompt: Text
    chosen: Sequence[Text]
    rejected: Sequence[Text]
    subset: str
    item_id: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The id that rows of one prompt share."""
        return text_of(self.prompt)


AnyKeyed = TypeVar("AnyKeyed", PreferenceRow, RatedRow, OutcomeRow, StepRow, BenchmarkRow)


def held_out(rows: Sequence[AnyKeyed], *, share: float = 0.1, seed: int = 0) -> tuple[list[AnyKeyed], list[AnyKeyed]]:
    """Split rows into training rows and held-out rows, with no prompt (`key`) in both.

    Rows that share responses, such as the two rows of a reversal or the pairs of one response tree, need one
    `prompt_id`. Otherwise the held-out rows contain responses of the training rows.

    Of P prompts exactly round(share · P) are held out: the first in the order of a hash of seed and prompt. So the
    order of rows does not matter, and added or dropped prompts move only prompts near the boundary.

    >>> train, test = held_out([PreferenceRow(str(k // 2), "a", "b") for k in range(400)], share=0.25)
    >>> len(train) + len(test), {row.key for row in train} & {row.key for row in test}, len(test)
    (400, set(), 100)
    """
    check_range("held_out", "share", share, 0.0, 1.0)

    def place(key: str) -> tuple[bytes, str]:
        return hashlib.blake2b(f"{seed}\n{key}".encode("utf-8", "replace"), digest_size=8).digest(), key

    keys = sorted({row.key for row in rows}, key=place)
    out = set(keys[: round(share * len(keys))])
    return [row for row in rows if row.key not in out], [row for row in rows if row.key in out]


def _plain(prompt: Text) -> str:
    """Return one message as its content, and several as a transcript that ends with the assistant's turn to come."""
    if isinstance(prompt, str) or len(prompt) == 1:
        return text_of(prompt)
    names = {"user": "Human", "assistant": "Assistant"}
    turns = [f"\n\n{names.get(str(m.get('role')), 'System')}: {text_of([m])}" for m in prompt]
    return "".join(turns) + "\n\nAssistant: "


def to_dataset(rows: Sequence[PreferenceRow | RatedRow | OutcomeRow | StepRow]) -> Dataset:
    """Return a `datasets.Dataset` of the rows' records; a column that a row lacks holds None there."""
    from datasets import Dataset

    if not rows:
        raise ValueError("to_dataset: there are no rows. Read some, or check the data card for dropped rows.")
    records = [row.record() for row in rows]
    names = list(dict.fromkeys(name for record in records for name in record))
    return Dataset.from_list([{name: record.get(name) for name in names} for record in records])
