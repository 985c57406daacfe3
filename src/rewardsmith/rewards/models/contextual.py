"""ContextualReward: judge each row by the criterion, or for the person, that its context names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

from rewardsmith.data import in_context
from rewardsmith.data.contexts import CONTEXT_TEMPLATE
from rewardsmith.rewards.guards import rows_at
from rewardsmith.rewards.models.base import ModelReward
from rewardsmith.rewards.models.encoding import Encoded
from rewardsmith.rewards.models.gradients import Columns, Encode
from rewardsmith.rewards.models.triggers import Differentiable
from rewardsmith.scoring.calling import Unscored, reasoned
from rewardsmith.scoring.contracts import is_async, name_of
from rewardsmith.types import Completion, Text


@dataclass
class ContextualReward(ModelReward):
    """r(x ⊕ z, y): write each row's context z into its prompt, and score the result with another reward.

    Pitis et al. 2024, arXiv:2407.14916. z is in the prompt and never in the response, where it would be a cue of length
    and style. A row without a context, and every row if the column is missing, uses `data.contexts.NO_CONTEXT`, so that
    r(x, y) stays defined; train with some such rows. Scores under different contexts have different offsets and units:
    `transforms.reference_statistics` and `mixture_score` combine them.

    Args:
        model: a reward model, or any synchronous reward in TRL's contract.
        template: as in `data.in_context`, and as in training.
        column: the column that holds the contexts.
        name: the name in trainers' logs and in reports.
    """

    model: Any
    _: KW_ONLY
    template: str = CONTEXT_TEMPLATE
    column: str = "context"
    name: str = "contextual_reward"

    def __post_init__(self) -> None:
        in_context("", None, template=self.template)  # raises for a template without its two placeholders
        if is_async(self.model):
            raise ValueError(
                f"ContextualReward: {name_of(self.model)} is async. Write the context into the prompts of your rows "
                "with data.in_context instead."
            )

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        """Return the values of `score`, with the reason where the model or the prompt gives no score."""
        written = self._written(prompts, columns)
        kept = [place for place, prompt in enumerate(written) if not isinstance(prompt, Unscored)]
        results: list[float | Unscored] = [Unscored("the prompt has no message of the user")] * len(prompts)
        if kept:
            values = reasoned(self.model)(**rows_at(kept, prompts=written, completions=completions, **columns))
            for place, value in zip(kept, values, strict=True):
                results[place] = Unscored("the model gives no number") if value is None else value
        return results

    def score_under(
        self, prompts: list[Text], completions: list[Completion], contexts: Sequence[str | None], **columns: Any
    ) -> list[list[float | None]]:
        """Score every row under each of the same K contexts: B lists of K, as `transforms.mixture_score` takes."""
        n, rest = len(prompts), {name: value for name, value in columns.items() if name != self.column}
        by_context = [self.score(prompts, completions, **rest, **{self.column: [context] * n}) for context in contexts]
        return [list(row) for row in zip(*by_context, strict=True)]

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """Return the model's batches for these rows."""
        plan = getattr(self.model, "plan", None)
        if plan is None:
            return [list(range(len(prompts)))]
        cuts: list[list[int]] = plan(_readable(prompts, self._written(prompts, columns)), completions, **columns)
        return cuts

    def differentiable(self) -> Differentiable | None:
        """Return the model's gradient under each row's context; None where it has none."""
        inner: Differentiable | None = self.model.differentiable() if hasattr(self.model, "differentiable") else None
        if inner is None:
            return None
        return Differentiable(tuple(s._replace(encode=partial(self._encoded, s.encode)) for s in inner.sources))

    def _encoded(
        self, encode: Encode, prompts: Sequence[Text], completions: Sequence[Completion], columns: Columns
    ) -> Sequence[Encoded | Unscored]:
        written = self._written(prompts, dict(columns))
        rows = encode(_readable(prompts, written), completions, columns)
        return [new if isinstance(new, Unscored) else row for new, row in zip(written, rows, strict=True)]

    def _written(self, prompts: Sequence[Text], columns: dict[str, Any]) -> list[Text | Unscored]:
        contexts = columns.get(self.column) or [None] * len(prompts)
        written: list[Text | Unscored] = []
        for prompt, context in zip(prompts, contexts, strict=True):
            try:
                said = None if context is None else str(context)
                written.append(in_context(prompt, said, template=self.template))
            except ValueError as error:
                written.append(Unscored(str(error)))
        return written


def _readable(prompts: Sequence[Text], written: Sequence[Text | Unscored]) -> list[Text]:
    return [plain if isinstance(new, Unscored) else new for plain, new in zip(prompts, written, strict=True)]
