"""Corrections for a noisy verifier, by its inverse or by weights; `measures.estimate_noise` measures its rates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_same_shape
from rewardsmith.types import Traits, declares

Rate = float | Tensor


def _check_verdicts(caller: str, name: str, verdicts: Tensor) -> None:
    odd = ~(verdicts.isnan() | (verdicts == 0) | (verdicts == 1))
    if bool(odd.any()):
        raise ValueError(
            f"{caller}: {name} holds {verdicts[odd].flatten()[0].item()}, but a verdict is 0, 1, or NaN where "
            "unscored. Threshold graded rewards first."
        )


def _check_rate(caller: str, name: str, rate: Rate, rewards: Tensor) -> None:
    if not isinstance(rate, Tensor):
        check_range(caller, name, rate, 0.0, 1.0)
        return
    if rate.ndim:
        check_same_shape(caller, rewards, rate)
    if bool(((rate < 0) | (rate > 1)).any()):
        raise ValueError(f"{caller}: {name} has a value outside [0, 1]. Pass rates, one per row or one for all.")


def _constant(rate: object) -> bool:
    return isinstance(rate, (int, float)) or (isinstance(rate, Tensor) and rate.ndim == 0)


def _backward_traits(*, false_positive_rate: Any = None, false_negative_rate: Any = None, **_: Any) -> Traits:
    """Return traits: affine if both rates are bound and constant; rates per row may differ within a group."""
    return Traits(scope="row", affine=_constant(false_positive_rate) and _constant(false_negative_rate))


@declares(_backward_traits)
def backward_correction(
    rewards: Tensor, *, false_positive_rate: Rate, false_negative_rate: Rate, floor: float = 0.1
) -> Tensor:
    """Undo a verifier's known error rates, so that E[corrected | true] = true.

        r̂ = (r̃ − ρ₀) / (1 − ρ₀ − ρ₁)        ρ₀ = P(r̃=1 | r=0),  ρ₁ = P(r̃=0 | r=1)

    Cai et al. 2025, arXiv:2510.00915. With rates constant within a group this cancels under a group z-score, and is a
    step size under centering. Rates that differ within a group have an effect. Combine those with `group_centered`:
    dividing by the group's standard deviation penalizes the format with the noisier correction.

    Args:
        rewards: (B,) verdicts r̃ ∈ {0, 1}; NaN stays NaN, and ±inf stays ±inf.
        false_positive_rate: ρ₀, a number, or (B,) rates that depend on the response; NaN (unknown) unscores its row.
        false_negative_rate: ρ₁, likewise. No gradient flows into either.
        floor: least 1 − ρ₀ − ρ₁ of rates in a tensor, which are estimates. A smaller value above 0 is raised to it, and
            the row is undercorrected. Two plain numbers are used as they are.

    Returns:
        (B,) unbiased rewards; they leave [0, 1], and variance grows as 1/(1 − ρ₀ − ρ₁)². NaN where a row's own rates
        add up to 1 or more: its verdict carries no signal, or the opposite one.

    Raises:
        ValueError: the rates of all rows add up to 1 or more.

    >>> backward_correction(torch.tensor([0.0, 1.0]), false_positive_rate=0.25, false_negative_rate=0.25)
    tensor([-0.5000,  1.5000])
    """
    _check_rate("backward_correction", "false_positive_rate", false_positive_rate, rewards)
    _check_rate("backward_correction", "false_negative_rate", false_negative_rate, rewards)
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    positive, negative = _detached(false_positive_rate, wide), _detached(false_negative_rate, wide)
    informative = 1 - positive - negative
    per_row = isinstance(informative, Tensor) and informative.ndim > 0
    if not per_row and bool(informative <= 0):
        raise ValueError(
            f"backward_correction: error rates {float(positive):g} + {float(negative):g} reach 1, "
            "so the verdict carries no signal to recover. Re-estimate them on labeled rows, or flip the verdict."
        )
    if isinstance(informative, Tensor):
        if not floor > 0:
            raise ValueError(f"backward_correction: floor is {floor}; estimated rates need one above 0, such as 0.1.")
        informative = torch.where(informative > 0, informative.clamp(min=floor), math.nan)
    return ((wide - positive) / informative).to(torch.result_type(rewards, 1.0))


def _detached(rate: Rate, like: Tensor) -> Rate:
    return rate.detach().to(like) if isinstance(rate, Tensor) else rate


@declares(lambda *, false_negative_rate=None, **_: Traits(scope="row", affine=_constant(false_negative_rate)))
def forward_weights(verdicts: Tensor, *, false_negative_rate: Rate) -> Tensor:
    """Reweight score-function terms so that the expected update points where the clean one does.

        w = ρ₁ where r̃ = 1,  ρ₁ − 1 where r̃ = 0;        E[w | r=1] = 0,  E[w | r=0] = −(1 − ρ₀ − ρ₁)

    Cai et al. 2025, arXiv:2510.00915. Only ρ₁ is needed, and |w| ≤ 1. Use w as the reward, without a baseline, which
    would cancel ρ₁ again: as w = r̃ − (1 − ρ₁), a constant ρ₁ is a choice of baseline.

    Args:
        verdicts: (B,) r̃ ∈ {0, 1}, NaN where unscored, and NaN stays NaN.
        false_negative_rate: ρ₁, a number or (B,) rates; NaN (unknown) unscores its row.

    Returns:
        (B,) weights of ∇ log π(y).

    >>> forward_weights(torch.tensor([1.0, 0.0]), false_negative_rate=0.25)
    tensor([ 0.2500, -0.7500])
    """
    _check_verdicts("forward_weights", "verdicts", verdicts)
    _check_rate("forward_weights", "false_negative_rate", false_negative_rate, verdicts)
    wide = verdicts.to(torch.promote_types(verdicts.dtype, torch.float32))
    return (wide - (1 - _detached(false_negative_rate, wide))).to(torch.result_type(verdicts, 1.0))
