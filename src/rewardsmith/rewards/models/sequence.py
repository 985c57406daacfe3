"""SequenceReward: any sequence classifier of transformers as a reward, with one score or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.rewards.models.base import TokenReward, padding_id, scanner_of
from rewardsmith.rewards.models.behavior import behavior_of, evaluating, probes
from rewardsmith.rewards.models.comparing import close
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, longest
from rewardsmith.rewards.models.scanning import Output, Scanner
from rewardsmith.rewards.models.triggers import Differentiable, differentiable
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class SequenceReward(TokenReward):
    """The score of a sequence classifier for prompt and completion.

        r(x, y) = Σ_a w_a · f_a(x ⊕ y)        f read at the row's last token; one attribute and w = 1 for a plain head

    A decoder's head is read at the last token that is not padding, as in its own `forward` and its training. This
    depends on the row's own tokens only, so neither the batch nor the padding side changes a score.

    Args:
        model: a `…ForSequenceClassification`, in eval mode while it scores.
        tokenizer: its own.
        weights: w_a, by attribute (`config.id2label`) or one per head; attributes without a weight count 0. A head with
            several attributes needs weights to give a score.
        eos: end strings with the end-of-sequence token, if the tokenizer has one, as TRL's RewardTrainer does.
        pair: give the tokenizer prompt and completion as two texts.
        max_length: the most tokens of a row, by default that of model and tokenizer; longer rows are unscored, not cut.
        chat: True uses the chat template for strings too; None for conversations only.
        batching: the options of the forward passes.
        name: the name in trainers' logs and in reports.
    """

    model: Any
    tokenizer: Any
    _: KW_ONLY
    weights: Mapping[str, float] | Sequence[float] | None = None
    eos: bool = True
    pair: bool = False
    name: str = "sequence_reward"

    def __post_init__(self) -> None:
        self._weights: list[float] | None = None
        if self.weights is not None:
            known = len(self.weights) == len(self.attributes)
            given = self.weights
            if isinstance(self.weights, Mapping):
                known = all(name in self.attributes for name in self.weights)
                given = [self.weights.get(name, 0.0) for name in self.attributes]
            self._weights = [float(weight) for weight in given]
            if not known or not all(map(math.isfinite, self._weights)):
                raise ValueError(
                    f"SequenceReward: weights {self.weights!r} do not fit the head's attributes "
                    f"{', '.join(self.attributes)}. Give finite numbers by those names, or one per attribute in that "
                    "order."
                )
        if self.max_length is None:
            self.max_length = longest(self.tokenizer, self.model)

    @property
    def attributes(self) -> list[str]:
        """The names of the head's outputs, in order."""
        labels = self.model.config.id2label
        return [str(labels[place]) for place in range(self.model.config.num_labels)]

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        if self._weights is None and len(self.attributes) > 1:
            raise ValueError(
                f"SequenceReward: the head of {self.name} gives {len(self.attributes)} attributes "
                f"({', '.join(self.attributes)}) and has no weights. Pass weights, such as "
                f'{{"{self.attributes[0]}": 1.0}}, or call source_rewards for all attributes.'
            )
        weights, found = self._weights or [1.0], self.source_rewards(prompts, completions)
        return [row if isinstance(row, Unscored) else _weighed(row, weights) for row in found]

    def source_rewards(
        self, prompts: list[Text], completions: list[Completion], **columns: Any
    ) -> list[list[float] | Unscored]:
        """Return each attribute's number before weighting, K per row, or the reason why there is none."""
        return self.values(prompts, completions)

    def differentiable(self) -> Differentiable | None:
        """Return this score's gradient, for attacks on it; without weights, that of the attributes' mean."""
        return differentiable(self, self._weights or [1 / len(self.attributes)] * len(self.attributes))

    @cached_property
    def scanner(self) -> Scanner:
        """The scanner: it runs the model up to its head if the head can be split off, else the whole model."""
        whole = Output(self.model, "logits")
        trunk, body = (self.model, whole) if self._parts is None else (self._parts.trunk, Output(self._parts.trunk))
        return scanner_of(self.model, body, self.tokenizer, self.batching, trunk=trunk)

    def encode(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Encode every row, to be read at its end."""
        known, pad_id = embedded(self.model), padding_id(self.model)
        encoder = RowEncoder(self.tokenizer, self.max_length, self.chat, self.eos, self.pair, known, pad_id)
        return encoder.rows(prompts, completions)

    def numbers(self, values: Tensor) -> Tensor:
        """Turn outputs into the attributes' numbers."""
        found: Tensor = values if self._parts is None else self._parts.head(values)
        return found

    @cached_property
    def _parts(self) -> Parts | None:
        return split_head(self.model)


class Parts(NamedTuple):
    """A classifier split into trunk and head: its outputs are `head(trunk(…).last_hidden_state[last])`."""

    trunk: Any
    head: Any


def split_head(model: Any) -> Parts | None:
    """Return a decoder's trunk and head if they give its logits on a few tokens, as `Parts` says; else None."""
    import torch

    trunk, head = getattr(model, model.base_model_prefix, None), getattr(model, "score", None)
    if not callable(head) or trunk is None or not behavior_of(Output(trunk), trunk, model).causal:
        return None
    first, second = probes(model)
    with torch.inference_mode(), evaluating(model):
        for ids in (first, second, first[:, :-2], second[:, :-3], first[:, :-5]):  # a head may read the last by chance
            own = model(input_ids=ids).logits
            try:
                read = head(Output(trunk)(input_ids=ids))  # (1, t, K)
            except Exception:  # the head takes another input
                return None
            if own.shape != read[:, -1].shape or not close(read[:, -1], own, of=read):
                return None
    return Parts(trunk, head)


def _weighed(values: Sequence[float], weights: Sequence[float]) -> float:
    counted = [(weight, value) for weight, value in zip(weights, values, strict=True) if weight]
    return math.fsum(w * v for w, v in counted) if all(math.isfinite(v) for _, v in counted) else math.nan
