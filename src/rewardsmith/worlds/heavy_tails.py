"""Responses with heavy tails, whose gold saturates where a reward model's score keeps rising.

Best-of-n selects where responses are rare and no pair was labeled. There gold is flat or falls, and perceptrons with
ReLU extrapolate linearly, each differently; ensembles are meant to correct this. Seeds S are one dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.transforms import zscore_members
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs
from rewardsmith.worlds.streams import Streams

_REFERENCE = 8192  # draws that standardize gold
_AT_ONCE = 2**17  # numbers of one hidden layer in memory while a pool is scored


@dataclass(frozen=True, slots=True, eq=False)
class HeavyTails:
    """Responses are vectors x of Student's t, the reference policy, and gold is bounded above.

        gold(x) = [ tanh(w₁·x) + ½ tanh(w₂·x) − penalty ‖Uᵀx‖² − mean ] / std        x = C t,  t ~ t_ν(0, I)

    good: (S, d, 2) w₁ and w₂, with entries of variance `scale`²/d.
    bad: (S, d, 3) U, likewise.
    mixing: (S, d, d) C, which correlates the features, or None.
    mean, std: (S,) that make gold standard on the reference policy.
    dof: ν.
    length: True where features start with one more coordinate, which gold does not depend on.
    """

    good: Tensor
    bad: Tensor
    mixing: Tensor | None
    mean: Tensor
    std: Tensor
    dof: int
    penalty: float
    length: bool

    @classmethod
    def sample(
        cls,
        streams: Streams,
        *,
        d: int = 10,
        dof: int = 10,
        penalty: float = 0.1,
        scale: float = 1.0,
        correlated: bool = False,
        length: bool = False,
    ) -> HeavyTails:
        """Draw a world per seed, with its own directions."""
        check_range("HeavyTails.sample", "dof", dof, 1, math.inf)
        good, bad = (scale / math.sqrt(d) * streams.randn(d, n) for n in (2, 3))
        mixing = streams.randn(d, d) / math.sqrt(d) if correlated else None
        zero = good.new_zeros(len(streams))
        raw = cls(good, bad, mixing, zero, zero + 1, dof, penalty, length)
        gold = raw.gold(raw.responses(_REFERENCE, streams=streams))
        return cls(good, bad, mixing, gold.mean(dim=-1), gold.std(dim=-1), dof, penalty, length)

    @property
    def n_features(self) -> int:
        """Number of features of a response."""
        return self.good.shape[1] + self.length

    def responses(self, *shape: int, streams: Streams) -> Tensor:
        """Draw (S, *shape, d) responses of the reference policy; the length, if any, comes first."""
        normal = streams.randn(*shape, self.n_features)
        chi_square = streams.randn(*shape, self.dof).square().sum(dim=-1, keepdim=True)
        x = normal / (chi_square / self.dof).sqrt()
        if self.mixing is None:
            return x
        content = (x[..., self.length :].flatten(1, -2) @ self.mixing).view(*x.shape[:-1], -1)
        return torch.cat([x[..., : int(self.length)], content], dim=-1)

    def gold(self, features: Tensor) -> Tensor:
        """Return the (S, ...) true value of responses (S, ..., d)."""
        x = features[..., self.length :].flatten(1, -2)
        value = torch.tanh(x @ self.good) @ x.new_tensor([1.0, 0.5]) - self.penalty * (x @ self.bad).square().sum(-1)
        return ((value - self.mean[:, None]) / self.std[:, None]).view(features.shape[:-1])

    def pairs(self, n: int, *, streams: Streams, flip: float = 0.25, bias: float = 0.0) -> Pairs:
        """Draw n pairs per seed, labeled by the larger gold + bias·length, with a share `flip` of errors."""
        check_range("HeavyTails.pairs", "flip", flip, 0.0, 1.0)
        if bias and not self.length:
            raise ValueError(
                f"HeavyTails.pairs: bias is {bias}, but responses have no length. Sample with length=True."
            )
        x = self.responses(n, 2, streams=streams)
        gold = self.gold(x)
        seen = gold + bias * x[..., 0] if bias else gold
        flipped = streams.rand(n) < flip
        return Pairs.labeled(x, gold, (seen[..., 0] > seen[..., 1]) ^ flipped, flipped)


@torch.no_grad()
def score_pool(models: BatchedMLP, features: Tensor) -> Tensor:
    """Return (S, M, P, N) scores of responses (S, P, N, d); (S, M, P, N, k) where the models have k > 1 outputs.

    It scores a few responses at a time: hidden layers that leave the cache cost two to three times as much.
    """
    width = max(bias.shape[-1] for bias in models.biases)
    rows = max(1, _AT_ONCE // (features.shape[0] * models.lead[1] * width))
    parts = [models(part[:, None]) for part in torch.split(features.flatten(1, 2), rows, dim=1)]
    return torch.cat(parts, dim=2).unflatten(2, features.shape[1:3])  # type: ignore[no-any-return,no-untyped-call]


def member_scores(models: BatchedMLP, features: Tensor, reference: Tensor) -> Tensor:
    """Return (S, P, N, K) the members' scores of responses (S, P, N, d), each scaled by `zscore_members`.

    Args:
        models: the members, M = K.
        reference: (S, R, d) responses of the reference policy, which set the scales and are not in the pool.
    """
    pools = [score_pool(models, x) for x in (features, reference[:, None])]  # (S, M, P, N)
    scores, measured = (pool.flatten(2).permute(2, 0, 1).flatten(1) for pool in pools)  # (P·N, S·M)
    standardized = zscore_members(scores, measured).view(*features.shape[1:3], *models.lead)
    return standardized.permute(2, 0, 1, 3)
