"""Peer review of two reward models in training: each selects the pairs that the other learns from."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from rewardsmith._check import check_range, check_same_shape


class PeerMasks(NamedTuple):
    """Masks (..., b), True on the pairs to train each model on.

    a: for model A, chosen by B. b: for model B, chosen by A.
    """

    a: Tensor
    b: Tensor


def peer_review_masks(
    margins_a: Tensor,
    margins_b: Tensor,
    *,
    keep: float,
    all_margins_a: Tensor | None = None,
    all_margins_b: Tensor | None = None,
) -> PeerMasks:
    """Select the pairs for each model by its peer's margins, so that neither model confirms its own mistakes.

        B learns from S_A = { i : d_A,i among the ⌈ρ n⌉ largest },  A from S_B         d = r⁺ − r⁻

    Zhang et al. 2025, arXiv:2505.10597. Pass the masks, divided by ρ, to `weighted_loss`, or use them as a row filter.
    Divided by each batch's own mean, a hard batch's few pairs would count for a whole batch.

    The largest margins are taken within the batch or, if all margins are given, within the whole data set. A share per
    batch drops right labels of easy batches, keeps wrong ones of hard batches, and is rounded up in small batches.
    Shares of the whole data set avoid this, also for data ordered from easy to hard.

    The models must start from different parameters, or each is its own peer. Large margins mean easy pairs, so report
    the selected share by difficulty.

    Args:
        margins_a, margins_b: (..., b) each model's margins on the batch, detached here; NaN is never kept.
        keep: ρ ∈ [0, 1], from `keep_schedule`.
        all_margins_a, all_margins_b: (..., n) each model's margins on all pairs, such as at the start of the epoch.

    >>> import torch
    >>> peer_review_masks(torch.tensor([1.0, -1.0]), torch.tensor([-2.0, 2.0]), keep=0.5)
    PeerMasks(a=tensor([False,  True]), b=tensor([ True, False]))
    """
    check_same_shape("peer_review_masks", margins_a, margins_b)
    check_range("peer_review_masks", "keep", keep, 0.0, 1.0)
    if (all_margins_a is None) != (all_margins_b is None):
        raise ValueError("peer_review_masks: all margins are given for one model only. Give both or neither.")
    return PeerMasks(a=_kept(margins_b, all_margins_b, keep), b=_kept(margins_a, all_margins_a, keep))


def keep_schedule(epoch: int, *, noise: float, warmup: int = 6) -> float:
    """Return the share of pairs to keep, from 1 at first down to the share of labels thought right.

        ρ_e = 1 − ε · min(1, e / T)

    Han et al. 2018, arXiv:1804.06872 (co-teaching), which stands in for the unpublished schedule of Zhang et al. 2025,
    arXiv:2505.10597. ρ must not fall before the models have learnt the task, nor after they have memorized the noise.
    An ε too large costs less than one too small.

    Args:
        epoch: e ≥ 0; fractions of an epoch are fine.
        noise: ε ∈ [0, 1], the share of labels thought wrong.
        warmup: T > 0, epochs until ρ is 1 − ε.

    >>> [round(keep_schedule(epoch, noise=0.4, warmup=4), 2) for epoch in range(6)]
    [1.0, 0.9, 0.8, 0.7, 0.6, 0.6]
    """
    check_range("keep_schedule", "epoch", epoch, 0, math.inf)
    check_range("keep_schedule", "noise", noise, 0.0, 1.0)
    check_range("keep_schedule", "warmup", warmup, math.ulp(0.0), math.inf)
    return 1 - noise * min(1.0, epoch / warmup)


def _kept(margins: Tensor, everything: Tensor | None, keep: float) -> Tensor:
    """Return (..., b) True on the ⌈keep · n⌉ largest of the batch, or at or above their bound in `everything`."""
    batch = _sortable(margins)
    pool = batch if everything is None else _sortable(everything)
    wanted = (keep * (pool > -math.inf).sum(dim=-1, keepdim=True).double() - 1e-9).ceil().long().clamp_min(0)
    if everything is None:
        rank = batch.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        return (rank < wanted) & (batch > -math.inf)
    ordered = pool.sort(dim=-1, descending=True).values
    bound = ordered.gather(-1, (wanted - 1).clamp_min(0))
    return (batch >= bound) & (wanted > 0) & (batch > -math.inf)


def _sortable(margins: Tensor) -> Tensor:
    detached = margins.detach()
    return detached.masked_fill(detached.isnan(), -math.inf)
