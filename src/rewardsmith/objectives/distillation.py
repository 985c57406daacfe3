"""Distill, token by token, from a teacher that goes beyond a trained model. Half precision is read in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_same_shape, check_shape
from rewardsmith.objectives.logps import wide


def extrapolated_logits(positive: Tensor, negative: Tensor, alpha: float | Tensor) -> Tensor:
    """Return logits of a teacher beyond the positive model, away from the negative one.

        z* = z₊ + α (z₊ − z₋)        softmax(z*) ∝ p₊ (p₊/p₋)^α

    Zhang et al. 2025, arXiv:2503.02832 (AlignDistil): z₊ from DPO, z₋ from DPO on swapped pairs or the reference. At
    each state it is the optimum of RLHF on the reward β₁ log p₊/p₋ with the KL to p₊ weighted β₁/α; over whole
    responses it is not, except for α = 0 (`measures.per_state_equivalence_gap`).

    Args:
        positive, negative: (B, T, V) logits over one vocabulary; a token that both rule out (−∞) stays ruled out.
        alpha: α, a number or (B, T), as from `tv_strength`; 0 is the positive model.

    >>> extrapolated_logits(torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]]), 0.5)
    tensor([[[2.5000, 0.0000]]])
    """
    check_same_shape("extrapolated_logits", positive, negative)
    positive, negative = wide(positive), wide(negative)
    strength = torch.as_tensor(alpha, dtype=positive.dtype, device=positive.device)
    if strength.ndim:
        check_shape("extrapolated_logits", "alpha", strength, *positive.shape[:-1])
        strength = strength[..., None]
    difference = (positive - negative).masked_fill(positive.isinf() & (positive == negative), 0.0)
    return positive + strength * difference


def tv_strength(positive: Tensor, negative: Tensor, *, k: float = 15.0, least: float = 1e-3) -> Tensor:
    """Return the strength α of `extrapolated_logits` that grows with the distance of the two models at a token.

        α_t = k Σ_v |p₊(v) − p₋(v)| + α_least        from α_least to 2k + α_least

    Zhang et al. 2025, arXiv:2503.02832; the sum is not halved in the official code, nor here. Where both models are
    trained well, k = 15 makes the teacher put all mass on one token: look at the values of α. Logits are (B, T, V), and
    α is (B, T) without a gradient; β₁/α is the weight of the paper's loss in `token_kl`.

    >>> tv_strength(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[0.0, 0.0]]]))
    tensor([[0.0010]])
    """
    check_same_shape("tv_strength", positive, negative)
    check_range("tv_strength", "k", k, 0.0, math.inf)
    check_range("tv_strength", "least", least, 0.0, math.inf)
    with torch.no_grad():
        distance = (wide(positive).softmax(dim=-1) - wide(negative).softmax(dim=-1)).abs().sum(dim=-1)
        return k * distance + least


def token_kl(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Return the mean reverse KL of the student to the teacher over the counted tokens, on the full vocabulary.

        ℓ = Σ_t m_t w_t KL( softmax(z_t) ‖ softmax(z*_t) ) / Σ_t m_t

    Zhang et al. 2025, arXiv:2503.02832. Position t of all arguments is one distribution and is not shifted: for outputs
    of a model pass logits[:, :-1] with completion_mask[:, 1:]. The official code does not, so it leaves out the first
    token.

    Args:
        student_logits, teacher_logits: (B, T, V); the teacher gets no gradient.
        mask: (B, T) True where a distribution counts.
        weight: (B, T) w without a gradient; 1 if None.

    Returns:
        (B,) loss; ∞ where the teacher rules out what the student may say; NaN, without a gradient, where a counted
        value is NaN and where nothing counts.

    >>> even = torch.zeros(1, 1, 2)
    >>> token_kl(even, even + torch.tensor([0.0, 1.0]), torch.tensor([[True]])) > 0
    tensor([True])
    """
    check_same_shape("token_kl", student_logits, teacher_logits)
    check_shape("token_kl", "mask", mask, *student_logits.shape[:-1])
    student, teacher = wide(student_logits), wide(teacher_logits.detach())
    missing = student.isnan().any(dim=-1) | teacher.isnan().any(dim=-1)
    if weight is not None:
        check_same_shape("token_kl", mask, weight)
        missing = missing | weight.isnan()
    counted = mask.bool()
    left_out = missing | ~counted
    log_p, log_q = (z.masked_fill(left_out[..., None], 0.0).log_softmax(dim=-1) for z in (student, teacher))
    never = log_p.isneginf()  # there 0 · (−∞) is 0
    kl = (log_p.exp() * (log_p.masked_fill(never, 0.0) - log_q.masked_fill(never, 0.0))).sum(dim=-1)
    kl = kl if weight is None else weight.detach() * kl
    loss = kl.masked_fill(left_out, 0.0).sum(dim=-1) / counted.sum(dim=-1).clamp_min(1)
    return loss.masked_fill((missing & counted).any(dim=-1) | ~counted.any(dim=-1), math.nan)
