"""Transforms of step rewards: clip, delta, and the process scores combined with the outcome.

A step counts where `step_mask` is True; it is scored where its reward is finite too. In every result a place without
a step is NaN, and an unscored step stays as it is.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_same_shape, check_shape
from rewardsmith.types import Traits, declares

Terminal = Literal["keep", "drop"]
Final = Literal["both", "outcome"]


@declares(Traits(scope="row", affine=False))
def clip_steps(step_rewards: Tensor, step_mask: Tensor, *, threshold: float) -> Tensor:
    """Penalize steps below a threshold and give 0 above it, so that no number of steps adds up to a gain.

        ρ_k = min(s_k − η, 0)

    Gao et al. 2024, arXiv:2410.15115 (Clip). A weak policy is penalized at every step, and stopping at once is optimal.
    Start from a warmed-up policy, or apply `delta_steps` after it.

    Args:
        step_rewards: (B, N) scores s; NaN stays NaN, and −inf stays −inf.
        step_mask: (B, N) True where there is a complete step.
        threshold: η, which most steps of a good solution reach.

    Returns:
        (B, N) clipped scores.

    >>> clip_steps(torch.tensor([[0.9, 0.2]]), torch.tensor([[True, True]]), threshold=0.5)
    tensor([[ 0.0000, -0.3000]])
    """
    if math.isnan(threshold):
        raise ValueError("clip_steps: threshold is nan, which no step is above or below. Pass a score.")
    wide, mask = _steps("clip_steps", step_rewards, step_mask)
    clipped = wide.clamp(max=threshold) - threshold
    return torch.where(mask, clipped, math.nan).to(torch.result_type(step_rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def delta_steps(step_rewards: Tensor, step_mask: Tensor, *, terminal: Terminal = "keep") -> Tensor:
    """Subtract from each step's score that of the next, so that the sum of the remaining rewards is one score.

        ρ_k = s_k − s_{k+1},  ρ_K = s_K          hence Σ_{t≥k} ρ_t = s_k
        terminal="drop":  ρ_{K−1} = s_{K−1},  ρ_K = 0

    Gao et al. 2024, arXiv:2410.15115 (Delta), which drops the last score as the success reward covers it.

    Differs: keeps the last score by default, because with ρ_K = 0 finishing loses the score that one more filler step
    would earn. `k+1` is the next *scored* step: an unscored step in between stays NaN and leaves the sum as it is. With
    "drop" it is the last step of the mask that gets 0, or stays unscored.

    Args:
        step_rewards: (B, N) scores s; NaN and ±inf are unscored and stay as they are.
        step_mask: (B, N) True where there is a complete step; holes are skipped.

    Returns:
        (B, N) differences.

    >>> delta_steps(torch.tensor([[0.5, 0.75, 1.0]]), torch.tensor([[True, True, True]]))
    tensor([[-0.2500, -0.2500,  1.0000]])
    >>> delta_steps(torch.tensor([[0.5, 0.75, 1.0]]), torch.tensor([[True, True, True]]), terminal="drop")
    tensor([[-0.2500,  0.7500,  0.0000]])
    """
    check_choice("delta_steps", "terminal", terminal, get_args(Terminal))
    wide, mask = _steps("delta_steps", step_rewards, step_mask)
    scored, last = mask & wide.isfinite(), _last(mask)
    counted = scored & ~last if terminal == "drop" else scored
    following, columns = wide.new_zeros(len(wide)), []
    for k in reversed(range(wide.shape[1])):
        columns.append(torch.where(counted[:, k], wide[:, k] - following, wide[:, k]))
        following = torch.where(counted[:, k], wide[:, k], following)
    deltas = torch.stack(columns[::-1], dim=1) if columns else wide
    deltas = torch.where(scored & ~counted, 0, deltas)
    return torch.where(mask, deltas, math.nan).to(torch.result_type(step_rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def renorm(
    step_rewards: Tensor,
    rewards: Tensor,
    step_mask: Tensor,
    *,
    weight: float = 1.0,
    center: tuple[float, float] = (0.5, 0.5),
    per_step_mean: bool = False,
    final: Final = "both",
) -> Tensor:
    """Add the outcome to every step and center both, so that no step of a failure gains and none of a success loses.

        r̂_k = w (s_k − c_s) + (r − c_r)      s, r ∈ [0, 1], c = ½, w = 1:  r = 0 ⇒ r̂ ∈ [−1, 0],  r = 1 ⇒ r̂ ∈ [0, 1]

    Xu et al. 2025, arXiv:2509.25598 (ReNorm); with center=(0, 0) their "broadcast", ρ_k = w s_k + r. The sum over a
    success still grows with its steps: cap them, or divide with `per_step_mean`. While success is rare every step has a
    cost, and stopping at once is optimal: warm up first.

    Differs: every step has both parts by default. In the paper the last turn is the answer and has the outcome alone,
    which is final="outcome".

    Args:
        step_rewards: (B, N) process scores s; NaN stays NaN (fill in c_s beforehand to count a judge's parse failure as
            neutral), ±inf stays ±inf.
        rewards: (B,) outcomes r on the same range; a row whose outcome is NaN is NaN.
        step_mask: (B, N) True where there is a complete step.
        weight: w ≥ 0.
        center: (c_s, c_r).
        per_step_mean: divide by the row's number of scored steps.
        final: "outcome" gives the last scored step, where that is the answer, r − c_r alone.

    Returns:
        (B, N) centered sums. In a row without a scored step the last one has r − c_r, so that the outcome is not lost.

    >>> renorm(torch.tensor([[0.75, 0.25]]), torch.tensor([1.0]), torch.tensor([[True, True]]))
    tensor([[0.7500, 0.2500]])
    """
    check_choice("renorm", "final", final, get_args(Final))
    wide, mask, outcome = _with_outcome("renorm", step_rewards, rewards, step_mask, weight)
    offset = outcome - (weight * center[0] + center[1])
    sums = torch.add(offset[:, None], wide, alpha=weight)
    if not weight:  # 0 · inf is NaN
        sums = torch.where(wide.isinf(), wide.detach() + outcome.detach()[:, None], sums)
    sums = torch.where(mask, sums, math.nan)
    place, scored = _place_of_outcome(wide, mask), mask & wide.isfinite()
    alone = place if final == "outcome" else place & ~scored
    sums = torch.where(alone, outcome[:, None] - center[1], sums)
    if per_step_mean:
        sums = sums / scored.sum(dim=1, keepdim=True).clamp(min=1)
    return sums.to(torch.result_type(step_rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def add_outcome(step_rewards: Tensor, rewards: Tensor, step_mask: Tensor, *, weight: float = 1.0) -> Tensor:
    """Add the outcome to the process score of the last step: ρ_k = w s_k + r 1[k last].

    Xu et al. 2025, arXiv:2509.25598 ("sum", which they compare with `renorm`).

    Args:
        step_rewards: (B, N) process scores s; NaN stays NaN, and ±inf stays ±inf, also at w = 0.
        rewards: (B,) outcomes r. A row whose outcome is NaN is NaN.
        step_mask: (B, N) True where there is a complete step.
        weight: w ≥ 0. If w times the number of steps exceeds 1, scores in [0, 1] can exceed the outcome.

    Returns:
        (B, N) rewards per step. The outcome goes to the last scored step, so that no unscored step loses it. In a row
        without a scored step the last one has the outcome alone.

    >>> add_outcome(torch.tensor([[0.5, 0.5]]), torch.tensor([1.0]), torch.tensor([[True, True]]))
    tensor([[0.5000, 1.5000]])
    """
    wide, mask, outcome = _with_outcome("add_outcome", step_rewards, rewards, step_mask, weight)
    return _outcome_last(wide * weight, wide, mask, outcome).to(torch.result_type(step_rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def gate_by_outcome(
    step_rewards: Tensor,
    rewards: Tensor,
    step_mask: Tensor,
    *,
    weight: float = 1.0,
    threshold: float = 0.0,
    strict: bool = True,
) -> Tensor:
    """Count process scores only where the outcome clears a threshold: ρ_k = w s_k 1[r > δ] + r 1[k last].

    Sun et al. 2025, arXiv:2508.10548, with one level below the outcome (`gated_step_sum` takes more).

    Args:
        step_rewards, rewards, step_mask, weight: as in `add_outcome`; ±inf stays ±inf also behind a shut gate.
        threshold: δ; `strict` decides whether the outcome must exceed it or only reach it.

    Returns:
        (B, N) rewards per step, the outcome placed as in `add_outcome`.
    """
    wide, mask, outcome = _with_outcome("gate_by_outcome", step_rewards, rewards, step_mask, weight)
    scale = weight * ((outcome > threshold) if strict else (outcome >= threshold))
    return _outcome_last(wide * scale[:, None], wide, mask, outcome).to(torch.result_type(step_rewards, 1.0))


def _outcome_last(placed: Tensor, wide: Tensor, mask: Tensor, outcome: Tensor) -> Tensor:
    """Return the (B, N) step rewards with the outcome added at its place."""
    place = _place_of_outcome(wide, mask)
    placed = torch.where(place & wide.isnan(), 0, placed)
    placed = torch.where(place, placed + outcome[:, None], placed)
    placed = torch.where(wide.isinf(), wide.detach() + outcome.detach()[:, None], placed)  # 0 · inf is NaN
    return torch.where(mask & ~outcome.isnan()[:, None], placed, math.nan)


def _place_of_outcome(wide: Tensor, mask: Tensor) -> Tensor:
    """Mark the place of the outcome: (B, N) True at a row's last scored step, else at its last step unless ±inf."""
    scored = mask & wide.isfinite()
    return _last(scored) | (_last(mask) & ~scored.any(dim=1, keepdim=True) & ~wide.isinf())


def _last(mask: Tensor) -> Tensor:
    """Return (B, N) True at each row's last True."""
    return mask & (mask.flip(1).cumsum(dim=1).flip(1) == 1)


def _with_outcome(
    caller: str, step_rewards: Tensor, rewards: Tensor, step_mask: Tensor, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scores in float32 at least, the mask as bool, the outcomes in the dtype of the scores."""
    check_range(caller, "weight", weight, 0.0, math.inf)
    wide, mask = _steps(caller, step_rewards, step_mask)
    check_shape(caller, "rewards", rewards, wide.shape[0])
    return wide, mask, rewards.to(wide)


def _steps(caller: str, step_rewards: Tensor, step_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores in float32 at least, and the mask as bool."""
    check_shape(caller, "step_rewards", step_rewards, None, None)
    check_same_shape(caller, step_rewards, step_mask)
    return step_rewards.to(torch.promote_types(step_rewards.dtype, torch.float32)), step_mask.bool()
