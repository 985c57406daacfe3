"""Helpers of the reward model trainers: models by name, low-rank adapters, rows as token ids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from rewardsmith.data import text_of
from rewardsmith.errors import TargetError, missing_extra


def ready(model: Any, tokenizer: PreTrainedTokenizerBase | None, auto: Any, **options: Any) -> tuple[Any, Any]:
    """Return the model, loaded in float32 from a name or folder, and its tokenizer with a padding token.

    Both get the same padding token: a sequence classifier finds a row's last token by it.

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
        misfits = [
            f"{key} is {tuple(shapes[0])}, and {tuple(shapes[1])} is needed" if len(shapes) == 2 else str(key)
            for key, *shapes in (
                (entry,) if isinstance(entry, str) else entry for entry in sorted(report.get("mismatched_keys", ()))
            )
        ]
        if misfits:  # transformers would draw these weights anew
            raise ValueError(
                f"{name} has a head or weights of another size: {'; '.join(misfits[:3])}. Start from a model with as "
                "many outputs, or from the base model, whose head is drawn fresh."
            )
    tokenizer = tokenizer or loaded(AutoTokenizer, name, trust)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def loaded(auto: Any, name: str, trust_remote_code: bool, **options: Any) -> Any:
    """Load by `auto.from_pretrained`, which runs no code of the folder or repository unless allowed and never asks."""
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


def check_adapters(caller: str) -> None:
    """Raise ImportError unless peft is installed."""
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise missing_extra(f"{caller} with lora_rank", "lora", error) from error


def with_adapters(model: Any, *, rank: int, alpha: float | None, head: bool = True) -> Any:
    """Return the model with an adapter on every linear layer of its trunk, and a fully trained head.

        W x + (α/r) B A x        A (r, in) drawn at random, B (out, r) from 0

    Hu et al. 2021, arXiv:2106.09685. The head is all that is neither trunk nor adapter. It may be fresh, so all of it
    is trained.

    Args:
        rank: r ≥ 1.
        alpha: α; 2r if None.
        head: train the head; False leaves that of a language model, which may share the embedding, as it is.

    Raises:
        ValueError: the model's class does not name its trunk, so the head cannot be found.
    """
    from peft import LoraConfig, get_peft_model

    trunk = model.base_model
    if trunk is model:
        raise ValueError(
            f"with_adapters: {type(model).__name__} has no base_model_prefix that names its trunk, so its head cannot "
            "be found. Train all weights, without lora_rank."
        )
    prefix = next(name for name, part in model.named_modules() if part is trunk)
    layers = [f"{prefix}.{name}" for name, part in trunk.named_modules() if isinstance(part, nn.Linear | Conv1D)]
    heads = [
        name for name, part in model.named_children() if part is not trunk and next(part.parameters(), None) is not None
    ]
    scale: Any = 2 * rank if alpha is None else alpha  # peft declares whole numbers, and takes any
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=layers, modules_to_save=heads if head else None)
    return get_peft_model(model, config)


def weight_scale(dataset: Any) -> float:
    """Return 1 over the mean of a data set's `weight`; 1 where it has none, or all are 0, or it is streamed."""
    if "weight" not in (getattr(dataset, "column_names", None) or ()) or not hasattr(dataset, "__len__"):
        return 1.0
    weights = [1.0 if weight is None else float(weight) for weight in dataset["weight"]]
    known = [weight for weight in weights if not math.isnan(weight)]
    return 1 / ((math.fsum(known) / len(known) if known else 1.0) or 1.0)


def known_scale(dataset: Any, names: Sequence[str]) -> float:
    """Return a data set's rows over those without NaN in the named columns; 1 where it is streamed, or all have one."""
    held = [dataset[name] for name in names if name in (getattr(dataset, "column_names", None) or ())]
    if not held or not hasattr(dataset, "__len__"):
        return 1.0
    known = sum(not any(value is not None and math.isnan(value) for value in row) for row in zip(*held, strict=True))
    return len(dataset) / (known or len(dataset))


def row_ids(tokenizer: Any, prompt: Any, completion: Any) -> list[int]:
    """Return token ids of prompt and completion as TRL's `RewardTrainer` makes them, without an end token if none."""
    if isinstance(prompt, str):
        text = prompt + text_of(completion)
        end = tokenizer.eos_token or ""
        ids: list[int] = tokenizer(text if text.endswith(end) else text + end)["input_ids"]
        return ids
    found: list[int] = tokenizer.apply_chat_template([*prompt, *completion], return_dict=True)["input_ids"]
    return found
