"""What the trainers of rewards share: models by name, rows as token ids, padded batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

NO_STEP, UNLABELED = -100.0, -1.0
"""Labels of a token that ends no step, and of one that ends a step which nobody judged."""


def ready(model: Any, tokenizer: PreTrainedTokenizerBase | None, auto: Any, **options: Any) -> tuple[Any, Any]:
    """The model, loaded in float32 where a name or folder is given, and its tokenizer with a padding token.

    Both are told of one padding token: sequence classifiers find a row's last token by it.
    """
    name = model if isinstance(model, str) else getattr(model.config, "_name_or_path", "")
    if isinstance(model, str):
        model = auto.from_pretrained(model, dtype=torch.float32, use_safetensors=True, **options)
    tokenizer = tokenizer or AutoTokenizer.from_pretrained(name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def padded(rows: Sequence[Sequence[float]], value: float, dtype: torch.dtype) -> Tensor:
    """(B, T) rows, filled up on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows], dtype=dtype)


def token_batch(examples: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask` (B, T)."""
    ids = [example["input_ids"] for example in examples]
    mask = padded([[1] * len(row) for row in ids], 0, torch.long)
    return {"input_ids": padded(ids, pad_id, torch.long), "attention_mask": mask}


def mapped(dataset: Any, encode: Callable[[Mapping[str, Any]], dict[str, Any]], kept: Callable[[Any], bool]) -> Any:
    """The data set with the columns that `encode` makes alone, without the rows that are not `kept`."""
    if "input_ids" in (dataset.column_names or ()):
        return dataset
    return dataset.map(encode, remove_columns=dataset.column_names).filter(kept)


__all__ = ["NO_STEP", "UNLABELED", "mapped", "padded", "ready", "token_batch"]
