"""Preference objectives with a strength per pair: a β or a weight from any margin.

A margin may come from one reward model or several, an annotator's stated strength or gold. It is data: no gradient
flows into it.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_same_shape
from rewardsmith.objectives.pairwise import bt_loss

OnDisagree = Literal["clamp", "drop", "flip", "clip_margin"]
WeightOnDisagree = Literal["clamp", "drop", "clip_margin"]


def dpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float | Tensor = 0.1,
) -> Tensor:
    """Direct preference optimization: prefer y⁺ over y⁻ by more than the reference does.

        ℓ = −log σ( β [ log π(y⁺|x)/π_ref(y⁺|x) − log π(y⁻|x)/π_ref(y⁻|x) ] )

    Rafailov et al. 2023, arXiv:2305.18290, Eq. 7 (inside the expectation). `trl.DPOTrainer` has it for one β; here
    each pair may have its own, from `dynamic_beta`.

    β is inside the sigmoid: a larger one scales the gradient *and* lowers the log-ratio at the optimum, logit(p)/β. To
    scale the gradient alone, multiply the loss by `margin_weight`.

    Args:
        chosen_logps: (B,) log π(y⁺|x) in nats, summed over completion tokens.
        rejected_logps, ref_chosen_logps, ref_rejected_logps: (B,) likewise.
        beta: β, the KL coefficient, one number or (B,); larger stays nearer the reference. 0 drops a pair (loss
            log 2, no gradient), and a negative one reverses its label.

    Returns:
        (B,) loss per pair; NaN, without a gradient, where a log-probability or β is NaN.

    >>> dpo_loss(torch.zeros(1), torch.zeros(1), torch.zeros(1), torch.zeros(1)) / math.log(2)
    tensor([1.])
    """
    check_same_shape("dpo_loss", chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    strength = torch.as_tensor(beta, dtype=chosen_logps.dtype, device=chosen_logps.device)
    if strength.ndim:
        check_same_shape("dpo_loss", chosen_logps, strength)
    missing = strength.isnan()
    strength = strength.masked_fill(missing, 0.0)
    chosen, rejected = chosen_logps - ref_chosen_logps, rejected_logps - ref_rejected_logps
    return bt_loss(strength * chosen, strength * rejected).masked_fill(missing, math.nan)


def dynamic_beta(
    margin: Tensor,
    *,
    beta: float = 0.1,
    scale: float = 0.5,
    rate: float = 0.5,
    on_disagree: OnDisagree = "clamp",
    floor: float = 1e-3,
) -> Tensor:
    """Return a β per pair that grows with the margin of a reward model for the chosen answer (MM-DPO).

        β(δ) = β₀ (1 + w (1 − e^{−kδ}))        from β₀ at δ = 0 up to β₀ (1 + w)

    Zhang et al. 2025, arXiv:2502.10391. Where the reward model disagrees with the label, δ < 0, the formula falls
    without bound and soon turns negative, which flips the label. The choice of `on_disagree` has most of the effect:

        "clamp" at least `floor` (the official code) · "drop" 0 · "clip_margin" δ = 0, hence β₀ · "flip" as it is

    Differs: "flip" stops at −β₀ (1 + w), so that no flipped pair has more weight than the clearest one.

    Args:
        margin: (B,) δ, a reward model's score of the chosen minus that of the rejected answer. Its unit is the reward
            model's: divide by the standard deviation of δ over the data set first.
        beta: β₀ > 0.
        scale: w > −1; negative values give clear pairs less weight.
        rate: k > 0.
        floor: least β of "clamp".

    Returns:
        (B,) β for `dpo_loss`, NaN where δ is.

    >>> dynamic_beta(torch.tensor([0.0, 1e9]), beta=0.1, scale=0.5)
    tensor([0.1000, 0.1500])
    """
    check_choice("dynamic_beta", "on_disagree", on_disagree, get_args(OnDisagree))
    check_range("dynamic_beta", "beta", beta, math.ulp(0.0), math.inf)
    factor = _strength("dynamic_beta", margin, scale, rate, on_disagree)
    if on_disagree == "clamp":
        return (beta * factor).clamp_min(floor)
    return beta * factor.clamp_min(-(1 + scale))


def margin_weight(
    margin: Tensor,
    *,
    scale: float = 0.5,
    rate: float = 0.5,
    on_disagree: WeightOnDisagree = "clamp",
    floor: float = 0.0,
) -> Tensor:
    """Return the factor of `dynamic_beta` as a weight on the loss, which scales the gradient and keeps its target.

        w(δ) = 1 + w (1 − e^{−kδ})

    After Zhang et al. 2025, arXiv:2502.10391. Differs: it has no "flip", since a loss of negative weight has no
    minimum; `floor` is the least weight of "clamp". Arguments otherwise as in `dynamic_beta`.

    Returns:
        (B,) weights; pass them through `normalized_weights` to keep the learning rate.
    """
    check_choice("margin_weight", "on_disagree", on_disagree, get_args(WeightOnDisagree))
    factor = _strength("margin_weight", margin, scale, rate, on_disagree)
    return factor.clamp_min(floor) if on_disagree == "clamp" else factor


def _strength(caller: str, margin: Tensor, scale: float, rate: float, on_disagree: str) -> Tensor:
    """Return 1 + w (1 − e^{−kδ}), with the choice `on_disagree` where δ < 0."""
    check_range(caller, "scale", scale, math.nextafter(-1.0, 0.0), math.inf)
    check_range(caller, "rate", rate, math.ulp(0.0), math.inf)
    delta = margin.detach()
    delta = delta if delta.is_floating_point() else delta.to(torch.get_default_dtype())
    if on_disagree == "clip_margin":
        delta = delta.clamp_min(0.0)
    factor = 1 - scale * torch.expm1(-rate * delta)
    return factor.masked_fill(delta < 0, 0.0) if on_disagree == "drop" else factor
