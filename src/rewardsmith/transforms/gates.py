"""Priority gates: a level of lower priority counts only where the higher ones reach their thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_same_shape, check_shape
from rewardsmith.types import Traits, declares

GateSign = Literal["all", "positive"]
Reduce = Literal["sum", "mean", "cap"]


def _check_thresholds(caller: str, thresholds: Sequence[float] | Tensor, like: Tensor) -> Tensor:
    limits = torch.as_tensor(thresholds, dtype=like.dtype, device=like.device)
    check_shape(caller, "thresholds", limits, like.shape[1])
    if bool(limits.isnan().any()):
        raise ValueError(f"{caller}: thresholds {limits.tolist()} hold NaN. Use -inf for a level that never closes.")
    return limits


def _gates(levels: Tensor, limits: Tensor, strict: bool) -> Tensor:
    """Return (B, L) Π over the higher levels of 1[r > δ], in which 0 · NaN is NaN."""
    cleared = (levels > limits if strict else levels >= limits).to(levels)
    cleared = torch.where(levels.isnan(), math.nan, cleared)
    above = cleared[:, 1:].flip(1).cumprod(dim=1).flip(1)
    return torch.cat([above, torch.ones_like(levels[:, :1])], dim=1)


@declares(Traits(scope="row", affine=False, bounded=(0.0, 1.0)))
def priority_gates(level_rewards: Tensor, *, thresholds: Sequence[float] | Tensor, strict: bool = True) -> Tensor:
    """Mark the levels that count: those whose higher levels all clear their thresholds.

        g_i = Π_{j>i} 1[ r_j > δ_j ]        (≥ for strict=False)

    Sun et al. 2025, arXiv:2508.10548. `strict` matters where a reward *equals* its threshold. With an outcome of −1
    (not submitted), 0 (submitted) or 1 (solved) and δ = 0, strict requires solved, not strict submitted.

    Args:
        level_rewards: (B, L) episode rewards, from the lowest priority to the highest.
        thresholds: L thresholds δ; that of the lowest level is not used.

    Returns:
        (B, L) 1 open, 0 shut, NaN where a higher level is NaN: a timeout is not a reward below its threshold. The last
        column is 1. Watch the mean over rows: a gate that is always or never open has a useless threshold.

    >>> priority_gates(torch.tensor([[5.0, 1.0], [5.0, 0.0], [5.0, float("nan")]]), thresholds=[0.0, 0.0])
    tensor([[1., 1.],
            [0., 1.],
            [nan, 1.]])
    """
    check_shape("priority_gates", "level_rewards", level_rewards, None, None)
    wide = level_rewards.detach().to(torch.promote_types(level_rewards.dtype, torch.float32))
    limits = _check_thresholds("priority_gates", thresholds, wide)
    return _gates(wide, limits, strict).to(torch.result_type(level_rewards, 1.0))


def _kept(rewards: Tensor, gate_open: Tensor, gate_sign: GateSign) -> Tensor:
    """Return the reward where its gate is open, and always a penalty if only positive rewards are gated."""
    counts = gate_open == 1
    return torch.where(counts | (rewards < 0) if gate_sign == "positive" else counts, rewards, 0)


@declares(Traits(scope="row", affine=False))
def gated_sum(
    source_rewards: Tensor,
    *,
    thresholds: Sequence[float] | Tensor,
    strict: bool = True,
    gate_sign: GateSign = "all",
) -> Tensor:
    """Add levels of rising priority, each only where all higher ones clear their thresholds.

        u = Σ_i g_i r_i        g as in `priority_gates`

    Sun et al. 2025, arXiv:2508.10548 (G-RA) for one reward per level and episode; with thresholds of −inf it is the
    plain sum. For rewards per step see `gated_step_sum`.

    Args:
        source_rewards: (B, L) sources from the lowest priority to the highest.
        thresholds: L thresholds δ.
        strict: ">" or, if False, "≥".
        gate_sign: "positive" gates rewards above 0 only, so that penalties always count, also in an episode that
            fails.

    Returns:
        (B,) sums; NaN where any level is NaN, even behind a shut gate, because part of the episode is unknown.

    >>> gated_sum(torch.tensor([[0.5, 1.0], [0.5, 0.0], [-0.5, 0.0]]), thresholds=[0, 0], gate_sign="positive")
    tensor([ 1.5000,  0.0000, -0.5000])
    """
    check_choice("gated_sum", "gate_sign", gate_sign, get_args(GateSign))
    check_shape("gated_sum", "source_rewards", source_rewards, None, None)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    gate_open = _gates(wide.detach(), _check_thresholds("gated_sum", thresholds, wide), strict)
    total = _kept(wide, gate_open, gate_sign).sum(dim=1)
    return torch.where(wide.isnan().any(dim=1), math.nan, total).to(torch.result_type(source_rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def gated_bonus(accuracy: Tensor, bonus: Tensor, *, weight: float = 0.5) -> Tensor:
    """Add a bonus in proportion to the accuracy, so that it never pays for a wrong answer.

        u = a · (1 + weight · b)  if a > 0,  else a

    Zhang et al. 2025, arXiv:2505.02835, with b = ±1 from `rewards.TraceConsistency`; it serves for a bonus on length or
    on tools as well.

    Args:
        accuracy: (B,) accuracies a, 0 or below where wrong.
        bonus: (B,) bonuses b; 0 where there is nothing to say.

    Returns:
        (B,) rewards; NaN where a is NaN, or where b is NaN and a is above 0.

    >>> gated_bonus(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, -1.0, 1.0]))
    tensor([1.5000, 0.5000, 0.0000])
    """
    check_same_shape("gated_bonus", accuracy, bonus)
    dtype = torch.result_type(accuracy, 1.0)
    wide = accuracy.to(torch.promote_types(dtype, torch.float32))
    return torch.where(wide <= 0, wide, wide * (1 + weight * bonus)).to(dtype)


class GatedSteps(NamedTuple):
    """The result of `gated_step_sum`.

    step_rewards: (B, N) the sum over levels per step; NaN where there is no step, and in a whole row with an unknown
        gate.
    gate_open: (B, L) 1 open, 0 shut, NaN unknown.
    """

    step_rewards: Tensor
    gate_open: Tensor


@declares(Traits(scope="row", affine=False))
def gated_step_sum(
    levels: Sequence[Tensor],
    step_mask: Tensor,
    *,
    thresholds: Sequence[float] | Tensor,
    strict: bool = True,
    gate_sign: GateSign = "all",
    reduce: Reduce = "sum",
    cap: float | None = None,
) -> GatedSteps:
    """Apply the gates of `gated_sum` to step rewards of a completed episode: keep each reward in place, or set it to 0.

        u_t = Σ_i g_i r_i,t,   g_i = Π_{j>i} 1[ R_j > δ_j ],   R_j = Σ_t r_j,t

    Sun et al. 2025, arXiv:2508.10548. Gates see the completed episode, never a step before the outcome is known. They
    restrict which episodes can gain by padding, not how much: in an open episode the sum still grows with the steps.

    Args:
        levels: L levels from the lowest priority to the highest, each (B, N) step rewards, or (B,) one reward for the
            episode, which goes to the last step. A row without steps has no place for it.
        step_mask: (B, N) True where there is a complete step.
        thresholds, strict, gate_sign: as in `gated_sum`; a step's sign decides for "positive".
        reduce: bound of the levels with step rewards. "mean" divides by the row's number of steps; "cap" counts rewards
            until the running total reaches `cap`. R_j is the total of the bounded rewards.

    Returns:
        Step rewards and gates. A real step that is NaN stays NaN. R_j is then unknown, and so are the gates below
        level j.
    """
    check_choice("gated_step_sum", "gate_sign", gate_sign, get_args(GateSign))
    check_choice("gated_step_sum", "reduce", reduce, get_args(Reduce))
    if (reduce == "cap") != (cap is not None) or (cap is not None and not cap >= 0):
        raise ValueError(
            f"gated_step_sum: cap is {cap} for reduce={reduce!r}. Pass a cap of at least 0 with reduce='cap' only."
        )
    check_shape("gated_step_sum", "step_mask", step_mask, None, None)
    if not levels:
        raise ValueError("gated_step_sum: got no levels, so there is nothing to add. Pass at least one.")
    step_mask = step_mask.bool()
    dtype = torch.result_type(sum(level.new_zeros(1) for level in levels), 1.0)
    wide = torch.promote_types(dtype, torch.float32)
    per_level, totals = [], []
    for level in levels:
        given = level.to(wide)
        if given.ndim == 1:
            check_shape("gated_step_sum", "a level per episode", given, step_mask.shape[0])
            steps_left = step_mask.flip(1).cumsum(dim=1).flip(1)
            per_level.append(torch.where(step_mask & (steps_left == 1), given[:, None], 0))
            totals.append(given)
            continue
        check_same_shape("gated_step_sum", given, step_mask)
        steps = torch.where(step_mask, given, 0)
        if reduce == "mean":
            steps = steps / step_mask.sum(dim=1, keepdim=True).clamp(min=1)
        elif cap is not None:
            running = torch.where(steps.isnan(), 0, steps).cumsum(dim=1).clamp(max=cap)
            gained = running.diff(dim=1, prepend=torch.zeros_like(running[:, :1]))
            steps = torch.where(steps.isnan(), math.nan, gained)
        per_level.append(steps)
        totals.append(steps.sum(dim=1))
    episode = torch.stack(totals, dim=1)  # (B, L)
    gate_open = _gates(episode.detach(), _check_thresholds("gated_step_sum", thresholds, episode), strict)
    kept = [_kept(steps, gate_open[:, i, None], gate_sign) for i, steps in enumerate(per_level)]
    # NaN does not pass a shut gate
    unknown = torch.stack([steps.isnan() for steps in per_level]).any(dim=0) | gate_open.isnan().any(dim=1)[:, None]
    total = torch.where(unknown | ~step_mask, math.nan, torch.stack(kept).sum(dim=0))
    return GatedSteps(total.to(dtype), gate_open.to(dtype))
