"""Weights that change over training."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range
from rewardsmith.transforms.shape import rescale
from rewardsmith.types import Traits, declares

Schedule = Literal["linear", "two_stage"]


@declares(lambda *, start=1.0, end=1.0, **_: Traits(scope="row", affine=start > 0 and end > 0))
def scheduled_scale(
    rewards: Tensor, *, global_step: float | Tensor, start: float, end: float, until: float, shape: Schedule = "linear"
) -> Tensor:
    """Multiply rewards by a factor that goes from `start` to `end` over training, and stays there.

        u = c(t) · r        linear: c(t) = start + (end − start) · min(t / until, 1)
        two_stage: c(t) = start if t < until, else end

    Qian et al. 2025, arXiv:2504.13958 (ToolRL). There, format goes from 2 to 1 and correctness from ±2 to ±3, linearly
    over 150 steps. Under a group z-score a factor counts only relative to the other sources of a sum, so give each
    source its own and add them after. Our trainers and a recipe fill in `global_step` from the trainer's state, and
    `progress` = global_step / max_steps; for a schedule in shares of the run use
    `reads(scheduled_scale, global_step="progress")` and an `until` of at most 1.

    Args:
        rewards: (...) rewards; NaN stays NaN.
        global_step: steps t ≥ 0 taken so far, one number for the whole batch.
        start, end: factors; one that is not positive may turn the order of the rewards around.
        until: t > 0 from which the factor is `end`.

    Returns:
        (...) rewards.

    >>> scheduled_scale(torch.tensor([1.0, -1.0]), global_step=75, start=2.0, end=3.0, until=150)
    tensor([ 2.5000, -2.5000])
    """
    check_choice("scheduled_scale", "shape", shape, get_args(Schedule))
    if isinstance(global_step, Tensor) and global_step.numel() != 1:
        raise ValueError(
            f"scheduled_scale: global_step has shape {tuple(global_step.shape)}, but a batch has one step. "
            "Rename a column of that name, or pass a number."
        )
    t = float(global_step)
    check_range("scheduled_scale", "global_step", t, 0.0, math.inf)
    check_range("scheduled_scale", "until", until, torch.finfo(torch.float64).tiny, math.inf)
    done = min(t / until, 1.0) if shape == "linear" else float(t >= until)
    return rescale(rewards, scale=start + (end - start) * done)
