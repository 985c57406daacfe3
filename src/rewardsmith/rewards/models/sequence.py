"""SequenceReward: any sequence classifier of transformers as a reward, whether its head gives one score or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.rewards.models.base import Batching, Reader, text_of_digest, weights_digest
from rewardsmith.rewards.models.behavior import close, evaluating, looks_left, probes
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, longest
from rewardsmith.rewards.models.triggers import Differentiable, differentiable
from rewardsmith.scoring.calling import Unscored, scored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class SequenceReward:
    """The score that a sequence classifier gives prompt and completion.

        r(x, y) = Σ_a w_a · f_a(x ⊕ y)        f read at the row's last token; one attribute and w = 1 for a plain head

    Of a decoder the head is read at the last token that is not the padding token, as its own `forward` does and its
    trainer did, but each row's own tokens decide, so scores depend neither on the batch nor on the padding side.

    Args:
        model: a `…ForSequenceClassification`, in eval mode while it scores.
        tokenizer: its own.
        weights: w_a, by attribute (`config.id2label`) or one per head; what is not named has no weight. A head with
            several attributes has no score without.
        max_length: tokens a row may have, by default what model and tokenizer say they take; longer rows are unscored
            and never cut.
        chat: True puts strings through the chat template too; None only conversations.
        eos: end strings with the end-of-sequence token, where the tokenizer has one, as TRL's RewardTrainer does.
        pair: give the tokenizer prompt and completion as two texts.
        batching: what a forward pass holds.
        name: under which trainers and reports list it.
    """

    model: Any
    tokenizer: Any
    _: KW_ONLY
    weights: Mapping[str, float] | Sequence[float] | None = None
    max_length: int | None = None
    chat: bool | None = None
    eos: bool = True
    pair: bool = False
    batching: Batching = field(default_factory=Batching)
    name: str = "sequence_reward"

    def __post_init__(self) -> None:
        self._weights = None if self.weights is None else _by_position(self.weights, self.attributes)
        if self.max_length is None:
            self.max_length = longest(self.model, self.tokenizer)

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def attributes(self) -> list[str]:
        """What the head's outputs are called, in order."""
        labels = self.model.config.id2label
        return [str(labels[place]) for place in range(self.model.config.num_labels)]

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """TRL's contract: `score`."""
        return self.score(prompts, completions, **columns)

    def score(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """One number a row; None where it is too long or the model gives no finite number."""
        return scored(self.name, self.reasoned(prompts, completions, **columns))

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        """`score`, with the reason in place of None; a number that is not finite comes as it is."""
        weights = self._weighing()
        found = self.source_rewards(prompts, completions)
        return [row if isinstance(row, Unscored) else _weighed(row, weights) for row in found]

    def source_rewards(
        self, prompts: list[Text], completions: list[Completion], **columns: Any
    ) -> list[list[float] | Unscored]:
        """Every attribute's number, before weights: K a row, or why there are none."""
        return self.reader.values(prompts, completions)

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """The batches in which a `Scorer` should send these rows."""
        return self.reader.plan(prompts, completions)

    def content_digest(self) -> str:
        """A digest of weights and options, by which a journal knows its job."""
        options = (self._weights, self.max_length, self.chat, self.eos, self.pair, self.tokenizer.chat_template)
        return text_of_digest(weights_digest(self.model), *options)

    def differentiable(self) -> Differentiable | None:
        """This score's gradient, for attacks on it; without weights, that of the mean of the attributes."""
        weights = self._weights or [1 / len(self.attributes)] * len(self.attributes)
        head = getattr(self.reader.read, "head", _as_they_are)
        return differentiable(self.reader, head, weights, self.tokenizer)

    @cached_property
    def reader(self) -> Reader:
        """How rows are read."""
        parts = split_head(self.model)
        encoder = RowEncoder(self.tokenizer, self.max_length, self.chat, self.eos, self.pair, embedded(self.model))
        pad = pad_token(self.model, self.tokenizer)
        if parts is None:
            most = {} if pad is not None else {"max_rows": 1}
            scanner = self.batching.scanner(
                model=self.model, body=Pooled(self.model), trunk=self.model, causal=False, pad_id=pad or 0, **most
            )
            return Reader(scanner, encoder.rows, numbers)
        scanner = self.batching.scanner(
            model=self.model, body=Hidden(parts.trunk), trunk=parts.trunk, causal=True, pad_id=pad or 0
        )
        return Reader(scanner, LastToken(encoder, padding_id(self.model)), HeadOf(parts.head))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "reader"}

    def _weighing(self) -> list[float]:
        if self._weights is None and len(self.attributes) > 1:
            raise ValueError(
                f"SequenceReward: the head of {self.name} gives {len(self.attributes)} attributes "
                f"({', '.join(self.attributes)}) and no weights say what they are worth. Pass weights, such as "
                f'{{"{self.attributes[0]}": 1.0}}, or read them apart with source_rewards.'
            )
        return self._weights or [1.0]


