"""Keep a few odd rows from dominating a batch: filter outliers, and keep malformed rows out of the statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_same_shape
from rewardsmith.advantages.group import group_zscore
from rewardsmith.types import needed_by

Outliers = Literal["zero", "drop", "winsor"]
Spread = Literal["mean_std", "median_mad"]

_NORMAL = 1.482602218505602
"""1 / Φ⁻¹(3/4): the median absolute deviation times this is σ for a normal distribution."""


def advantage_filter(
    advantages: Tensor,
    *,
    k: float = 3.0,
    mask: Tensor | None = None,
    mode: Outliers = "zero",
    stats: Spread = "mean_std",
) -> Tensor:
    """Neutralize advantages more than k standard deviations from their mean.

        A_i if |z_i| ≤ k, else 0 (zero), NaN (drop) or μ ± kσ (winsor)        z_i = (A_i − μ) / σ

    Zhang et al. 2025, arXiv:2505.02835 (StableReinforce), with k = 3 and "zero". μ and σ are those of all entries that
    count, outliers included. With "median_mad" they are the median and 1.4826 times the median absolute deviation,
    which outliers hardly move; then "drop" before a z-score is usually the better filter.
    Differs: the official code compares z with the mean of A ± 3, so it drops good rows where that mean is not 0.

    Args:
        advantages: (B,) or (B, T); NaN and ±inf do not count and stay.
        mask: like `advantages`, True where an entry counts; the others stay as they are.
        mode: "drop" is for a second normalization; a trainer of ours takes NaN as 0.

    Returns:
        Like `advantages`. If σ is 0, nothing is an outlier.

    >>> advantage_filter(torch.tensor([1.0, -1.0, 1.0, -1.0, 50.0]), k=1.5)
    tensor([ 1., -1.,  1., -1.,  0.])
    """
    check_range("advantage_filter", "k", k, 0.0, math.inf)
    check_choice("advantage_filter", "mode", mode, get_args(Outliers))
    check_choice("advantage_filter", "stats", stats, get_args(Spread))
    wide = advantages.to(torch.promote_types(advantages.dtype, torch.float32))
    counts = wide.isfinite()
    if mask is not None:
        check_same_shape("advantage_filter", advantages, mask)
        counts = counts & mask.bool()
    known = wide.detach()[counts]
    if not len(known):
        return advantages
    if stats == "mean_std":
        center, spread = known.mean(), known.std(correction=0)
    else:
        center = _median(known)
        spread = _NORMAL * _median((known - center).abs())
    far = counts & ((wide - center).abs() > k * spread) & (spread > 0)
    if mode == "winsor":
        other = wide.clamp(center - k * spread, center + k * spread)
    else:
        other = torch.full_like(wide, 0.0 if mode == "zero" else math.nan)
    return torch.where(far, other, wide).to(torch.result_type(advantages, 1.0))


def _median(values: Tensor) -> Tensor:
    """Return the median, the mean of the two in the middle; `quantile` takes no more than 2²⁴ values."""
    ranked = values.sort().values
    return (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2


def filtered(
    rewards: Tensor,
    *,
    estimator: Callable[..., Tensor] = group_zscore,
    k: float = 3.0,
    mode: Outliers = "zero",
    stats: Spread = "mean_std",
    **context: Any,
) -> Tensor:
    """Estimate advantages and apply `advantage_filter` to those of the scored rows.

    Bind the options with `functools.partial` and pass the result as `advantage` of `engines.trl.GRPOTrainer`.

    Args:
        rewards: (B,) rewards; unscored rows do not count in the filter.
        estimator: rewards → (B,) or (B, T) advantages, with whatever it names from the batch.
        context: the batch, as the trainer passes it.

    >>> filtered(torch.tensor([0.0, 1.0, 2.0, 3.0]), group_size=2, k=0.5)
    tensor([0., 0., 0., 0.])
    """
    advantages = estimator(rewards, **needed_by("filtered", estimator, context).given)
    mask = rewards.isfinite()
    if advantages.dim() > 1:
        tokens = context.get("completion_mask")
        mask = mask[:, None].expand_as(advantages) if tokens is None else mask[:, None] & tokens.bool()
    return advantage_filter(advantages, k=k, mask=mask, mode=mode, stats=stats)


def gated_format(
    rewards: Tensor,
    *,
    malformed: float = -2.0,
    credit: float = -1.0,
    estimator: Callable[..., Tensor] = group_zscore,
    **context: Any,
) -> Tensor:
    """Estimate advantages among the well-formed rows, and give malformed ones a fixed negative advantage.

        A_i = credit where r_i ≤ malformed; elsewhere the estimator's, with malformed rows left out of its statistics

    For `rewards.staged_verdict_reward` (Jiao et al. 2025, arXiv:2510.23596). With rewards 0, 0, 0, −1, −1, −1, −1,
    −100 a plain z-score is +0.37 for right, +0.34 for wrong and −2.47 for malformed: wrong verdicts are reinforced.

    Args:
        rewards: (B,) rewards; NaN and ±inf are unscored.
        malformed: the value of a malformed row, below that of any other.
        estimator, context: as in `filtered`.

    >>> gated_format(torch.tensor([0.0, -1.0, -1.0, -100.0]), malformed=-100.0, group_size=4)
    tensor([ 1.1545, -0.5773, -0.5773, -1.0000])
    """
    check_range("gated_format", "credit", credit, -math.inf, 0.0)
    broken = rewards.isfinite() & (rewards <= malformed)
    formed = rewards.to(torch.result_type(rewards, 1.0)).masked_fill(broken, math.nan)
    advantages = estimator(formed, **needed_by("gated_format", estimator, context).given)
    return advantages.masked_fill(broken if advantages.dim() == 1 else broken[:, None], credit)
