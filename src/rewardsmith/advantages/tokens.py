"""From one advantage per completion, or one value per step, to one per token."""

from __future__ import annotations

import torch
from torch import Tensor

from rewardsmith._check import check_same_shape, check_shape


def broadcast_to_tokens(advantages: Tensor, completion_mask: Tensor) -> Tensor:
    """Give every token of a completion its completion's advantage, and padding 0.

    Args:
        advantages: (B,).
        completion_mask: (B, T) nonzero where a completion token counts.

    Returns:
        (B, T) advantages in the dtype of `advantages`.

    >>> broadcast_to_tokens(torch.tensor([2.0]), torch.tensor([[True, False]]))
    tensor([[2., 0.]])
    """
    check_shape("broadcast_to_tokens", "advantages", advantages, None)
    check_shape("broadcast_to_tokens", "completion_mask", completion_mask, advantages.shape[0], None)
    return torch.where(completion_mask.bool(), advantages[:, None], 0)


def scatter_steps(step_values: Tensor, step_ends: Tensor, step_mask: Tensor, *, n_tokens: int) -> Tensor:
    """Put each step's value on its last token, and 0 everywhere else.

    Args:
        step_values: (B, N); what is not finite is unscored and counts as 0.
        step_ends: (B, N) int64 token index of each step's last token; any index within T where there is no step.
        step_mask: (B, N) True where there is a complete step.
        n_tokens: T.

    Returns:
        (B, T) values in the dtype of `step_values`.

    >>> scatter_steps(torch.tensor([[2.0, 3.0]]), torch.tensor([[1, 3]]), torch.tensor([[True, True]]), n_tokens=5)
    tensor([[0., 2., 0., 3., 0.]])
    """
    mask = _check_steps("scatter_steps", step_values, step_ends, step_mask)
    _check_ends("scatter_steps", step_ends, n_tokens)
    values = step_values.nan_to_num(0, 0, 0).mul_(mask.view(torch.int8).to(step_values.dtype))
    return values.new_zeros(values.shape[0], n_tokens).scatter_add(1, step_ends, values)


def spread_steps(step_values: Tensor, step_ends: Tensor, step_mask: Tensor, completion_mask: Tensor) -> Tensor:
    """Give every token of a step its step's value; tokens after the last step, and padding, get 0.

    A step's tokens are those after the previous step's last one, through its own.

    Args:
        step_values: (B, N); what is not finite is unscored and counts as 0.
        step_ends: (B, N) token index of each step's last token, rising along a row.
        step_mask: (B, N) True where there is a complete step.
        completion_mask: (B, T) nonzero where a completion token counts.

    Returns:
        (B, T) values in the dtype of `step_values`.

    >>> spread_steps(
    ...     torch.tensor([[2.0, 3.0]]), torch.tensor([[1, 3]]), torch.tensor([[True, True]]), torch.ones(1, 5)
    ... )
    tensor([[2., 2., 3., 3., 0.]])
    """
    mask = _check_steps("spread_steps", step_values, step_ends, step_mask)
    values = step_values.nan_to_num(0, 0, 0)
    tokens = StepTokens("spread_steps", step_ends, mask, completion_mask)
    return tokens.spread(values, values.new_zeros(values.shape[0]))


def step_lengths(step_ends: Tensor, step_mask: Tensor, completion_mask: Tensor) -> Tensor:
    """How many counted tokens each step has: those after the previous step's last one, through its own.

    Args:
        step_ends: (B, N) int64 token index of each step's last token, rising along a row.
        step_mask: (B, N) True where there is a complete step.
        completion_mask: (B, T) nonzero where a completion token counts.

    Returns:
        (B, N) int64 counts; 0 where there is no step.

    >>> step_lengths(torch.tensor([[1, 3]]), torch.tensor([[True, True]]), torch.tensor([[1, 1, 0, 1, 1]]))
    tensor([[2, 1]])
    """
    return StepTokens("step_lengths", step_ends, step_mask.bool(), completion_mask).lengths()


