"""Columns of numbers as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def number_columns(columns: Mapping[str, list[Any]], *, device: torch.device | None = None) -> dict[str, Any]:
    """Every column of numbers, or of equally many numbers per row, as a tensor; the others as they are.

    (B,) or (B, M) float32 with NaN for None, bool where all values are.

    >>> number_columns({"gold": [1.0, None], "answer": ["4", "5"]})
    {'gold': tensor([1., nan]), 'answer': ['4', '5']}
    """
    return {name: _numbers(values, device) for name, values in columns.items()}


def _numbers(values: list[Any], device: torch.device | None) -> Any:
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    if not flat or not all(item is None or isinstance(item, int | float) for item in flat):
        return values
    if len({len(value) if isinstance(value, list) else -1 for value in values}) > 1:
        return values
    from rewardsmith._torch import torch

    if all(isinstance(item, bool) for item in flat):
        return torch.tensor(values, device=device)
    filled = [[_known(item) for item in v] if isinstance(v, list) else _known(v) for v in values]
    return torch.tensor(filled, dtype=torch.float32, device=device)


def _known(item: float | None) -> float:
    return float("nan") if item is None else float(item)
