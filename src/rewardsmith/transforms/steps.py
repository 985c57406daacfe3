"""Shapes of a chain of steps: clip, delta, and the process scores combined with the outcome.

A step counts where `step_mask` is True; it is scored where its reward is finite too. What is no step is NaN in every
result, and an unscored step stays as it is.
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
Combination = Literal["sum", "broadcast", "renorm", "gate"]


@declares(Traits(scope="row", affine=False))
def clip_steps(step_rewards: Tensor, step_mask: Tensor, *, threshold: float) -> Tensor:
    """Punish steps below a threshold and pay nothing above it, so that no number of steps adds up to a gain.

        ρ_k = min(s_k − η, 0)

    Gao et al. 2024, arXiv:2410.15115 (Clip). From a policy that is still weak every step is punished, and stopping at
    once is optimal: start from a warmed-up policy, or put `delta_steps` behind it.

    Args:
        step_rewards: (B, N) scores s; NaN stays NaN, and −inf stays −inf.
        step_mask: (B, N) True where there is a complete step.
        threshold: η, below which most steps of a good solution do not fall.

    Returns:
        (B, N) clipped scores.

    >>> clip_steps(torch.tensor([[0.9, 0.2]]), torch.tensor([[True, True]]), threshold=0.5)
    tensor([[ 0.0000, -0.3000]])
    """
    if math.isnan(threshold):
        raise ValueError("clip_steps: threshold is nan, which no step is above or below. Pass a score.")
    wide, mask = _steps("clip_steps", step_rewards, step_mask)
    clipped = wide.clamp(max=threshold).sub_(threshold)
    return clipped.add_(_absent(mask, wide)).to(torch.result_type(step_rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def delta_steps(step_rewards: Tensor, step_mask: Tensor, *, terminal: Terminal = "keep") -> Tensor:
    """Pay each step its score less that of the next, so that what is still to come is worth one score, not their sum.

        ρ_k = s_k − s_{k+1},  ρ_K = s_K          hence Σ_{t≥k} ρ_t = s_k
        terminal="drop":  ρ_{K−1} = s_{K−1},  ρ_K = 0

    Gao et al. 2024, arXiv:2410.15115 (Delta), which drops the last score as the success reward covers it.

    Differs: keeps the last score unless asked, because with ρ_K = 0 finishing forfeits the score that one more filler
    step would earn. `k+1` is the next *scored* step: an unscored step in between stays NaN and takes nothing from the
    sum. With "drop" it is the last step of the mask that gets 0, or stays unscored.

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
    absent = _absent(mask, wide)
    deltas = wide + absent
    unscored = torch.add(absent, wide.detach(), alpha=0)  # 0 or NaN, as 0 · inf is NaN
    if terminal == "drop":
        column = _last(absent)
        row = (column >= 0).nonzero().flatten()
        column = column[row]
        scored_last = unscored[row, column] == 0
        unscored.index_put_((row, column), unscored.new_tensor(math.nan))
        deltas.index_put_((row[scored_last], column[scored_last]), unscored.new_tensor(0.0))
    scored = unscored.add_(1).nan_to_num_(0)  # 1 where a step takes part in the telescope, else 0
    values = wide.nan_to_num(0, 0, 0).mul_(scored)
    following = values[:, 1:]
    if following.numel() and int((scored[:, 1:] - scored[:, :-1]).amax()) > 0:  # a scored step behind one that is not
        following = _next_scored(values, scored)
    deltas[:, :-1].sub_(following)
    return deltas.to(torch.result_type(step_rewards, 1.0))


def _next_scored(values: Tensor, scored: Tensor) -> Tensor:
    """(B, N−1) for each scored step the value of the next scored one; 0 where there is none."""
    n_steps = values.shape[1]
    index = torch.where(scored > 0, torch.arange(n_steps, device=values.device), n_steps)
    following = index[:, 1:].flip(1).cummin(dim=1).values.flip(1)
    return torch.nn.functional.pad(values, (0, 1)).gather(1, following) * scored[:, :-1]


