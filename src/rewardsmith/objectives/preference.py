"""Preference objectives on a pair's log-ratio margin, and a β or a weight per pair.

A loss is (B,), and NaN, without a gradient, where a value that it reads is NaN. Half precision is read in float32.

The margin of `dynamic_beta` and `margin_weight` is another: it comes from one reward model or several, an annotator's
stated strength or gold, and no gradient flows into it.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_same_shape
from rewardsmith.objectives.logps import wide
from rewardsmith.objectives.pairwise import _column, bt_loss, labeled_loss

OnDisagree = Literal["clamp", "drop", "flip", "clip_margin"]
WeightOnDisagree = Literal["clamp", "drop", "clip_margin"]
Reduction = Literal["sum", "mean"]


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
    margin = _margin("dpo_loss", chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta)
    return bt_loss(margin, torch.zeros_like(margin))


def preference_margin(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float | Tensor = 0.1,
) -> Tensor:
    """Return by how much more than the reference the policy prefers y⁺, in log-odds.

        h = β [ log π(y⁺|x)/π_ref(y⁺|x) − log π(y⁻|x)/π_ref(y⁻|x) ]

    Rafailov et al. 2023, arXiv:2305.18290, Eq. 7. `soft_label_dpo_loss` and `slic_loss` take it. With β = 1 it is the
    log-ratio difference Δ of `ipo_loss`. Arguments as in `dpo_loss`.

    >>> chosen, rejected, reference = torch.tensor([-1.0]), torch.tensor([-5.0]), torch.tensor([-3.0])
    >>> preference_margin(chosen, rejected, reference, reference, beta=0.5)
    tensor([2.])
    """
    return _margin("preference_margin", chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta)


def soft_label_dpo_loss(margin: Tensor, target: float | Tensor) -> Tensor:
    """Fit the probability that y⁺ is the better answer, by cross-entropy.

        ℓ = −t log σ(h) − (1 − t) log σ(−h)        least at h = logit(t)

    One loss for many targets t: Wang et al. 2024, arXiv:2410.12735 (CREAM, t a rank consistency); Rosset et al. 2024,
    arXiv:2404.03715 (DNO, t = σ(r̂(y⁺) − r̂(y⁻)) of win rates r̂); conservative DPO (one t < 1); a judge's probability.
    1 is DPO, ½ gives no direction, and below ½ the pair trains the other way around. `label_smoothing` of
    `trl.DPOConfig` does not change TRL's default loss.

    Args:
        margin: (B,) h of `preference_margin`.
        target: t ∈ [0, 1], one number or (B,); NaN leaves the pair out.

    >>> soft_label_dpo_loss(torch.zeros(2), torch.tensor([0.3, 1.0])) / math.log(2)
    tensor([1., 1.])
    """
    return labeled_loss("soft_label_dpo_loss", "target", margin, target)


def ipo_loss(log_ratio_difference: Tensor, *, beta: float | Tensor) -> Tensor:
    """Bring the log-ratio difference of a pair to 1/(2β), where it stops.

        ℓ = (Δ − 1/(2β))²        Δ = log π(y⁺|x)/π_ref(y⁺|x) − log π(y⁻|x)/π_ref(y⁻|x)

    Azar et al. 2023, arXiv:2310.12036, Eq. 17. Differs from `trl.DPOTrainer`, which divides each log-ratio by its
    completion's tokens: here Δ is of sums, as in both papers, and a β of one is no β of the other.

    Args:
        log_ratio_difference: (B,) Δ, as `preference_margin` gives it for β = 1.
        beta: β > 0, one number or (B,).

    >>> ipo_loss(torch.tensor([0.0, 5.0]), beta=0.1)
    tensor([25.,  0.])
    """
    difference = wide(log_ratio_difference)
    strength = _column("ipo_loss", "beta", beta, difference, low=torch.finfo(difference.dtype).tiny)
    error = difference - 1 / (2 * strength)
    return error.masked_fill(error.isnan(), 0.0).square().masked_fill(error.isnan(), math.nan)


def slic_loss(margin: Tensor) -> Tensor:
    """Ask for a margin of 1 and nothing beyond: ℓ = max(0, 1 − h).

    Zhao et al. 2023, arXiv:2305.10425, on h of `preference_margin`, (B,), as in Rafailov et al. 2024, arXiv:2406.02900.

    >>> slic_loss(torch.tensor([0.0, 2.0]))
    tensor([1., 0.])
    """
    margin = wide(margin)
    return (1 - margin.masked_fill(margin.isnan(), 0.0)).clamp_min(0.0).masked_fill(margin.isnan(), math.nan)


def length_regularized_margin(
    margin: Tensor, chosen_lengths: Tensor, rejected_lengths: Tensor, *, alpha: float
) -> Tensor:
    """Attribute a part of the preference to length, so that the policy need not.

        h + α (|y⁺| − |y⁻|)

    Park et al. 2024, arXiv:2403.19159. The optimum of E[r] − α E|y| − β KL has β log π/π_ref = r − α|y| + const, so the
    reward difference is this sum: with α > 0 a longer chosen answer pushes the policy less. With a minus, which
    some accounts of it have, α would reward length.

    Args:
        margin: (B,) h of `preference_margin`. chosen_lengths, rejected_lengths: (B,) completion tokens.
        alpha: α ≥ 0 in nats per token.

    >>> length_regularized_margin(torch.tensor([1.0]), torch.tensor([30]), torch.tensor([10]), alpha=0.05)
    tensor([2.])
    """
    check_same_shape("length_regularized_margin", margin, chosen_lengths, rejected_lengths)
    check_range("length_regularized_margin", "alpha", alpha, 0.0, math.inf)
    return wide(margin) + alpha * (chosen_lengths - rejected_lengths)


def anchor_nll(logps: Tensor, lengths: Tensor, *, coef: float, reduction: Reduction) -> Tensor:
    """Keep the likelihood of anchor responses, as a term to add to a preference loss.

        "sum"   ℓ = −c log π(y|x)          RPO, with c = η β: Liu et al. 2024, arXiv:2405.16436
        "mean"  ℓ = −c log π(y|x) / |y|    Iterative RPO: Pang et al. 2024, arXiv:2404.19733

    The two coefficients differ by the length of a response. In RPO any responses that the data support may be the
    anchor; default are the chosen ones. `sft` among the losses of `trl.DPOConfig` is a third reduction: a mean over all
    chosen tokens of a device's batch.

    Args:
        logps: (B,) log π(y|x) of the anchors, summed over tokens.
        lengths: (B,) their tokens; a mean over none is NaN.
        coef: c ≥ 0.

    >>> anchor_nll(torch.tensor([-6.0]), torch.tensor([3]), coef=0.5, reduction="mean")
    tensor([1.])
    """
    check_same_shape("anchor_nll", logps, lengths)
    check_choice("anchor_nll", "reduction", reduction, get_args(Reduction))
    check_range("anchor_nll", "coef", coef, 0.0, math.inf)
    logps = wide(logps)
    missing = logps.isnan() if reduction == "sum" else logps.isnan() | (lengths <= 0)
    held = logps.masked_fill(missing, 0.0)
    terms = held if reduction == "sum" else held / lengths.clamp_min(1)
    return (-coef * terms).masked_fill(missing, math.nan)


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


def _margin(
    caller: str, chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float | Tensor
) -> Tensor:
    """Return (B,) β times the log-ratio difference; NaN, without a gradient, where anything is NaN."""
    check_same_shape(caller, chosen, rejected, ref_chosen, ref_rejected)
    difference = (wide(chosen) - wide(ref_chosen)) - (wide(rejected) - wide(ref_rejected))
    strength = _column(caller, "beta", beta, difference)
    missing = difference.isnan() | strength.isnan()
    return (strength.masked_fill(missing, 0.0) * difference.masked_fill(missing, 0.0)).masked_fill(missing, math.nan)
