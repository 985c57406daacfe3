"""Advantages relative to a prompt's own group: z-score, centering, leave-one-out, batch scale.

A row that is NaN or ±inf is unscored: it gets advantage 0 and is left out of the group's statistics. A group with one
scored row, or whose scored rows all agree, gets exactly 0. Each estimator declares what it removes from the rewards of
a group ("shift", "scale"), so that a chain of transforms can find its parts without effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from rewardsmith._check import check_groups, check_shape

F = TypeVar("F", bound=Callable[..., Any])


def removes(*what: Literal["shift", "scale"]) -> Callable[[F], F]:
    """Declare the part of r ↦ a·r + b that an advantage removes from a whole group: b ("shift"), a > 0 ("scale").

    >>> sorted(group_zscore.__removes__)
    ['scale', 'shift']
    """

    def mark(function: F) -> F:
        function.__removes__ = frozenset(what)  # type: ignore[attr-defined]
        return function

    return mark


class _Groups(NamedTuple):
    """Statistics that the estimators share.

    deviations: (P, G) (r − μ) / unit over the scored rows; 0 where unscored, and in a group whose scored rows agree.
    n_scored: (P, 1) scored rows, in the dtype of the deviations.
    """

    deviations: Tensor
    n_scored: Tensor

    def std(self) -> Tensor:
        """Return the (P, 1) standard deviation with Bessel's correction; 1 where all deviations are 0."""
        variance = self.deviations.square().sum(dim=1, keepdim=True) / (self.n_scored - 1).clamp(min=1)
        return torch.where(variance > 0, variance, 1).sqrt()


def in_groups(caller: str, rewards: Tensor, group_size: int) -> Tensor:
    """Return (P, G) rewards, in float32 at least."""
    check_shape(caller, "rewards", rewards, None)
    check_groups(caller, rewards.shape[0], group_size)
    return rewards.to(torch.promote_types(rewards.dtype, torch.float32)).reshape(-1, group_size)


def _compare(grouped: Tensor, unit: Tensor | float = 1.0) -> _Groups:
    scored = grouped.isfinite()
    scaled = torch.where(scored, grouped, 0) / unit
    n_scored = scored.sum(dim=1, keepdim=True).to(grouped)
    mean = (scaled / n_scored.clamp(min=1)).sum(dim=1, keepdim=True)  # divided first, as a sum may overflow
    low = torch.where(scored, grouped, math.inf).amin(dim=1, keepdim=True)
    high = torch.where(scored, grouped, -math.inf).amax(dim=1, keepdim=True)
    return _Groups(torch.where(scored & (high > low), scaled - mean, 0), n_scored)  # a rounded mean is no signal


def _largest(grouped: Tensor) -> Tensor:
    """Return (P, 1) the largest finite |r| of each group, at least 1, a unit in which squares do not overflow."""
    finite = torch.where(grouped.isfinite(), grouped, 0).detach()
    return finite.abs().amax(dim=1, keepdim=True).clamp(min=1)


def _like(advantages: Tensor, rewards: Tensor) -> Tensor:
    """Return (B,) in the dtype of the rewards, clipped to its range."""
    dtype = torch.result_type(rewards, 1.0)
    limits = torch.finfo(dtype)
    return advantages.flatten().clamp(limits.min, limits.max).to(dtype)


@removes("shift", "scale")
def group_zscore(rewards: Tensor, *, group_size: int, eps: float = 1e-4) -> Tensor:
    """Return GRPO's advantage, the z-score of each reward within its group.

        A_i = (r_i − μ_g) / (s_g + eps)        s with Bessel's correction, over the scored rows of group g

    Shao et al. 2024, arXiv:2402.03300, as TRL computes it for scale_rewards="group".

    Args:
        rewards: (B,) rewards, a prompt's completions consecutive; NaN and ±inf are unscored.

    Returns:
        (B,) advantages, never NaN.

    >>> group_zscore(torch.tensor([0.0, 1.0, float("nan"), 1.0]), group_size=2, eps=0.0)
    tensor([-0.7071,  0.7071,  0.0000,  0.0000])
    """
    grouped = in_groups("group_zscore", rewards, group_size)
    unit = _largest(grouped)
    groups = _compare(grouped, unit)
    return _like(groups.deviations / (groups.std() + eps / unit), rewards)


@removes("shift")
def group_centered(rewards: Tensor, *, group_size: int) -> Tensor:
    """Subtract the group's mean from each reward, on the reward's own scale: A_i = r_i − μ_g.

    Liu et al. 2025, arXiv:2503.20783 (Dr. GRPO); TRL's scale_rewards="none". Shapes and unscored rows as in
    `group_zscore`. It preserves the effect of saturation and of noise corrections.
    """
    return _like(_compare(in_groups("group_centered", rewards, group_size)).deviations, rewards)


@removes("shift")
def leave_one_out(rewards: Tensor, *, group_size: int) -> Tensor:
    """Subtract from each reward the mean of the other scored rows of its group (RLOO).

        A_i = r_i − 1/(n−1) Σ_{j≠i} r_j = n/(n−1) · (r_i − μ_g)

    Ahmadian et al. 2024, arXiv:2402.14740. Shapes and unscored rows as in `group_zscore`.
    """
    groups = _compare(in_groups("leave_one_out", rewards, group_size))
    return _like(groups.deviations * (groups.n_scored / (groups.n_scored - 1).clamp(min=1)), rewards)


@removes("shift")
def batch_scaled(rewards: Tensor, *, group_size: int, eps: float = 1e-4) -> Tensor:
    """Center by group and scale by the batch, so that easy and hard prompts keep their relative weight.

        A_i = (r_i − μ_g) / (s + eps)        s with Bessel's correction, over all scored rows of the batch

    TRL's scale_rewards="batch". Shapes and unscored rows as in `group_zscore`. As s also measures how far prompts
    differ, a shift by prompt changes its step size.
    """
    grouped = in_groups("batch_scaled", rewards, group_size)
    batch = grouped.reshape(1, -1) if grouped.numel() else grouped.new_zeros(1, 1)
    unit = _largest(batch)
    return _like(_compare(grouped, unit).deviations / (_compare(batch, unit).std() + eps / unit), rewards)
