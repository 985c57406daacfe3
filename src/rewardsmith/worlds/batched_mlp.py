"""Many small perceptrons in one batch: S seeds, M models a seed, one product per layer for all of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from rewardsmith._check import check_shape
from rewardsmith.worlds.streams import Streams


def batched_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply one linear map per seed and model.

    Args:
        x: (S, M, B, d) inputs, or (S, 1, B, d) where the models of a seed share them.
        weight: (S, M, d, k).
        bias: (S, M, k).

    Returns:
        (S, M, B, k).
    """
    n_seeds, n_models, width, out = weight.shape
    check_shape("batched_linear", "x", x, n_seeds, None, None, width)
    inputs = x.expand(-1, n_models, -1, -1).flatten(0, 1)
    maps = weight.flatten(0, 1)
    product = torch.bmm(inputs, maps) if bias is None else torch.baddbmm(bias.reshape(-1, 1, out), inputs, maps)
    return product.view(n_seeds, n_models, -1, out)


class BatchedMLP(nn.Module):
    """S·M perceptrons of one shape; with a sum of their losses, each gets the gradient that it would get alone.

        h₀ = x,   h_l = act(h_{l−1} W_l + b_l),   score = h_{L−1} W_L + b_L        W ~ N(0, 1/fan-in), b = 0

    The weights of a seed are drawn from its own stream, so they do not depend on the other seeds. For Adam on all of
    them pass `parameters()`; its update is elementwise, so the models stay independent.

    Args:
        sizes: widths from the inputs to the outputs, such as (16, 64, 64, 1).
        lead: (S, M); S is `len(streams)`.
        activation: act, elementwise.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        lead: tuple[int, int],
        streams: Streams,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        n_seeds, n_models = lead
        if len(sizes) < 2:
            raise ValueError(f"BatchedMLP: sizes are {tuple(sizes)}. Give at least the widths of inputs and outputs.")
        if n_seeds != len(streams):
            raise ValueError(
                f"BatchedMLP: lead is {lead}, but there are {len(streams)} streams. Make its first entry that many."
            )
        drawn = [streams.randn(n_models, d, k) / math.sqrt(d) for d, k in pairwise(sizes)]
        self.weights = nn.ParameterList(drawn)
        self.biases = nn.ParameterList([torch.zeros_like(weight[:, :, 0]) for weight in drawn])
        self.activation = activation

    @property
    def lead(self) -> tuple[int, int]:
        """(S, M)."""
        return self.biases[0].shape[0], self.biases[0].shape[1]

    def hidden(self, x: Tensor) -> Tensor:
        """Return (S, M, B, h) last hidden layers on inputs (S, M, B, d), or (S, 1, B, d) shared by a seed's models."""
        for weight, bias in zip(list(self.weights)[:-1], list(self.biases)[:-1], strict=True):
            x = self.activation(batched_linear(x, weight, bias))
        return x

    def head(self, hidden: Tensor) -> Tensor:
        """Return (S, M, B) or, with several outputs, (S, M, B, k) scores of a last hidden layer."""
        scores = batched_linear(hidden, self.weights[-1], self.biases[-1])
        return scores.squeeze(-1) if scores.shape[-1] == 1 else scores

    def forward(self, x: Tensor) -> Tensor:
        """Return (S, M, B) scores of inputs (S, M, B, d) or (S, 1, B, d); (S, M, B, k) with k > 1 outputs."""
        return self.head(self.hidden(x))

    def take(self, index: Sequence[int]) -> BatchedMLP:
        """Copy the models at these indices, in this order and repeated as given, to train them separately.

        Arms that start from the same weights: `models.take([0, 1, 0, 1])` gives two initializations in two arms.
        """
        chosen, picks = copy.deepcopy(self), torch.as_tensor(list(index), dtype=torch.int64)
        for parameter in chosen.parameters():
            parameter.data = parameter.data[:, picks]
        return chosen
