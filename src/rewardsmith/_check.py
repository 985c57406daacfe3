"""Argument checks of one line, so that the body of a function reads like its equation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def check_same_shape(caller: str, *tensors: Tensor | NDArray[Any]) -> None:
    """Raise ValueError unless all tensors or arrays have one shape."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(set(shapes)) > 1:
        raise ValueError(f"{caller}: arguments must share one shape, got {shapes}. Align them before the call.")


def check_shape(caller: str, name: str, tensor: Tensor | NDArray[Any], *sizes: int | None) -> None:
    """Raise ValueError unless `tensor` has the given sizes; None accepts any."""
    shape = tuple(tensor.shape)
    fits = len(shape) == len(sizes) and all(want is None or want == got for want, got in zip(sizes, shape, strict=True))
    if not fits:
        wanted = "(" + ", ".join("any" if size is None else str(size) for size in sizes) + ")"
        raise ValueError(f"{caller}: {name} must have shape {wanted}, got {shape}. Reshape it before the call.")


def check_groups(caller: str, n_rows: int, group_size: int) -> None:
    """Raise ValueError unless `n_rows` is a whole number of groups of `group_size` ≥ 1."""
    if group_size < 1 or n_rows % group_size:
        raise ValueError(
            f"{caller}: {n_rows} rows are not a whole number of groups of {group_size}. "
            "Pass the trainer's num_generations and whole groups, a prompt's completions consecutive."
        )


def check_choice(caller: str, name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{caller}: {name} is {value!r}, which is not one of {listed}. Choose one of those.")


def check_range(caller: str, name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError unless low ≤ value ≤ high (and value is not NaN)."""
    if math.isnan(value) or not low <= value <= high:
        raise ValueError(f"{caller}: {name} is {value}, outside [{low}, {high}]. Pass a value in that range.")
