"""Responses of several qualities, of which the context of a question says the one that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.worlds.streams import Streams, sample_index


class TastePairs(NamedTuple):
    """Pairs of responses, each judged under a context.

    features: (S, n, 2, J) how the responses look, the preferred first. context: (S, n) int64 under which. values:
    (S, n, 2, J) their qualities, in the same order.
    """

    features: Tensor
    context: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ContextualTastes:
    """A response has J qualities, N(0, 1) each, seen through a rotation; under context z its gold is quality z.

    rotation: (S, J, J) orthogonal. context_rate: (J,) p(z), how often each context is meant.
    """

    rotation: Tensor
    context_rate: Tensor

    @classmethod
    def sample(cls, streams: Streams, *, context_rate: Sequence[float]) -> ContextualTastes:
        """A world per seed: its own rotation; as many qualities as contexts."""
        rate = torch.tensor(list(context_rate), dtype=streams.dtype)
        rotation, _ = torch.linalg.qr(streams.randn(len(rate), len(rate)))
        return cls(rotation, rate / rate.sum())

    @property
    def n_contexts(self) -> int:
        """J."""
        return len(self.context_rate)

    def features(self, values: Tensor) -> Tensor:
        """(S, ..., J) how responses of these qualities look."""
        flat = values.flatten(1, -2) @ self.rotation.transpose(-1, -2)
        return flat.view_as(values)

    def pairs(self, n: int, *, streams: Streams, rate: Tensor | None = None) -> TastePairs:
        """n pairs, each labeled under a context that is drawn from `rate`, (J,) or (S, 1, J), p(z) if None."""
        values = streams.randn(n, 2, self.n_contexts)
        p = self.context_rate if rate is None else rate
        context = sample_index(p.expand(len(streams), n, -1), streams.rand(n))
        return self._judged(values, context)

    def reversals(self, n: int, *, streams: Streams) -> TastePairs:
        """2n rows: n pairs of responses, each under two contexts that prefer opposite ones; consecutive rows are one's.

        Contexts are drawn alike among those on each side. Where one response is better throughout, the two exchange a
        quality, so that there are two sides.
        """
        values = self._ambiguous(n, streams)
        better = (values[:, :, 0] > values[:, :, 1]).to(streams.dtype)  # (S, n, J)
        draws = streams.rand(n, 2)
        sides = [
            sample_index(side / side.sum(dim=-1, keepdim=True), draws[..., k])
            for k, side in enumerate((better, 1 - better))
        ]
        context = torch.stack(sides, dim=-1).flatten(1)  # (S, 2n)
        return self._judged(values.repeat_interleave(2, dim=1), context)

    def _ambiguous(self, n: int, streams: Streams) -> Tensor:
        """(S, n, 2, J) qualities of pairs; where one response is better throughout, they exchange one quality."""
        values, which = streams.randn(n, 2, self.n_contexts), streams.randint(self.n_contexts, n)
        wins = (values[:, :, 0] > values[:, :, 1]).sum(dim=-1)
        unsplit = (wins == 0) | (wins == self.n_contexts)
        swap = unsplit[..., None] & (which[..., None] == torch.arange(self.n_contexts))  # (S, n, J)
        return torch.where(swap[:, :, None], values.flip(2), values)

    def _judged(self, values: Tensor, context: Tensor) -> TastePairs:
        at = context[..., None, None].expand(-1, -1, 2, 1)
        gold = values.gather(-1, at).squeeze(-1)  # (S, n, 2)
        order = gold.argsort(dim=-1, descending=True)
        values = values.gather(2, order[..., None].expand_as(values))
        return TastePairs(self.features(values), context, values)


def told(features: Tensor, context: Tensor, n_contexts: int) -> Tensor:
    """What a contextual reward model reads: the context, the response, and the one times the other.

    Args:
        features: (..., J) looks.
        context: (...) int64 in 0…n_contexts, the last of which stands for none given.

    Returns:
        (..., (J + 1)(n_contexts + 1) + J) with "none" among the contexts.
    """
    one_hot = torch.nn.functional.one_hot(context, n_contexts + 1).to(features)
    return torch.cat([one_hot, features, (one_hot[..., None] * features[..., None, :]).flatten(-2)], dim=-1)
