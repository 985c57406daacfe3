"""The loss on which a process reward model is fit."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_same_shape


def step_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of a step's label, hard or soft.

        ℓ = −y log σ(z) − (1 − y) log σ(−z)        z the log-odds that the step is right

    Lightman et al. 2023, arXiv:2305.20050 (hard labels, by people); Wang et al. 2023, arXiv:2312.08935 (soft ones: the
    share of continuations that reach the answer). Its minimum over z is the entropy of y, not 0, where y is soft.

    Args:
        logits: (B,) z; of a head with two classes the second logit less the first.
        labels: (B,) y ∈ [0, 1]; NaN where nobody judged the step: its loss is NaN and it sends no gradient.

    Returns:
        (B,) loss per step.

    >>> import torch
    >>> step_label_loss(torch.zeros(2), torch.tensor([1.0, 0.5])) / math.log(2)
    tensor([1., 1.])
    """
    check_same_shape("step_label_loss", logits, labels)
    outside = labels[(labels < 0) | (labels > 1)]
    if len(outside):
        raise ValueError(
            f"step_label_loss: a label is {float(outside[0])}, outside [0, 1]. Pass probabilities of being right, "
            "and NaN where a step is not labeled."
        )
    missing = logits.isnan() | labels.isnan()
    z, y = logits.masked_fill(missing, 0.0), labels.masked_fill(missing, 0.0).to(logits.dtype)
    right, wrong = -F.logsigmoid(z) * y, -F.logsigmoid(-z) * (1 - y)
    return (right.masked_fill(y == 0, 0.0) + wrong.masked_fill(y == 1, 0.0)).masked_fill(missing, math.nan)