@declares(Traits(scope="row", affine=False))
def renorm(
    step_rewards: Tensor,
    rewards: Tensor,
    step_mask: Tensor,
    *,
    center: tuple[float, float] = (0.5, 0.5),
    per_step_mean: bool = False,
    final: Final = "both",
) -> Tensor:
    """Add the outcome to every step and center both: no step of a failure is rewarded, none of a success punished.

        r̂_k = (s_k − c_s) + (r − c_r)            s, r ∈ [0, 1], c = ½:  r = 0 ⇒ r̂ ∈ [−1, 0],  r = 1 ⇒ r̂ ∈ [0, 1]

    Xu et al. 2025, arXiv:2509.25598 (ReNorm). The sum over a success still grows with its steps: cap them, or divide
    with `per_step_mean`. While success is rare every step costs, and stopping at once is optimal: warm up first.

    Differs: every step has both parts unless asked. In the paper the last turn is the answer and has the outcome alone,
    which is final="outcome".

    Args:
        step_rewards: (B, N) process scores s; NaN stays NaN (a judge's parse failure is neutral at s = c_s: fill it in
            beforehand to read it so), ±inf stays ±inf.
        rewards: (B,) outcomes r on the same range; a row whose outcome is NaN is NaN.
        step_mask: (B, N) True where there is a complete step.
        center: (c_s, c_r).
        per_step_mean: divide by the row's number of scored steps.
        final: "outcome" gives the last scored step, where that is the answer, r − c_r alone.

    Returns:
        (B, N) centered sums. Of a row without a scored step the last one has r − c_r, so that the outcome is not lost.

    >>> renorm(torch.tensor([[0.75, 0.25]]), torch.tensor([1.0]), torch.tensor([[True, True]]))
    tensor([[0.7500, 0.2500]])
    """
    check_choice("renorm", "final", final, get_args(Final))
    wide, mask = _steps("renorm", step_rewards, step_mask)
    outcome = _outcomes("renorm", rewards, wide)
    absent = _absent(mask, wide)
    sums = _renormed(wide, outcome, 1.0, center).add_(absent)
    unscored = torch.add(absent, wide.detach(), alpha=0)  # 0 or NaN, as 0 · inf is NaN
    scored = (unscored + 1).nan_to_num_(0)
    row, column, bare = _outcome_place(wide, absent, unscored)
    if final == "both":
        row, column = row[bare], column[bare]
    sums = sums.index_put((row, column), outcome[row] - center[1])
    if per_step_mean:
        sums = sums / scored.sum(dim=1, keepdim=True).clamp(min=1)
    return sums.to(torch.result_type(step_rewards, 1.0))


