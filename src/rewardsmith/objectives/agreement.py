"""Losses of judges: one that compares two answers in both orders, and several views that should agree.

A loss is (B,), and NaN, without a gradient, where an argument is NaN. Half precision is read in float32.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_same_shape, check_shape
from rewardsmith.objectives.logps import wide
from rewardsmith.objectives.pairwise import labeled_loss, weighted_loss

Kind = Literal["js", "symmetric_kl"]


def pairwise_verdict_loss(logit_12: Tensor, logit_21: Tensor, label: Tensor, *, consistency: float = 0.0) -> Tensor:
    """Fit a judge's verdict on a pair in both orders, and make the two orders agree.

        ℓ = ½ CE(P₁₂, y) + ½ CE(P₂₁, 1 − y) + λ (P₁₂ + P₂₁ − 1)²        P = σ(logit)

    After Xu et al. 2025, arXiv:2504.04950, whose exact term for position bias is not public.

    Args:
        logit_12, logit_21: (B,) log-odds of the verdict "the first is better", with answer 1 and with answer 2 first.
        label: (B,) y ∈ [0, 1], 1 if answer 1 is better.
        consistency: λ ≥ 0.

    >>> pairwise_verdict_loss(torch.zeros(1), torch.zeros(1), torch.ones(1)) / math.log(2)
    tensor([1.])
    """
    check_same_shape("pairwise_verdict_loss", logit_12, logit_21, label)
    check_range("pairwise_verdict_loss", "consistency", consistency, 0.0, math.inf)
    first, second = wide(logit_12), wide(logit_21)
    losses = labeled_loss("pairwise_verdict_loss", "label", first, label) / 2
    losses = losses + labeled_loss("pairwise_verdict_loss", "label", second, 1 - label) / 2
    both = torch.stack([first, second]).masked_fill(losses.isnan(), 0.0)
    return losses + consistency * (torch.sigmoid(both).sum(dim=0) - 1).square()


def multi_view_consistency_loss(probabilities: Tensor, *, kind: Kind = "js", entropy_weight: float = 0.0) -> Tensor:
    """Penalize views of a pair that disagree and, with a weight, views that are undecided.

        "js"            ℓ = H(P̄) − 1/K Σ_k H(P_k) + λ 1/K Σ_k H(P_k)                 P̄ the mean, H in nats
        "symmetric_kl"  ℓ = 1/(K(K−1)) Σ_{j≠k} KL(sg P_j ‖ P_k) + λ 1/K Σ_k H(P_k)    sg stops the gradient

    After Zhou et al. 2025, arXiv:2502.08922 (SCIR); the paper's formula could not be checked. Show the judge every pair
    in both orders as two views: alone, λ > 0 drives one order to one verdict for all pairs.

    Args:
        probabilities: (K, B) of K ≥ 2 views that answer 1 is better, kept off 0 and 1 by rounding.
        entropy_weight: λ ≥ 0.

    >>> multi_view_consistency_loss(torch.tensor([[0.3, 1.0], [0.3, 0.0]])) / math.log(2)
    tensor([0.0000, 1.0000])
    """
    check_shape("multi_view_consistency_loss", "probabilities", probabilities, None, None)
    check_choice("multi_view_consistency_loss", "kind", kind, get_args(Kind))
    check_range("multi_view_consistency_loss", "entropy_weight", entropy_weight, 0.0, math.inf)
    check_range("multi_view_consistency_loss", "views", len(probabilities), 2, math.inf)
    missing = probabilities.isnan().any(dim=0)
    eps = torch.finfo(wide(probabilities).dtype).eps
    p = wide(probabilities).masked_fill(missing, 0.5).clamp(eps, 1 - eps)
    if kind == "js":
        mean = p.mean(dim=0)
        losses = _cross_entropy(mean, mean) - _cross_entropy(p, p).mean(dim=0)
    else:
        fixed = p.detach()[:, None]  # (K, 1, B) against (K, B)
        apart = _cross_entropy(fixed, p) - _cross_entropy(fixed, fixed)
        losses = apart.sum(dim=(0, 1)) / (len(p) * (len(p) - 1))
    return (losses + entropy_weight * _cross_entropy(p, p).mean(dim=0)).masked_fill(missing, math.nan)


def _cross_entropy(target: Tensor, p: Tensor) -> Tensor:
    return -target * p.log() - (1 - target) * torch.log1p(-p)


def entailment_bce(logit_yes: Tensor, logit_no: Tensor | float, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Teach a judge to answer Yes or No by the log-odds of its answer.

        ℓ = w [ −g log σ(z) − (1 − g) log σ(−z) ],   z = logit_yes − logit_no

    Wang et al. 2025, arXiv:2509.21319 (RLBFF: does the response satisfy the principle?). With a `logit_no` of 0 it is
    the loss of a head with one logit, such as that of `rewards.ReferenceReward`.

    Args:
        logit_yes, logit_no: (B,) logits or log-probabilities of the two answers; over several spellings of one, their
            logsumexp.
        label: (B,) g in [0, 1]; NaN where the row has none. Drop "partly" rather than take ½ for it.
        weight: (B,) w ≥ 0; 1 if None.

    >>> entailment_bce(torch.zeros(2), 0.0, torch.tensor([1.0, 0.0])) / torch.tensor(2.0).log()
    tensor([1., 1.])
    """
    check_same_shape("entailment_bce", logit_yes, label, *([] if weight is None else [weight]))
    losses = labeled_loss("entailment_bce", "label", logit_yes - logit_no, label)
    return losses if weight is None else weighted_loss(losses, weight)
