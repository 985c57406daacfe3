"""Confidence-adjusted reward: a reward blind to tone, plus a bonus for confidence that agrees with the reward."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from rewardsmith._check import check_choice, check_range, check_same_shape, check_shape
from rewardsmith.transforms.scoring_rules import _check_confidence
from rewardsmith.types import Traits

Form = Literal["difference", "threshold"]
Reference = Literal["running", "prompt"]


class ConfidenceAdjusted(nn.Module):
    """Bonus for confidence above ½ where the reward is above its reference, penalty where the reward is below.

        difference:  u = r̂ + w (r̂ − Δ)(c − ½)
        threshold:   u = r̂ ± w |r̂| (c − ½),  + where r̂ ≥ Δ, − elsewhere
        Δ ← (1 − decay) Δ + decay · mean(r̂),  before the batch is adjusted

    Leng et al. 2024, arXiv:2410.09724 (PPO-C). Score the completion *without* its stated confidence
    (`rewards.WithoutConfidence`). That alone removes the reward model's preference for a confident tone, and w = 0 is
    that control. u is linear in c and not a proper scoring rule: the optimum is c = 0 or 1 by the sign of r̂ − Δ. It
    ranks answers and does not calibrate them; with gold labels use `brier_reward`. At c = 0 the reward is r̂ (1 − w/2)
    + Δ w/2. From w = 2 on, the released weight, an answer stated without any confidence gains nothing from being good.

    In training mode a batch is counted first and adjusted after; in eval mode Δ is frozen. Call it on the batch
    gathered over processes.

    Args:
        weight: w; 2.0 in the released scripts.
        decay: weight of the new batch in Δ.
        clip: r̂ is the reward held in [−clip, clip].
        initial_mean: Δ before the first batch, such as the reward model's stored mean; None starts at the mean of the
            first batch.
        reference: "running" as above, one Δ for all prompts, which rewards confidence on easy prompts where prompts
            differ in difficulty; "prompt" takes the mean of the row's `ref_rewards` instead.

    Call it with `rewards` (B,); NaN stays NaN, ±inf is clipped, and neither moves Δ. `confidence` (B,) is c in [0, 1];
    NaN (none was stated) counts as ½. For reference="prompt" also pass `ref_rewards` (B, M), rewards of reference
    responses; NaN is skipped, and a row without any is NaN. Returns (B,).
    """

    mean: Tensor
    count: Tensor

    def __init__(
        self,
        *,
        weight: float = 2.0,
        decay: float = 0.1,
        form: Form = "difference",
        clip: float = 10.0,
        initial_mean: float | None = None,
        reference: Reference = "running",
    ) -> None:
        super().__init__()
        check_choice("ConfidenceAdjusted", "form", form, get_args(Form))
        check_choice("ConfidenceAdjusted", "reference", reference, get_args(Reference))
        check_range("ConfidenceAdjusted", "decay", decay, 0.0, 1.0)
        check_range("ConfidenceAdjusted", "clip", clip, 1e-6, math.inf)
        self.weight, self.decay, self.form, self.clip, self.reference = weight, decay, form, clip, reference
        self.register_buffer("mean", torch.tensor(initial_mean or 0.0, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0 if initial_mean is None else 1))  # 0: Δ is not known yet

    @property
    def __traits__(self) -> Traits:
        return Traits(scope="run" if self.reference == "running" else "row", affine=False)

    @torch.no_grad()
    def update(self, rewards: Tensor) -> None:
        """Move Δ by a batch: (B,) rewards, clipped here; NaN and ±inf are skipped."""
        batch = rewards.detach()[rewards.isfinite()].double().clamp(-self.clip, self.clip)
        if not batch.numel():
            return
        share = self.decay if bool(self.count > 0) else 1.0
        self.mean += share * (batch.mean().to(self.mean) - self.mean)
        self.count += 1

    def forward(self, rewards: Tensor, confidence: Tensor, ref_rewards: Tensor | None = None) -> Tensor:
        check_shape("ConfidenceAdjusted", "rewards", rewards, None)
        check_same_shape("ConfidenceAdjusted", rewards, confidence)
        _check_confidence("ConfidenceAdjusted", confidence)
        if self.training and self.reference == "running":
            self.update(rewards)
        held = rewards.double().clamp(-self.clip, self.clip)
        lean = confidence.detach().to(held).nan_to_num(nan=0.5) - 0.5
        reference = self.mean.to(held.device)
        if self.reference == "prompt":
            if ref_rewards is None:
                raise ValueError(
                    "ConfidenceAdjusted: reference='prompt' got no ref_rewards. "
                    "Pass (B, M) rewards of reference responses, or use reference='running'."
                )
            check_shape("ConfidenceAdjusted", "ref_rewards", ref_rewards, held.shape[0], None)
            reference = ref_rewards.detach().to(held).clamp(-self.clip, self.clip).nanmean(dim=1)
        above = held - reference
        signed = above if self.form == "difference" else torch.where(above >= 0, held.abs(), -held.abs())
        adjusted = torch.where(above.isnan(), math.nan, held + self.weight * signed * lean)
        return adjusted.to(torch.result_type(rewards, 1.0))

    def extra_repr(self) -> str:
        return f"weight={self.weight}, decay={self.decay}, form={self.form!r}, reference={self.reference!r}"
