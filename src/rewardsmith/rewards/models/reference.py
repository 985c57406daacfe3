"""ReferenceReward: a classifier that reads question, reference answer and completion, and says whether it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from rewardsmith.data import text_of
from rewardsmith.data.keys import read_key
from rewardsmith.rewards.models.pairwise import sigmoid
from rewardsmith.rewards.models.templated import TemplatedReward, filled
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

REFERENCE_TEMPLATE = "\n\n<reference>{reference}</reference>\n\n<response>{response}</response>"
"""The text after the question."""
REFERENCE_FILE = "reference.json"


@dataclass
class ReferenceReward(TemplatedReward):
    """The probability that a completion gives the reference answer, from a classifier with one logit.

        r(q, a*, y) = σ( f(q, a*, y) ) ∈ (0, 1)

    Hong et al. 2025, arXiv:2508.05613 (VerifyRM). `engines.trl.ReferenceTrainer` trains it, and
    `engines.trl.OnlineRewardUpdater` keeps training it beside the policy; frozen, it may be hacked.

    Args:
        model: a `…ForSequenceClassification` with one label, trained by cross-entropy on right and wrong.
        tokenizer: its own.
        template: the text after the question, with {reference} and {response}, as in training.
        max_length, chat, eos, batching: as in `SequenceReward`, which reads the rows.
        name: the name in trainers' logs and in reports.
    """

    _: KW_ONLY
    template: str = REFERENCE_TEMPLATE
    name: str = "reference_reward"
    options_file: ClassVar[str] = REFERENCE_FILE

    def __post_init__(self) -> None:
        self.check(("{reference}", "{response}"), "the log-odds of being right are one number")

    def __call__(  # type: ignore[override]
        self, prompts: list[Text], completions: list[Completion], *, answer: list[Any], **columns: Any
    ) -> list[float | None]:
        """Return P(right) for each completion; None where the row has no key or is too long."""
        found: list[float | None] = self.score(prompts, completions, answer=answer, **columns)
        return found

    def reasoned(  # type: ignore[override]
        self, prompts: list[Text], completions: list[Completion], *, answer: list[Any], **columns: Any
    ) -> list[float | Unscored]:
        """Return the values of `score`, with the reason in place of None."""
        logits = self.reading.reasoned(prompts, self.written(completions, answer))
        keys = [read_key(key) for key in answer]
        return [
            Unscored(key.why or "the row has no key")
            if not (key.text or "").strip()
            else logit
            if isinstance(logit, Unscored)
            else sigmoid(logit)
            for key, logit in zip(keys, logits, strict=True)
        ]

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """Return the batches in which a `Scorer` should send these rows."""
        return self.reading.plan(prompts, self.written(completions, columns.get("answer") or [""] * len(prompts)))

    def written(self, completions: Sequence[Completion], answer: Sequence[Any]) -> list[Completion]:
        """Return the texts after the question that the model reads."""
        keys = [read_key(key).text or "" for key in answer]
        return [with_reference(text_of(y), key, self.template) for y, key in zip(completions, keys, strict=True)]


def with_reference(response: str, reference: str, template: str = REFERENCE_TEMPLATE) -> str:
    """Return the text after the question in which a reference model reads the key and the completion.

    >>> with_reference("{x}", "4", "key {reference}, said {response}")
    'key 4, said {x}'
    """
    return filled(template, {"{reference}": reference, "{response}": response})
