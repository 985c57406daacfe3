"""What the trainers of rewards share: models by name, rows as token ids, padded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rewardsmith.data import text_of
from rewardsmith.errors import TargetError

NO_STEP, UNLABELED = -100.0, -1.0
"""Labels of a token that ends no step, and of one that ends a step which nobody judged."""


def ready(model: Any, tokenizer: PreTrainedTokenizerBase | None, auto: Any, **options: Any) -> tuple[Any, Any]:
    """The model, loaded in float32 where a name or folder is given, and its tokenizer with a padding token.

    Both are told of one padding token: sequence classifiers find a row's last token by it.

    Raises:
        ValueError: the weights in the folder have other shapes, such as a head of another size.
    """
    name = model if isinstance(model, str) else getattr(model.config, "_name_or_path", "")
    trust = options.pop("trust_remote_code", False)
    if isinstance(model, str):
        model, report = loaded(
            auto, model, trust, dtype=torch.float32, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )  # fmt: skip
        _check_shapes(name, report.get("mismatched_keys", ()))
    tokenizer = tokenizer or loaded(AutoTokenizer, name, trust)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def loaded(auto: Any, name: str, trust_remote_code: bool, **options: Any) -> Any:
    """`auto.from_pretrained`, which runs no code from the folder or repository unless told to, and never asks."""
    try:
        return auto.from_pretrained(name, trust_remote_code=trust_remote_code, **options)
    except OSError as error:
        if Path(name).is_dir():
            raise
        first = str(error).strip().partition("\n")[0]
        raise TargetError(
            f"There is no folder {name} here, and the hub gives no such model ({first[:200]}). Check the spelling, or "
            "go online."
        ) from error
    except ValueError as error:
        if trust_remote_code or "trust_remote_code" not in str(error):
            raise
        raise ValueError(
            f"{name} brings code of its own, which would run with your rights. Where you trust it, pass "
            "trust_remote_code=True (--trust-remote-code)."
        ) from error


def _check_shapes(name: str, mismatched: Iterable[Any]) -> None:
    """Refuse a start whose weights would be drawn anew because their shapes do not fit."""
    told = [
        f"{key} is {tuple(shapes[0])}, and {tuple(shapes[1])} is needed" if len(shapes) == 2 else str(key)
        for key, *shapes in ((entry,) if isinstance(entry, str) else entry for entry in sorted(mismatched))
    ]
    if told:
        raise ValueError(
            f"{name} has a head or weights of another size: {'; '.join(told[:3])}. Start from a model with as many "
            "outputs, or from the base model, whose head is drawn fresh."
        )


def row_ids(tokenizer: Any, prompt: Any, completion: Any) -> list[int]:
    """Token ids of prompt and completion as TRL's `RewardTrainer` makes them; without an end token nothing is added."""
    if isinstance(prompt, str):
        text = prompt + text_of(completion)
        end = tokenizer.eos_token or ""
        ids: list[int] = tokenizer(text if text.endswith(end) else text + end)["input_ids"]
        return ids
    found: list[int] = tokenizer.apply_chat_template([*prompt, *completion], return_dict=True)["input_ids"]
    return found


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
