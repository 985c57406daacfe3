"""Plain functions called with what their parameter names ask for, and checked on what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rewardsmith.types import RewardBatch, named_by

Stage = Callable[..., Tensor]


def context_of(batch: RewardBatch) -> dict[str, Any]:
    """Everything that a function may ask for by name: the batch's fields, `batch` itself, and every column.

    A column of numbers, or of equally many numbers per row, comes as a tensor (NaN for None) beside the rewards; what
    `columns` and `batch` hold stays as the dataset has it.
    """
    device = batch.source_rewards.device
    return {
        **{name: _numbers(values, device) for name, values in batch.columns.items()},
        "source_rewards": batch.source_rewards,
        "source_names": batch.source_names,
        "group_size": batch.group_size,
        "completion_mask": batch.completion_mask,
        "columns": batch.columns,
        "batch": batch,
    }


def _numbers(values: list[Any], device: torch.device) -> Any:
    """(B,) or (B, M) tensor where all values are numbers or lists of M numbers, bool where all are; else as given."""
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    if not flat or not all(item is None or isinstance(item, int | float) for item in flat):
        return values
    if len({len(value) if isinstance(value, list) else -1 for value in values}) > 1:
        return values
    if all(isinstance(item, bool) for item in flat):
        return torch.tensor(values, device=device)
    filled = [[_known(item) for item in v] if isinstance(v, list) else _known(v) for v in values]
    return torch.tensor(filled, dtype=torch.float32, device=device)


def _known(item: float | None) -> float:
    return float("nan") if item is None else float(item)


def call(role: str, function: Stage, rewards: Tensor, context: Mapping[str, Any]) -> Tensor:
    """`function(rewards, ...)`, with the context keywords that it names, or all of them if it takes `**keywords`.

    A function whose first parameter is `source_rewards` gets the (B, K) sources in place of the (B,) rewards; what
    `functools.partial` bound stays bound.

    Raises:
        TypeError: it needs something that the batch does not have, or does not return a tensor.
    """
    first, given, lacking = named_by(function, context)
    if lacking:
        raise TypeError(
            f"{role}: {function!r} needs {', '.join(lacking)}, and the batch offers {', '.join(sorted(context))}. "
            "Name a parameter after one of those, add a column to the dataset, or bind it with functools.partial."
        )
    result = function(context["source_rewards"] if first == "source_rewards" else rewards, **given)
    if not isinstance(result, Tensor):
        raise TypeError(f"{role}: {function!r} returned {type(result).__name__}. Return a tensor, one entry per row.")
    return result


def check_rows(role: str, function: Stage, result: Tensor, shapes: list[tuple[int, ...]], *, advice: str) -> Tensor:
    """Raise ValueError unless `result` has one of the shapes; returns it in float32, as TRL's rewards are."""
    if tuple(result.shape) not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{role}: {function!r} returned shape {tuple(result.shape)}, wanted {wanted}. {advice}")
    return result.to(torch.float32)


def filter_weights(function: Stage, weights: Tensor) -> Tensor:
    """Weights (B,) scaled to mean 1 over the kept rows: w_i · n_kept / Σ w, where kept means w > 0; all 0 stays 0.

    >>> filter_weights(lambda rewards: rewards, torch.tensor([0.0, 1.0, 3.0]))
    tensor([0.0000, 0.5000, 1.5000])
    """
    if not bool(weights.isfinite().all()) or bool((weights < 0).any()):
        raise ValueError(
            f"sample_filter: {function!r} returned weights that are negative or not finite. "
            "Return 0 for a row to drop and a positive weight for one to keep."
        )
    kept = (weights > 0).sum()
    return weights * (kept / weights.sum()) if bool(kept) else weights
