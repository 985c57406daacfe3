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
    found: dict[str, Any] = {}
    for name, values in columns.items():
        flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
        widths = {len(value) if isinstance(value, list) else -1 for value in values}
        if not flat or len(widths) > 1 or not all(item is None or isinstance(item, int | float) for item in flat):
            found[name] = values
            continue
        from rewardsmith._torch import torch

        if all(isinstance(item, bool) for item in flat):
            found[name] = torch.tensor(values, device=device)
        else:
            filled = [[_known(item) for item in v] if isinstance(v, list) else _known(v) for v in values]
            found[name] = torch.tensor(filled, dtype=torch.float32, device=device)
    return found


def _known(item: float | None) -> float:
    return float("nan") if item is None else float(item)
