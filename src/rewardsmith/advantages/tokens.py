"""From one advantage per completion to one per token."""

from __future__ import annotations

import torch
from torch import Tensor

from rewardsmith._check import check_shape


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
    return torch.where(completion_mask != 0, advantages[:, None], 0)


__all__ = ["broadcast_to_tokens"]