class StepTokens:
    """Which tokens belong to which step: those after the previous step's last one, through its own.

    past: (B, N) how many tokens lie up to the end of each step, in an order that puts a row's steps first; T behind.
    order: (B, N) that order of the columns; None if they are as given.
    """

    def __init__(self, caller: str, step_ends: Tensor, mask: Tensor, completion_mask: Tensor) -> None:
        check_shape(caller, "step_ends", step_ends, None, None)
        check_same_shape(caller, step_ends, mask)
        check_shape(caller, "completion_mask", completion_mask, step_ends.shape[0], None)
        self.order: Tensor | None = None
        self.mask, self.counted = mask, completion_mask.bool().view(torch.int8)
        self.n_tokens = completion_mask.shape[1]
        if holds_gaps(mask):
            self.order = (~mask).view(torch.int8).argsort(dim=1, stable=True)
            step_ends, mask = step_ends.gather(1, self.order), mask.gather(1, self.order)
        small = step_ends.to(torch.int32)  # half the memory to go through
        past = small.sub(self.n_tokens - 1).mul_(mask.view(torch.int8).to(torch.int32)).add_(self.n_tokens)
        if past.numel():
            _check_ends(caller, torch.stack([past[:, 0], past[:, -1]]) - 1, self.n_tokens)
        if past.shape[1] > 1 and past.shape[0] and int((past[:, 1:] - past[:, :-1]).amin()) < 0:
            _check_ends(caller, small * mask, self.n_tokens)
            raise ValueError(
                f"{caller}: a step ends before the one in front of it. Sort each row's steps by their ends."
            )
        self.past = past.long()

    def spread(self, values: Tensor, rest: Tensor) -> Tensor:
        """(B, T) each token's step's value, finite (B, N), and `rest` (B,) after the last step; 0 where not counted."""
        mask = self.mask
        if self.order is not None:
            values, mask = values.gather(1, self.order), mask.gather(1, self.order)
        there = mask.view(torch.int8).to(values.dtype)
        padded = torch.cat([values * there + rest[:, None] * (1 - there), rest[:, None]], dim=1)
        begun = torch.zeros(len(rest), self.n_tokens + 1, dtype=torch.int8, device=rest.device)
        begun.scatter_add_(1, self.past, torch.ones_like(self.past, dtype=torch.int8))
        step = begun[:, :-1].cumsum(dim=1)  # (B, T) how many steps end before each token
        return padded.gather(1, step).mul_(self.counted.to(values.dtype))

    def lengths(self) -> Tensor:
        """(B, N) int64 counted tokens of each step; 0 where there is none."""
        if not self.n_tokens:
            return self.past
        counted = self.counted.cumsum(dim=1, dtype=torch.int32)  # (B, T)
        lengths = counted.gather(1, self.past - 1).long()
        lengths[:, 1:] -= lengths[:, :-1].clone()
        if self.order is not None:
            lengths = torch.empty_like(lengths).scatter_(1, self.order, lengths)
        return lengths.mul_(self.mask.view(torch.int8))


def holds_gaps(mask: Tensor) -> bool:
    """Whether any row of (B, N) has a True behind a False."""
    steps = mask.view(torch.int8)
    return mask.shape[1] > 1 and mask.shape[0] > 0 and int((steps[:, 1:] - steps[:, :-1]).amax()) > 0


def _check_steps(caller: str, step_values: Tensor, step_ends: Tensor, step_mask: Tensor) -> Tensor:
    check_shape(caller, "step_values", step_values, None, None)
    check_same_shape(caller, step_values, step_ends, step_mask)
    return step_mask.bool()


def _check_ends(caller: str, ends: Tensor, n_tokens: int) -> None:
    if not ends.numel():
        return
    first, last = ends.aminmax()
    if int(first) < 0 or int(last) >= n_tokens:
        raise ValueError(
            f"{caller}: step_ends reach from {int(first)} to {int(last)}, outside the {n_tokens} tokens. "
            "Pass token indices within the completion, counted from 0 without the prompt."
        )
