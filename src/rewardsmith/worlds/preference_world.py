"""Noisy preferences over responses whose gold is a smooth function of their features, and reward models fit to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.objectives import bt_loss, centering_loss, weighted_loss
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import Streams
from rewardsmith.worlds.training import adam_steps

_REFERENCE = 8192  # draws that standardize gold


class Pairs(NamedTuple):
    """n pairs per seed, with the preferred response of the label first.

    chosen, rejected: (S, n, d) features.
    chosen_gold, rejected_gold: (S, n).
    flipped: (S, n) True where the annotator's choice was reversed at random.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_gold: Tensor
    rejected_gold: Tensor
    flipped: Tensor

    @classmethod
    def labeled(cls, features: Tensor, gold: Tensor, first: Tensor, flipped: Tensor) -> Pairs:
        """Put pairs (S, n, 2, d) of gold (S, n, 2) in the order of their labels: (S, n) True prefers the first."""
        order = torch.where(first[..., None], torch.tensor([0, 1]), torch.tensor([1, 0]))
        features, gold = features.gather(2, order[..., None].expand_as(features)), gold.gather(2, order)
        return cls(features[:, :, 0], features[:, :, 1], gold[..., 0], gold[..., 1], flipped)

    @property
    def right(self) -> Tensor:
        """Labels that agree with gold, (S, n); a wrong label is a flipped or an unlikely choice."""
        return self.chosen_gold > self.rejected_gold


@dataclass(frozen=True, slots=True, eq=False)
class PreferenceWorld:
    """Responses are features x in R^d, and gold is a sum of soft steps with one linear part.

        gold(x) = [ Σ_i tanh(W x)_i + 0.3 (W x)_0 ] / std        x ~ N(0, I),  W ~ N(0, 1/d)

    Odd in x, hence of mean 0; `std` makes its standard deviation 1.

    directions: (S, h, d) W.
    std: (S,) that of the bracket over responses.
    """

    directions: Tensor
    std: Tensor

    @classmethod
    def sample(cls, streams: Streams, *, d: int = 16, n_units: int = 16) -> PreferenceWorld:
        """Draw a world per seed, with its own W."""
        directions = streams.randn(n_units, d) * (1 / math.sqrt(d))
        return cls(directions, _raw_gold(streams.randn(_REFERENCE, d), directions).std(dim=-1))

    @property
    def d(self) -> int:
        """Number of features of a response."""
        return self.directions.shape[-1]

    def gold(self, features: Tensor) -> Tensor:
        """Return the (S, ...) true value of responses (S, ..., d)."""
        flat = features.flatten(1, -2)
        return (_raw_gold(flat, self.directions) / self.std[:, None]).view(features.shape[:-1])

    def pairs(self, n: int, *, streams: Streams, slope: float = 3.0, flip: float = 0.0) -> Pairs:
        """Draw n labeled pairs per seed.

            P(a ≻ b) = (1 − flip) σ(slope·Δgold) + flip σ(−slope·Δgold)

        Args:
            slope: log-odds per standard deviation of gold; `math.inf` for the clean pairs that models are tested on.
            flip: probability that a choice is reversed, whatever the pair.
        """
        check_range("PreferenceWorld.pairs", "slope", slope, 0.0, math.inf)
        check_range("PreferenceWorld.pairs", "flip", flip, 0.0, 1.0)
        x = streams.randn(n, 2, self.d)
        gold = self.gold(x)
        difference = gold[..., 0] - gold[..., 1]
        choice, flipped = streams.rand(n), streams.rand(n) < flip
        first = (difference > 0 if math.isinf(slope) else choice < torch.sigmoid(slope * difference)) ^ flipped
        return Pairs.labeled(x, gold, first, flipped)


def _raw_gold(features: Tensor, directions: Tensor) -> Tensor:
    """Map (S, n, d) features and (S, h, d) directions to (S, n)."""
    along = torch.bmm(features, directions.transpose(-1, -2))
    return along.tanh().sum(dim=-1) + 0.3 * along[..., 0]


@torch.no_grad()
def margins(models: BatchedMLP, pairs: Pairs) -> Tensor:
    """Return (S, M, n) score of the chosen minus that of the rejected response."""
    chosen, rejected = (models(x[:, None]) for x in (pairs.chosen, pairs.rejected))
    difference: Tensor = chosen - rejected
    return difference


def pair_accuracy(models: BatchedMLP, pairs: Pairs) -> Tensor:
    """Return (S, M) share of the pairs in which a model prefers the response that gold prefers."""
    agrees = (margins(models, pairs) > 0) == pairs.right[:, None]
    return agrees.to(pairs.chosen.dtype).mean(dim=-1)


def train_pairs(
    models: BatchedMLP,
    pairs: Pairs,
    *,
    streams: Streams,
    steps: int = 250,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.0,
    order: Sequence[int] | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    margin: Tensor | None = None,
    soft_label: Tensor | None = None,
    center: float = 0.0,
) -> BatchedMLP:
    """Train on `bt_loss` by AdamW, in place; no model sees another's gradient.

    Args:
        order: (M) the order of the data that each model follows: models with the same number see the same draws. All
            follow one order if None; `range(M)` gives different voters.
        mask: (S, M, n) or (S, 1, n), True on the pairs that a model may see; batches are drawn from those alone.
        weight, margin, soft_label: (S, M, n) or (S, 1, n), as in `weighted_loss` and `bt_loss`.

    Returns:
        The models themselves.
    """
    (n_seeds, n_models), n = models.lead, pairs.right.shape[-1]
    follows = torch.as_tensor([0] * n_models if order is None else list(order))
    columns = [None if column is None else column.expand(*models.lead, n) for column in (weight, margin, soft_label)]
    allowed = (torch.ones_like(pairs.right)[:, None] if mask is None else mask).expand(n_seeds, n_models, n)
    number = allowed.sum(dim=-1, keepdim=True)
    if not bool((number > 0).all()):
        raise ValueError("train_pairs: mask leaves a model without a pair to train on. Leave at least one each.")
    first = allowed.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)  # allowed pairs come first
    both = torch.stack([pairs.chosen, pairs.rejected], dim=2)  # (S, n, 2, d)
    seed = torch.arange(n_seeds)[:, None, None]
    for _ in adam_steps(models.parameters(), steps, learning_rate=learning_rate, weight_decay=weight_decay):
        uniform = streams.rand(int(follows.max()) + 1, batch_size)[:, follows]  # (S, M, batch)
        picks = first.gather(-1, (uniform * number).long().minimum(number - 1))  # float32 may round u·n up to n
        scores = models(both[seed, picks].flatten(2, 3)).unflatten(-1, (batch_size, 2))
        said = [None if column is None else column.gather(-1, picks) for column in columns]
        losses = bt_loss(scores[..., 0], scores[..., 1], margin=said[1], soft_label=said[2])
        losses = losses if said[0] is None else weighted_loss(losses, said[0])
        losses = losses + centering_loss(scores[..., 0], scores[..., 1], coef=center)
        torch.autograd.backward(losses.mean(dim=-1).sum())
    return models
