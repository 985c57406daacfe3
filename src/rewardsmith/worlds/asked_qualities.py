"""Answers with several qualities, of which a query or a context asks for one, and the inputs of a model of them."""

from __future__ import annotations

import torch
from torch import Tensor

from rewardsmith.worlds.streams import Streams


def random_rotation(n: int, streams: Streams) -> Tensor:
    """Return (S, n, n) orthogonal maps, which mix the qualities in every coordinate."""
    rotation: Tensor = torch.linalg.qr(streams.randn(n, n)).Q
    return rotation


def asked_for(values: Tensor, asked: Tensor) -> Tensor:
    """Return (S, n, k) gold: the asked quality (S, n), in 0…J−1, of k answers (S, n, k, J)."""
    return values.gather(-1, asked[..., None, None].expand(*values.shape[:-1], 1)).squeeze(-1)


def better_first(values: Tensor, asked: Tensor) -> Tensor:
    """Return the answers (S, n, k, J) in falling order of the asked quality (S, n)."""
    order = asked_for(values, asked).argsort(dim=-1, descending=True)
    return values.gather(2, order[..., None].expand_as(values))


def joined(features: Tensor, asked: Tensor, n: int) -> Tensor:
    """Join the asked quality and the features of an answer to the inputs of a model.

        [one-hot q, e, q ⊗ e]

    Args:
        features: (..., D) e.
        asked: (...) int64 q in 0…n−1.
        n: number of qualities to ask for; the last may stand for none.

    Returns:
        (..., n + D + n·D).
    """
    one_hot = torch.nn.functional.one_hot(asked, n).to(features)
    return torch.cat([one_hot, features, (one_hot[..., None] * features[..., None, :]).flatten(-2)], dim=-1)
