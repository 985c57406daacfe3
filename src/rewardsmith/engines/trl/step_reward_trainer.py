"""A trainer of process reward models: a token classifier learns the label of every step. TRL no longer has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor
from transformers import AutoModelForTokenClassification, EvalPrediction

from rewardsmith.data import encode_steps
from rewardsmith.data.steps import STEP_END
from rewardsmith.engines.trl.reading import ready
from rewardsmith.engines.trl.row_trainer import RowTrainer
from rewardsmith.objectives.pairwise import step_label_loss

NO_STEP, UNLABELED = -100.0, -1.0
"""Label of a token that ends no step, and of one that ends an unlabeled step."""
StepMetrics = Callable[[list[list[float]], list[list[float | None]]], Mapping[str, float]]
"""Function from each solution's step scores and step labels to figures by name."""


class StepRewardTrainer(RowTrainer):
    """`transformers.Trainer` on solutions in steps, in TRL's stepwise form: `prompt`, `completions`, `labels`.

    A label is true or false, the probability that the step is right, or None for an unlabeled step. The model reads
    `data.encode_steps`. σ of its one logit, or the softmax of its two, at a step's last token is the probability that
    the step is right. The loss is the mean of `step_label_loss` over labeled steps.

    Args:
        model: a `…ForTokenClassification` with one or two labels, or the name or folder of any model that has such a
            class; its safetensors are loaded with a fresh head of two labels.
        args: `transformers.TrainingArguments`.
        train_dataset, eval_dataset: `datasets.Dataset`; steps beyond `max_length` tokens are cut off, and solutions
            without a labeled step are left out.
        processing_class: the tokenizer; that of the model's name or folder if None.
        step_end: text that ends a step; scoring has to use the same.
        max_length: in tokens; None for no limit.
        head_only: train the head alone, as a first stage before the whole (Cheng et al. 2025, arXiv:2504.15275).
        metrics: evaluation figures beside `accuracy`, the share of hard labels predicted right at a score of ½;
            `measures.step_metrics` gives the F1 of the first error.
    """

    def __init__(
        self,
        model: Any,
        args: Any = None,
        *,
        train_dataset: Any = None,
        processing_class: Any = None,
        step_end: str = STEP_END,
        max_length: int | None = None,
        head_only: bool = False,
        metrics: StepMetrics | None = None,
        **keywords: Any,
    ) -> None:
        model, tokenizer = ready(model, processing_class, AutoModelForTokenClassification, num_labels=2)
        if model.config.num_labels not in (1, 2):
            raise ValueError(
                f"StepRewardTrainer: the model has {model.config.num_labels} labels, but a step is right or wrong. "
                "Load it with num_labels=2, or 1."
            )
        self.step_end, self.max_length, self.step_metrics = step_end, max_length, metrics
        if head_only:
            model.base_model.requires_grad_(False)
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            processing_class=tokenizer,
            pad_label=NO_STEP,
            preprocess_logits_for_metrics=lambda logits, labels: _log_odds(logits).sigmoid(),
            **keywords,
        )

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        def tokenize(text: str) -> list[int]:
            ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            return ids

        first = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        ids, ends = encode_steps(row["prompt"], row["completions"], tokenize, step_end=self.step_end, first_ids=first,
                                 max_length=self.max_length)  # fmt: skip
        labels = [NO_STEP] * len(ids)
        for end, label in zip(ends, row["labels"], strict=False):
            labels[end] = UNLABELED if label is None or label != label else float(label)  # noqa: PLR0124 — NaN
        return {"input_ids": ids[: ends[-1] + 1] if ends else [], "labels": labels[: ends[-1] + 1] if ends else []}

    def kept(self, row: Mapping[str, Any]) -> bool:
        return any(label >= 0 for label in row["labels"])

    def _prepared(self, dataset: Any) -> Any:
        prepared = super()._prepared(dataset)
        if hasattr(prepared, "__len__") and len(prepared) == 0:
            raise ValueError(
                f"StepRewardTrainer: none of {len(dataset)} rows has a labeled step within {self.max_length} tokens. "
                "Raise max_length, or check the labels."
            )
        return prepared

    def loss_of(self, logits: Tensor, labels: Tensor) -> Tensor:
        judged = labels >= 0
        losses = step_label_loss(_log_odds(logits)[judged].float(), labels[judged])
        return losses.mean() if len(losses) else logits.sum() * 0.0

    def figures(self, prediction: EvalPrediction) -> dict[str, float]:
        probabilities, given = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)  # (B, T) padded
        ends = given > NO_STEP
        scores = [row[at].astype(float).tolist() for row, at in zip(probabilities, ends, strict=True)]
        labels = [
            [None if label == UNLABELED else float(label) for label in row[at]]
            for row, at in zip(given, ends, strict=True)
        ]
        hard = [(s > 0.5) == (y > 0.5) for row, known in zip(scores, labels, strict=True)
                for s, y in zip(row, known, strict=True) if y in (0.0, 1.0)]  # fmt: skip
        found = {"accuracy": float(np.mean(hard))} if hard else {}
        return found | dict(self.step_metrics(scores, labels) if self.step_metrics is not None else {})


def _log_odds(logits: Any) -> Tensor:
    """Return (...) log-odds of the label "right", the last of one or two, from (..., C) logits."""
    values: Tensor = logits[0] if isinstance(logits, tuple) else logits
    return values[..., 0] if values.shape[-1] == 1 else values[..., 1] - values[..., 0]