@declares(Traits(scope="row", affine=False))
def combine_process_outcome(
    step_rewards: Tensor,
    rewards: Tensor,
    step_mask: Tensor,
    *,
    mode: Combination = "sum",
    weight: float = 1.0,
    center: tuple[float, float] = (0.5, 0.5),
    threshold: float = 0.0,
    strict: bool = True,
) -> Tensor:
    """Process scores and the outcome as one reward per step.

        sum         ρ_k = w s_k + r 1[k last]
        broadcast   ρ_k = w s_k + r
        renorm      ρ_k = w (s_k − c_s) + (r − c_r)
        gate        ρ_k = w s_k 1[r > δ] + r 1[k last]

    Xu et al. 2025, arXiv:2509.25598 compares the first three; the gate is that of Sun et al. 2025, arXiv:2508.10548,
    with one level below the outcome (`gated_step_sum` takes more).

    Args:
        step_rewards: (B, N) process scores s; NaN stays NaN, and ±inf stays ±inf, also behind a shut gate or w = 0.
        rewards: (B,) outcomes r. A row whose outcome is NaN is NaN: without a verdict nothing is summed or gated.
        step_mask: (B, N) True where there is a complete step.
        weight: w ≥ 0. With w times the number of steps above 1, scores in [0, 1] can outbid the outcome in a sum.
        center: (c_s, c_r), read by "renorm".
        threshold: δ, read by "gate"; `strict` decides whether the outcome must exceed or only reach it.

    Returns:
        (B, N) rewards per step. The outcome goes to the last scored step, so that no unscored step loses it. Of a row
        without a scored step the last one has the outcome alone (less c_r for "renorm"), in every mode.

    >>> combine_process_outcome(torch.tensor([[0.5, 0.5]]), torch.tensor([1.0]), torch.tensor([[True, True]]))
    tensor([[0.5000, 1.5000]])
    """
    check_choice("combine_process_outcome", "mode", mode, get_args(Combination))
    check_range("combine_process_outcome", "weight", weight, 0.0, math.inf)
    wide, mask = _steps("combine_process_outcome", step_rewards, step_mask)
    outcome = _outcomes("combine_process_outcome", rewards, wide)
    absent = _absent(mask, wide)
    row, column, bare = _outcome_place(wide, absent, torch.add(absent, wide.detach(), alpha=0))  # 0 · inf is NaN
    if mode in ("broadcast", "renorm"):
        ends = center if mode == "renorm" else (0.0, 0.0)
        sums = _renormed(wide, outcome, weight, ends).add_(absent)
        sums.index_put_((row[bare], column[bare]), outcome[row[bare]] - ends[1])
    else:
        scale = torch.full_like(outcome, weight).masked_fill(outcome.isnan(), math.nan)
        if mode == "gate":
            scale = scale * ((outcome > threshold) if strict else (outcome >= threshold))
        sums = (wide * scale[:, None]).add_(absent)
        sums.index_put_((row[bare], column[bare]), sums.new_tensor(0.0))
        sums.index_put_((row, column), outcome[row], accumulate=True)
    infinite = wide.isinf()
    if bool(infinite.any()):  # a factor of 0 has made them NaN
        sums = torch.where(infinite, wide.detach() + outcome.detach()[:, None] + absent, sums)
    return sums.to(torch.result_type(step_rewards, 1.0))


def _renormed(wide: Tensor, outcome: Tensor, weight: float, center: tuple[float, float]) -> Tensor:
    offset = outcome - (weight * center[0] + center[1])
    return torch.add(offset[:, None], wide, alpha=weight)


def _outcome_place(wide: Tensor, absent: Tensor, unscored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns of the steps that get the outcome, and whether each is unscored and so has nothing else.

    It is a row's last scored step, else its last step, unless that is ±inf and stays so.
    """
    column = _last(unscored)
    bare = column < 0
    if bool(bare.any()):
        column = torch.where(bare, _last(absent), column)
    row = (column >= 0).nonzero().flatten()
    row = row[~(bare[row] & wide[row, column[row]].isinf())]
    return row, column[row], bare[row]


def _last(absent: Tensor) -> Tensor:
    """(B,) the column of the last entry that is 0 rather than NaN, −1 where there is none."""
    n_rows, n_steps = absent.shape
    if not n_steps:
        return torch.full((n_rows,), -1, device=absent.device)
    place = torch.arange(n_steps, dtype=absent.dtype, device=absent.device)
    return (absent + place).nan_to_num_(-1).amax(dim=1).long()


def _steps(caller: str, step_rewards: Tensor, step_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The scores in float32 at least, and the mask as bool."""
    check_shape(caller, "step_rewards", step_rewards, None, None)
    check_same_shape(caller, step_rewards, step_mask)
    return step_rewards.to(torch.promote_types(step_rewards.dtype, torch.float32)), step_mask.bool()


def _outcomes(caller: str, rewards: Tensor, wide: Tensor) -> Tensor:
    check_shape(caller, "rewards", rewards, wide.shape[0])
    return rewards.to(wide)


def _absent(mask: Tensor, wide: Tensor) -> Tensor:
    """(B, N) 0 where there is a step and NaN where there is none, to be added: on a CPU faster than to fill by mask."""
    whole = torch.int64 if wide.dtype == torch.float64 else torch.int32
    return (mask.view(torch.int8) - 1).to(whole).view(wide.dtype)  # −1 has all bits set, and so has a NaN
