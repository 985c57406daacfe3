"""A trainer of implicit process rewards: a language model learns from completions that are right or wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather, gather_object
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, Trainer

from rewardsmith._check import check_choice, check_range
from rewardsmith.engines.trl.reading import ready
from rewardsmith.objectives import (
    bt_loss,
    implicit_ce_loss,
    implicit_kto_loss,
    implicit_nca_loss,
    implicit_reward,
    sequence_logps,
)
from rewardsmith.rewards import Batching
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, key_of
from rewardsmith.rewards.models.implicit import logit_scanner, token_logps
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Text

logger = logging.getLogger(__name__)

OutcomeLoss = Literal["ce", "dpo", "nca", "kto"]


class OutcomeExample(NamedTuple):
    """The completions that one loss compares, as tokens, with the label of the first."""

    texts: tuple[Encoded, ...]
    label: float
    ref_logps: tuple[float, ...] = ()


@dataclass
class OutcomeCollator:
    """Collator that lays out K texts of each of B examples: first the first ones of all, then the second ones."""

    pad_id: int

    def __call__(self, examples: Sequence[OutcomeExample]) -> dict[str, Tensor]:
        texts = [text for place in zip(*(example.texts for example in examples), strict=True) for text in place]
        ids = [torch.from_numpy(text.ids.astype(np.int64)) for text in texts]
        counted = [torch.arange(len(text.ids)) > (text.reads[0] if text.reads else len(text.ids)) for text in texts]
        ref_logps = [list(example.ref_logps) for example in examples]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_id),  # (K · B, T)
            "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
            "completion_mask": pad_sequence(counted, batch_first=True),
            "ref_logps": torch.tensor(ref_logps, dtype=torch.float64).T,  # (K, B)
            "labels": torch.tensor([example.label for example in examples]),
        }


class OutcomeTrainer(Trainer):
    """`transformers.Trainer` on outcomes, in TRL's unpaired form: `prompt`, `completion`, `label` (right or wrong).

        r = β Σ_t [ log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t) ]        π_ref is the model as it is given

    Yuan et al. 2024, arXiv:2412.01981. The trained model, with its start as reference, is an `ImplicitReward`, and so
    an `ImplicitPRM`, which read texts as this trainer does. The reference's log-probabilities are computed once, before
    training, so no second model is in memory.

    Args:
        model: a causal language model, or a name or folder.
        args: `transformers.TrainingArguments`. The gradient is proportional to β, so a small β needs more updates.
        train_dataset: a `datasets.Dataset`, or any sequence of mappings.
        processing_class: the tokenizer; that of the model's name or folder if None.
        loss: "ce" reads single completions (`objectives.implicit_ce_loss`), and so does "kto", which also reads the
            completion of another prompt for its KL. "dpo" (`bt_loss`) and "nca" compare a right and a wrong completion
            of a prompt; of the rarer kind, completions occur in several pairs, and prompts with one kind in none.
        beta: β; scoring has to use the same.
        max_length: in tokens; longer completions are left out. None keeps all.
    """

    def __init__(
        self,
        model: Any,
        args: Any = None,
        *,
        train_dataset: Any,
        processing_class: Any = None,
        loss: OutcomeLoss = "ce",
        beta: float = 0.05,
        max_length: int | None = None,
        **keywords: Any,
    ) -> None:
        check_choice("OutcomeTrainer", "loss", loss, get_args(OutcomeLoss))
        check_range("OutcomeTrainer", "beta", beta, 1e-9, 1e9)
        self.loss, self.beta = loss, beta
        model, tokenizer = ready(model, processing_class, AutoModelForCausalLM)
        encoder = RowEncoder(tokenizer, max_length, known=embedded(model))
        examples = self._examples(list(train_dataset), encoder)
        if args is not None:
            model.to(args.device)
        self.model_accepts_loss_kwargs: bool
        super().__init__(
            model=model,
            args=args,
            train_dataset=_with_reference(model, tokenizer, examples),
            processing_class=tokenizer,
            data_collator=OutcomeCollator(tokenizer.pad_token_id),
            **keywords,
        )
        self.model_accepts_loss_kwargs = False  # the loss is a mean over this batch's examples

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns: list[str] = []  # examples are tuples

    def _examples(self, rows: list[Mapping[str, Any]], encoder: RowEncoder) -> list[OutcomeExample]:
        """Return the examples of the loss, without those of which a text cannot be read."""

        def read(prompts: list[Text], completions: list[Text]) -> list[Encoded | Unscored]:
            return encoder.split_rows(prompts, completions)

        texts = read([row["prompt"] for row in rows], [row["completion"] for row in rows])
        labels = [float(row["label"]) for row in rows]
        if self.loss in ("ce", "kto") and len(set(labels)) == 1:
            raise ValueError(
                f"OutcomeTrainer: all {len(labels)} labels are {bool(labels[0])}, so there is nothing to tell apart. "
                "Add completions of the other kind."
            )
        places: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault(key_of(row["prompt"]), []).append(place)
        found: list[tuple[tuple[Encoded | Unscored, ...], float]] = []
        if self.loss == "ce":
            found = [((text,), label) for text, label in zip(texts, labels, strict=True)]
        elif self.loss == "kto":
            groups = list(places.values())
            theirs: dict[int, Text] = {}  # a completion of the next prompt
            for group, following in zip(groups, [*groups[1:], *groups[:1]], strict=True):
                theirs |= {k: rows[following[n % len(following)]]["completion"] for n, k in enumerate(group)}
            moved = read([row["prompt"] for row in rows], [theirs[k] for k in range(len(rows))])
            found = [((text, other), label) for text, other, label in zip(texts, moved, labels, strict=True)]
        else:
            for group in places.values():
                right, wrong = ([texts[k] for k in group if labels[k] == label] for label in (1.0, 0.0))
                n = max(len(right), len(wrong)) if right and wrong else 0
                found += [((right[k % len(right)], wrong[k % len(wrong)]), 1.0) for k in range(n)]
        kept = [(tuple(text for text in texts if not isinstance(text, Unscored)), y, len(texts)) for texts, y in found]
        known = [OutcomeExample(texts, y) for texts, y, n in kept if len(texts) == n]
        if len(known) < len(found):
            lost = len(found) - len(known)
            logger.warning("OutcomeTrainer: %d of %d examples are too long, or unreadable.", lost, len(found))
        if not known:
            raise ValueError(
                f"OutcomeTrainer: none of {len(rows)} rows gives an example for loss={self.loss!r} within "
                f"{encoder.max_length} tokens. A loss of pairs needs prompts with right and wrong completions."
            )
        return known

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        logps = sequence_logps(logits, inputs["input_ids"], inputs["completion_mask"])
        ref_logps = inputs["ref_logps"].to(logps)
        rewards = implicit_reward(logps, ref_logps.flatten(), beta=self.beta).view(ref_logps.shape)  # (K, B)
        losses: dict[str, Callable[[], Tensor]] = {
            "ce": lambda: implicit_ce_loss(rewards[0], inputs["labels"]),
            "dpo": lambda: bt_loss(rewards[0], rewards[1]),
            "nca": lambda: implicit_nca_loss(rewards[0], rewards[1]),
            "kto": lambda: implicit_kto_loss(
                rewards[0], inputs["labels"], kl=gather(rewards[1].detach()).mean().clamp(min=0)
            ),
        }
        loss = losses[self.loss]().mean()
        return (loss, {"rewards": rewards}) if return_outputs else loss


def _with_reference(model: Any, tokenizer: Any, examples: list[OutcomeExample]) -> list[OutcomeExample]:
    """Return the examples with log π_ref of their texts under the model; each process reads a part of them."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model  # of peft; fresh adapters add 0
    scanner = logit_scanner(model, tokenizer, Batching())
    texts = list({id(text): text for example in examples for text in example.texts}.values())
    with PartialState().split_between_processes(texts) as own:
        found = scanner.run(own, lambda values, rows: [[float(part.sum())] for part in token_logps(values, rows)])
    known = dict(zip(map(id, texts), (logp for [logp] in gather_object(found)), strict=True))
    return [example._replace(ref_logps=tuple(known[id(text)] for text in example.texts)) for example in examples]
