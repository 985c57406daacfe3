"""Low-rank adapters: a few weights beside each linear layer are trained, and then merged into an ordinary model."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from rewardsmith.errors import missing_extra


def check_adapters(caller: str) -> None:
    """Raise ImportError unless peft is installed."""
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise missing_extra(f"{caller} with lora_rank", "lora", error) from error


def with_adapters(model: Any, *, rank: int, alpha: float | None) -> Any:
    """The model with an adapter on every linear layer of its trunk, and its head trained as a whole.

        W x + (α/r) B A x        A (r, in) drawn at random, B (out, r) from 0

    Hu et al. 2021, arXiv:2106.09685. What is neither trunk nor adapter is the head: it may be fresh, so all of it is
    trained.

    Args:
        rank: r ≥ 1.
        alpha: α; 2r if None.

    Raises:
        ValueError: the model's class does not say what its trunk is, so nobody can tell the head from it.
    """
    from peft import LoraConfig, get_peft_model

    trunk = model.base_model
    if trunk is model:
        raise ValueError(
            f"with_adapters: {type(model).__name__} has no base_model_prefix that names its trunk, so its head cannot "
            "be told from it. Train all weights, without lora_rank."
        )
    prefix = next(name for name, part in model.named_modules() if part is trunk)
    layers = [f"{prefix}.{name}" for name, part in trunk.named_modules() if isinstance(part, nn.Linear | Conv1D)]
    head = [
        name for name, part in model.named_children() if part is not trunk and next(part.parameters(), None) is not None
    ]
    scale: Any = 2 * rank if alpha is None else alpha  # peft declares whole numbers, and takes any
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=layers, modules_to_save=head)
    return get_peft_model(model, config)
