"""SequenceReward: any sequence classifier of transformers as a reward, whether its head gives one score or several."""

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
    """The score that a sequence classifier gives prompt and completion.

        r(x, y) = Σ_a w_a · f_a(x ⊕ y)        f read at the row's last token; one attribute and w = 1 for a plain head

    Of a decoder the head is read at the last token that is not the padding token, as its own `forward` does and its
    trainer did, but each row's own tokens decide, so scores depend neither on the batch nor on the padding side.

    Args:
        model: a `…ForSequenceClassification`, in eval mode while it scores.
        tokenizer: its own.
        weights: w_a, by attribute (`config.id2label`) or one per head; what is not named has no weight. A head with
            several attributes has no score without.
        eos: end strings with the end-of-sequence token, where the tokenizer has one, as TRL's RewardTrainer does.
        pair: give the tokenizer prompt and completion as two texts.
        max_length: tokens a row may have, by default what model and tokenizer say they take; longer rows are unscored
            and never cut.
        chat: True puts strings through the chat template too; None only conversations.
        batching: what a forward pass holds.
        name: under which trainers and reports list it.
    """

    model: Any
    tokenizer: Any
    _: KW_ONLY
    weights: Mapping[str, float] | Sequence[float] | None = None
    eos: bool = True
    pair: bool = False
    name: str = "sequence_reward"

    def __post_init__(self) -> None:
        self._weights = None if self.weights is None else _by_position(self.weights, self.attributes)
        if self.max_length is None:
            self.max_length = longest(self.tokenizer, self.model)

    @property
    def attributes(self) -> list[str]:
        """What the head's outputs are called, in order."""
        labels = self.model.config.id2label
        return [str(labels[place]) for place in range(self.model.config.num_labels)]

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        if self._weights is None and len(self.attributes) > 1:
            raise ValueError(
                f"SequenceReward: the head of {self.name} gives {len(self.attributes)} attributes "
                f"({', '.join(self.attributes)}) and no weights say what they are worth. Pass weights, such as "
                f'{{"{self.attributes[0]}": 1.0}}, or read them apart with source_rewards.'
            )
        weights, found = self._weights or [1.0], self.source_rewards(prompts, completions)
        return [row if isinstance(row, Unscored) else _weighed(row, weights) for row in found]

    def source_rewards(
        self, prompts: list[Text], completions: list[Completion], **columns: Any
    ) -> list[list[float] | Unscored]:
        """Every attribute's number, before weights: K a row, or why there are none."""
        return self.values(prompts, completions)

    def differentiable(self) -> Differentiable | None:
        """This score's gradient, for attacks on it; without weights, that of the mean of the attributes."""
        return differentiable(self, self._weights or [1 / len(self.attributes)] * len(self.attributes))

    @cached_property
    def scanner(self) -> Scanner:
        """How rows are read: up to the head where it can be taken off, else by the model as a whole."""
        whole = Output(self.model, "logits")
        trunk, body = (self.model, whole) if self._parts is None else (self._parts.trunk, Output(self._parts.trunk))
        return scanner_of(self.model, body, self.tokenizer, self.batching, trunk=trunk)

    def encode(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Every row as token ids, read at its end."""
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
    """A classifier taken apart: outputs are `head(trunk(…).last_hidden_state[last])`."""

    trunk: Any
    head: Any


def split_head(model: Any) -> Parts | None:
    """A decoder's trunk and head where they make its logits as `Parts` says, tried on a few tokens; else None."""
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
            except Exception:  # a head that takes something else
                return None
            if own.shape != read[:, -1].shape or not close(read[:, -1], own, of=read):
                return None
    return Parts(trunk, head)


def _by_position(weights: Mapping[str, float] | Sequence[float], attributes: Sequence[str]) -> list[float]:
    if isinstance(weights, Mapping):
        unknown = [name for name in weights if name not in attributes]
        known = not unknown
        given = [float(weights.get(name, 0.0)) for name in attributes]
    else:
        given, known = [float(weight) for weight in weights], len(weights) == len(attributes)
    if not known or not all(map(math.isfinite, given)):
        raise ValueError(
            f"SequenceReward: weights {weights!r} do not fit the head's attributes {', '.join(attributes)}. "
            "Give finite numbers by those names, or one per attribute in that order."
        )
    return given


def _weighed(values: Sequence[float], weights: Sequence[float]) -> float:
    counted = [(weight, value) for weight, value in zip(weights, values, strict=True) if weight]
    return math.fsum(w * v for w, v in counted) if all(math.isfinite(v) for _, v in counted) else math.nan
