"""Rewards of right answers by flawed reasoning: below sound ones, above wrong ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_same_shape
from rewardsmith.transforms.noise import _check_verdicts
from rewardsmith.types import Traits, declares

_LARGEST = 1e6


def _flaw_traits(*, lam: float = 1.0, **_: Any) -> Traits:
    return Traits(scope="row", affine=lam == 0, bounded=(min(-1.0, 1.0 - lam), max(1.0, 1.0 - lam)))


@declares(_flaw_traits)
def flawed_positive_penalty(rewards: Tensor, flawed: Tensor, *, lam: float = 1.0) -> Tensor:
    """Subtract λ from the reward of a right answer whose reasoning is flawed.

        u = 2z − 1 − λ·1[z = 1 and f = 1]        so +1 sound, 1 − λ flawed, −1 wrong

    Ding et al. 2025, arXiv:2510.22543. The floor of −1 is essential: on {0, 1}, λ = 1 would make flawed equal to wrong.
    At λ = 1 the flawed rows of a group gain while its wrong rows outnumber its sound ones and lose afterwards
    (`flawed_advantage`), so no schedule is needed. A group whose answers are all right still has a signal if some are
    flawed, so find dead groups by the result and not by `rewards`.

    Args:
        rewards: (B,) correctness z ∈ {0, 1}; NaN stays NaN.
        flawed: (B,) the detector's verdict f ∈ {0, 1} or bool, read only where z = 1. NaN (no verdict) counts as not
            flawed; watch how often that happens. A detector that flags sound reasoning hurts more than one that misses
            flaws.
        lam: λ; 0 ignores flaws, 2 makes flawed equal to wrong.

    Returns:
        (B,) rewards.

    >>> flawed_positive_penalty(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([False, True, True]))
    tensor([ 1.,  0., -1.])
    """
    check_same_shape("flawed_positive_penalty", rewards, flawed)
    check_range("flawed_positive_penalty", "lam", lam, -_LARGEST, _LARGEST)
    _check_verdicts("flawed_positive_penalty", "rewards", rewards)
    _check_verdicts("flawed_positive_penalty", "flawed", flawed)
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    accused = (wide == 1) & (flawed == 1)  # NaN == 1 is False
    return (2 * wide - 1 - lam * accused).to(torch.result_type(rewards, 1.0))


def flawed_advantage(
    sound: Tensor | float, flawed: Tensor | float, wrong: Tensor | float, *, lam: float = 1.0
) -> Tensor:
    """Return the advantage of a flawed row over its group's mean under `flawed_positive_penalty`.

        A = (1 − λ) − μ = n − p + (1 − λ)(1 − φ)        μ = p + φ(1 − λ) − n

    Where it is positive, the group reinforces flawed reasoning; at λ = 1 its sign is that of n − p. Ding et al. 2025,
    arXiv:2510.22543; the closed form is derived here.

    Args:
        sound, flawed, wrong: fractions p, φ and n of a group, numbers or tensors of one shape (or that broadcast);
            each ≥ 0, summing to 1.

    Returns:
        (...) the centered advantage; a division by the group's standard deviation keeps its sign.

    >>> float(flawed_advantage(0.25, 0.25, 0.5))
    0.25
    """
    check_range("flawed_advantage", "lam", lam, -_LARGEST, _LARGEST)
    p, phi, n = (
        torch.as_tensor(x, dtype=None if isinstance(x, Tensor) else torch.float64) for x in (sound, flawed, wrong)
    )
    if bool(((p < 0) | (phi < 0) | (n < 0) | ((p + phi + n - 1).abs() > 1e-3)).any()):
        raise ValueError(
            f"flawed_advantage: fractions {p.tolist()}, {phi.tolist()}, {n.tolist()} must be at least 0 and sum to 1. "
            "Divide counts by the group size."
        )
    return n - p + (1 - lam) * (1 - phi)
