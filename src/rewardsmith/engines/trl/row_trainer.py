"""The common part of trainers on rows with labels: reading, padding, and the loss of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer


@dataclass
class RowCollator:
    """Collator that pads tokens and labels on the right: `input_ids`, `attention_mask` and `labels`, each (B, T).

    A label of None is NaN.
    """

    pad_id: int
    pad_label: float

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        ids = [torch.tensor(example["input_ids"], dtype=torch.long) for example in examples]
        labels = [[math.nan if label is None else label for label in example["labels"]] for example in examples]
        known = [torch.tensor(row, dtype=torch.float) for row in labels]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_id),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
            "labels": pad_sequence(known, batch_first=True, padding_value=self.pad_label),
        }


class RowTrainer(Trainer):
    """`transformers.Trainer` on rows whose form and loss a subclass defines.

    `encode` turns a row into `input_ids` and `labels`, and `kept` selects rows. A data set that has `input_ids` is used
    as it is. `loss_of` is the loss of a batch's logits and labels, and `figures` the metrics that an evaluation adds.
    """

    encode: Any
    kept: Any
    loss_of: Any
    figures: Any

    def __init__(
        self, *, train_dataset: Any, processing_class: Any, pad_label: float, eval_dataset: Any = None, **keywords: Any
    ) -> None:
        self.tokenizer = processing_class
        super().__init__(
            train_dataset=self._prepared(train_dataset),
            eval_dataset=self._prepared(eval_dataset),
            processing_class=processing_class,
            data_collator=RowCollator(processing_class.pad_token_id, pad_label),
            compute_metrics=self.figures,
            **keywords,
        )
        self.model_accepts_loss_kwargs = False  # the loss is a mean over this batch's labels

    def _prepared(self, dataset: Any) -> Any:
        if dataset is None or "input_ids" in (dataset.column_names or ()):
            return dataset
        return dataset.map(self.encode, remove_columns=dataset.column_names).filter(self.kept)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs.pop("labels")
        logits = model(**inputs).logits
        loss = self.loss_of(logits, labels)
        return (loss, {"logits": logits}) if return_outputs else loss