class Parts(NamedTuple):
    """A classifier taken apart: outputs are `head(trunk(…).last_hidden_state[last])`."""

    trunk: Any
    head: Any


@dataclass(frozen=True)
class Hidden:
    """A trunk's last hidden states, (n, t, d)."""

    trunk: Any

    def __call__(self, **inputs: Any) -> Tensor:
        states: Tensor = self.trunk(**inputs).last_hidden_state
        return states


@dataclass(frozen=True)
class Pooled:
    """A classifier that pools by itself: (n, 1, K)."""

    model: Any

    def __call__(self, **inputs: Any) -> Tensor:
        logits: Tensor = self.model(**inputs).logits[:, None]
        return logits


@dataclass(frozen=True)
class HeadOf:
    """(R, d) hidden states to the head's numbers, a list per row."""

    head: Any

    def __call__(self, values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
        return numbers(self.head(values), rows)


@dataclass(frozen=True)
class LastToken:
    """Rows read at their last token other than the padding token, which a decoder's classifier looks for too."""

    encoder: RowEncoder
    pad_id: int | None

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        rows = self.encoder.rows(prompts, completions)
        return [row if isinstance(row, Unscored) else row._replace(reads=(self._last(row),)) for row in rows]

    def _last(self, row: Encoded) -> int:
        places = (place for place in range(len(row.ids) - 1, -1, -1) if row.ids[place] != self.pad_id)
        return next(places, 0)


def split_head(model: Any) -> Parts | None:
    """A decoder's trunk and head where they make its logits as `Parts` says, tried on a few tokens; else None."""
    import torch

    trunk, head = getattr(model, model.base_model_prefix, None), getattr(model, "score", None)
    if not callable(head) or trunk is None or not looks_left(Hidden(trunk), model):
        return None
    first, second = probes(model)
    with torch.inference_mode(), evaluating(model):
        for ids in (first, second, first[:, :-2], second[:, :-3], first[:, :-5]):  # a head may read the last by chance
            own = model(input_ids=ids).logits
            try:
                read = head(Hidden(trunk)(input_ids=ids))  # (1, t, K)
            except Exception:  # a head that takes something else
                return None
            if own.shape != read[:, -1].shape or not close(read[:, -1], own, of=read):
                return None
    return Parts(trunk, head)


def padding_id(model: Any) -> int | None:
    """The token that the model itself takes for padding."""
    found: int | None = model.config.get_text_config().pad_token_id
    return found


def pad_token(model: Any, tokenizer: Any) -> int | None:
    """The token to fill with: the model's own, else the tokenizer's, 0 where there is no such token; or None."""
    own = padding_id(model)
    found: int | None = tokenizer.pad_token_id if own is None else own
    size = getattr(model.config.get_text_config(), "vocab_size", None)
    return 0 if found is not None and not 0 <= found < (size or found + 1) else found


def _as_they_are(values: Tensor) -> Tensor:
    return values


def numbers(values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
    """Turn (R, d) outputs into lists of d numbers."""
    found: list[list[float]] = values.double().cpu().tolist()
    return found


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
