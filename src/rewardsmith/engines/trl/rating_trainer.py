"""Reward models on ratings: one head per attribute, merged into one head before training on preferences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, EvalPrediction

from rewardsmith.engines.trl.reading import ready, row_ids
from rewardsmith.engines.trl.row_trainer import RowTrainer
from rewardsmith.objectives import rating_loss


class RatingTrainer(RowTrainer):
    """`transformers.Trainer` on rated answers: `prompt`, `completion`, `ratings`, a mapping of attribute to number.

    The model has one output per attribute, fit by `objectives.rating_loss`: the mean squared error over the attributes
    that were rated. Texts are read as TRL's `RewardTrainer` reads them: conversations through the chat template,
    strings joined and ended with the end-of-sequence token. Wang et al. 2024, arXiv:2410.01257: a model of
    `helpfulness` alone is the best start for scaled Bradley-Terry; pass its folder to `RewardTrainer`.

    Args:
        model: a `…ForSequenceClassification` with as many labels as attributes, or a name or folder, loaded with a
            fresh head; its outputs are then named after the attributes (`config.id2label`).
        attributes: names in the order of the outputs; all attributes of the training set if None.
        max_length: answers of more tokens are left out; None keeps all.
    """

    def __init__(
        self,
        model: Any,
        args: Any = None,
        *,
        train_dataset: Any,
        processing_class: Any = None,
        attributes: Sequence[str] | None = None,
        max_length: int | None = 1024,
        **keywords: Any,
    ) -> None:
        self.attributes = list(attributes) if attributes is not None else rated_attributes(train_dataset)
        names = dict(enumerate(self.attributes))
        options = {"num_labels": len(names), "id2label": names, "label2id": {n: i for i, n in names.items()}}
        model, tokenizer = ready(model, processing_class, AutoModelForSequenceClassification, **options)
        if model.config.num_labels != len(self.attributes):
            raise ValueError(
                f"RatingTrainer: the model has {model.config.num_labels} outputs for {len(self.attributes)} attributes "
                f"({', '.join(self.attributes)}). Load it with as many labels, or name the attributes."
            )
        self.max_length = max_length
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            processing_class=tokenizer,
            pad_label=math.nan,
            **keywords,
        )

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        given = row["ratings"]
        labels = [None if given.get(name) is None else float(given[name]) for name in self.attributes]
        return {"input_ids": row_ids(self.tokenizer, row["prompt"], row["completion"]), "labels": labels}

    def kept(self, row: Mapping[str, Any]) -> bool:
        most = math.inf if self.max_length is None else self.max_length
        return len(row["input_ids"]) <= most and any(rating is not None for rating in row["labels"])

    def loss_of(self, logits: Tensor, labels: Tensor) -> Tensor:
        return rating_loss(logits.float(), labels).nanmean()

    def figures(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return each attribute's mean squared error and correlation with the ratings."""
        scores, ratings = np.asarray(prediction.predictions, float), np.asarray(prediction.label_ids, float)
        found = {}
        for name, s, g in zip(self.attributes, scores.T, ratings.T, strict=True):
            known = ~np.isnan(g)
            if known.any():
                found[f"mse_{name}"] = float(np.mean((s[known] - g[known]) ** 2))
            if known.sum() > 1 and s[known].std() > 0 and g[known].std() > 0:
                found[f"correlation_{name}"] = float(np.corrcoef(s[known], g[known])[0, 1])
        return found


def merge_attributes(model: Any, weights: Mapping[str, float]) -> Any:
    """Replace the head of several attributes by their weighted sum, in place, for `RewardTrainer` to continue from.

        r = Σ_a w_a s_a        so that the one head has W = Σ_a w_a W_a and, where there is one, b = Σ_a w_a b_a

    Args:
        model: a `…ForSequenceClassification` with a linear head `score`, its outputs named by `config.id2label`.
        weights: attribute → w; other attributes have weight 0.
    """
    names = [str(model.config.id2label[i]) for i in range(model.config.num_labels)]
    unknown = sorted(set(weights) - set(names))
    if unknown or not isinstance(getattr(model, "score", None), torch.nn.Linear):
        what = f"no attribute {', '.join(unknown)} among {', '.join(names)}" if unknown else "no linear head `score`"
        raise ValueError(f"merge_attributes: the model has {what}. Pass weights by its attributes' names.")
    head = model.score
    mix = torch.tensor([[float(weights.get(name, 0.0)) for name in names]], dtype=head.weight.dtype)
    merged = torch.nn.Linear(head.in_features, 1, bias=head.bias is not None, dtype=head.weight.dtype)
    with torch.no_grad():
        merged.weight.copy_(mix.to(head.weight.device) @ head.weight)
        if head.bias is not None:
            merged.bias.copy_(mix.to(head.weight.device) @ head.bias)
    model.score = merged.to(head.weight.device)
    model.config.id2label, model.config.label2id = {0: "reward"}, {"reward": 0}  # and so num_labels is 1
    model.num_labels = 1
    return model


def rated_attributes(dataset: Any) -> list[str]:
    """Return all attributes that some row rates, in order."""
    names: dict[str, None] = {}
    for given in dataset["ratings"]:
        names |= dict.fromkeys(name for name, value in given.items() if value is not None)
    if not names:
        raise ValueError("RatingTrainer: no row of the training set has a rating. Check the column `ratings`.")
    return list(names)
