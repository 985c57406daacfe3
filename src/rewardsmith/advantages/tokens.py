"""Values per token from values per step."""

from __future__ import annotations

import torch
from torch import Tensor

from rewardsmith._check import check_same_shape, check_shape


def scatter_steps(step_values: Tensor, step_ends: Tensor, step_mask: Tensor, *, n_tokens: int) -> Tensor:
    """Put each step's value on its last token, and 0 everywhere else.

    Args:
        step_values: (B, N); values that are not finite are unscored and count as 0.
        step_ends: (B, N) int64 token index of each step's last token; any index within T where there is no step.
        step_mask: (B, N) True where there is a complete step.
        n_tokens: T.

    Returns:
        (B, T) values in the dtype of `step_values`.

    >>> scatter_steps(torch.tensor([[2.0, 3.0]]), torch.tensor([[1, 3]]), torch.tensor([[True, True]]), n_tokens=5)
    tensor([[0., 2., 0., 3., 0.]])
    """
    check_shape("scatter_steps", "step_values", step_values, None, None)
    check_same_shape("scatter_steps", step_values, step_ends, step_mask)
    _check_ends("scatter_steps", step_ends, n_tokens)
    values = torch.where(step_mask.bool() & step_values.isfinite(), step_values, 0)
    return values.new_zeros(values.shape[0], n_tokens).scatter_add(1, step_ends, values)


def step_lengths(step_ends: Tensor, step_mask: Tensor, completion_mask: Tensor) -> Tensor:
    """Count the tokens of each step, from the one after the previous step's last token through its own last one.

    Args:
        step_ends: (B, N) int64 token index of each step's last token, rising along a row.
        step_mask: (B, N) True where there is a complete step.
        completion_mask: (B, T) nonzero where a completion token counts.

    Returns:
        (B, N) int64 counts; 0 where there is no step.

    >>> step_lengths(torch.tensor([[1, 3]]), torch.tensor([[True, True]]), torch.tensor([[1, 1, 0, 1, 1]]))
    tensor([[2, 1]])
    """
    step = step_of_token("step_lengths", step_ends, step_mask, completion_mask)
    n_rows, n_steps = step_ends.shape
    counts = torch.zeros(n_rows, n_steps + 1, dtype=torch.long, device=step.device)
    return counts.scatter_add(1, step, completion_mask.bool().long())[:, :n_steps]


def step_of_token(caller: str, step_ends: Tensor, step_mask: Tensor, completion_mask: Tensor) -> Tensor:
    """Return (B, T) the column of each token's step, the first that ends there or later; N after the last step."""
    check_shape(caller, "step_ends", step_ends, None, None)
    check_same_shape(caller, step_ends, step_mask)
    check_shape(caller, "completion_mask", completion_mask, step_ends.shape[0], None)
    mask, n_tokens = step_mask.bool(), completion_mask.shape[1]
    _check_ends(caller, step_ends[mask], n_tokens)
    if not step_ends.numel():
        return torch.zeros_like(completion_mask, dtype=torch.long)
    reached = torch.where(mask, step_ends, -1).cummax(dim=1).values  # a masked step takes the end of the one before
    if bool((mask & (step_ends < reached)).any()):
        raise ValueError(f"{caller}: a step ends before the previous one. Sort each row's steps by their ends.")
    tokens = torch.arange(n_tokens, device=step_ends.device)
    return torch.searchsorted(reached, tokens.repeat(len(reached), 1))


def spread(values: Tensor, rest: Tensor, step: Tensor, completion_mask: Tensor) -> Tensor:
    """Return (B, T) the value (B, N) of each token's step, `rest` (B,) after the last step, and 0 where not counted."""
    return torch.where(completion_mask.bool(), torch.cat([values, rest[:, None]], dim=1).gather(1, step), 0)


def _check_ends(caller: str, ends: Tensor, n_tokens: int) -> None:
    if not ends.numel():
        return
    first, last = ends.aminmax()
    if int(first) < 0 or int(last) >= n_tokens:
        raise ValueError(
            f"{caller}: step_ends reach from {int(first)} to {int(last)}, outside the {n_tokens} tokens. "
            "Pass token indices within the completion, counted from 0 without the prompt."
        )
