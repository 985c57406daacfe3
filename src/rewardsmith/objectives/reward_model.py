"""Losses of a reward model on stated confidence, one per pair.

Every argument is (B,) scores in the reward model's own unit (log-odds). A row with NaN in a score that a loss reads is
unscored: its loss is NaN and it sends no gradient, so skip it in the reduction. ±inf gives the limit.

The texts are those of `data.ConfidenceAugment`: a preferred and a dispreferred answer, each with a high and with a low
stated confidence. As the list of pairs that it returns, they need no loss of their own: `trl.RewardTrainer` on that
list minimizes `combined_confidence_loss` (with plain=False `confidence_calibration_loss`), and `trl.DPOTrainer` is
CDPO.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rewardsmith._check import check_same_shape
from rewardsmith.objectives.pairwise import bt_loss


def confidence_calibration_loss(
    chosen_high: Tensor, chosen_low: Tensor, rejected_low: Tensor, rejected_high: Tensor
) -> Tensor:
    """Prefer high confidence on the preferred answer and low confidence on the other, the default loss of PPO-M.

        ℓ = −log σ( r(c_h) − r(c_l) ) − log σ( r(r_l) − r(r_h) )

    Leng et al. 2024, arXiv:2410.09724. It compares no answer with another, so the model's ranking of answers drifts in
    long training. `combined_confidence_loss` keeps it.

    Args:
        chosen_high, chosen_low: (B,) scores of the preferred answer with high and with low confidence.
        rejected_low, rejected_high: (B,) scores of the dispreferred answer likewise.

    Returns:
        (B,) loss per pair.

    >>> import math, torch
    >>> zero = torch.zeros(1)
    >>> confidence_calibration_loss(zero, zero, zero, zero) / math.log(2)
    tensor([2.])
    """
    check_same_shape("confidence_calibration_loss", chosen_high, chosen_low, rejected_low, rejected_high)
    return bt_loss(chosen_high, chosen_low) + bt_loss(rejected_low, rejected_high)


def crossed_confidence_loss(
    chosen_high: Tensor, chosen_low: Tensor, rejected_low: Tensor, rejected_high: Tensor
) -> Tensor:
    """Add to `confidence_calibration_loss` a comparison of the two answers, each with its fitting confidence.

        ℓ = −log σ( r(c_h) − r(c_l) ) − log σ( r(r_l) − r(r_h) ) − log σ( r(c_h) − r(r_l) )

    Leng et al. 2024, arXiv:2410.09724 (a variant of the official code). Arguments and result as in
    `confidence_calibration_loss`.
    """
    check_same_shape("crossed_confidence_loss", chosen_high, chosen_low, rejected_low, rejected_high)
    tone = confidence_calibration_loss(chosen_high, chosen_low, rejected_low, rejected_high)
    return tone + bt_loss(chosen_high, rejected_low)


def ranked_confidence_loss(
    chosen_high: Tensor, chosen_low: Tensor, rejected_low: Tensor, rejected_high: Tensor
) -> Tensor:
    """Fit the whole order c_h ≻ c_l ≻ r_l ≻ r_h by its Plackett-Luce likelihood.

        ℓ = −Σ_{k=1..3} log( e^{s_k} / Σ_{j≥k} e^{s_j} )        s = r(c_h), r(c_l), r(r_l), r(r_h)

    Leng et al. 2024, arXiv:2410.09724 (the K-wise variant of the official code), after Zhu et al. 2023,
    arXiv:2301.11270. Arguments and result as in `confidence_calibration_loss`.
    """
    check_same_shape("ranked_confidence_loss", chosen_high, chosen_low, rejected_low, rejected_high)
    scores = torch.stack([chosen_high, chosen_low, rejected_low, rejected_high], dim=-1)  # (B, 4), best first
    missing = scores.isnan().any(dim=-1)
    held = scores.masked_fill(missing[..., None], 0.0)
    rest = held.flip(-1).logcumsumexp(dim=-1).flip(-1)  # (B, 4) log Σ_{j≥k} e^{s_j}
    return (rest - held)[..., :-1].sum(dim=-1).masked_fill(missing, math.nan)


def combined_confidence_loss(
    chosen: Tensor,
    rejected: Tensor,
    chosen_high: Tensor,
    chosen_low: Tensor,
    rejected_low: Tensor,
    rejected_high: Tensor,
) -> Tensor:
    """Add to `confidence_calibration_loss` the plain preference, on texts without stated confidence.

        ℓ = −log σ( r(c) − r(r) ) − log σ( r(c_h) − r(c_l) ) − log σ( r(r_l) − r(r_h) )

    Leng et al. 2024, arXiv:2410.09724 ("combined" in the official code).

    Args:
        chosen, rejected: (B,) scores of the plain texts.
        chosen_high, chosen_low, rejected_low, rejected_high: (B,) as in `confidence_calibration_loss`.

    Returns:
        (B,) loss per pair.
    """
    check_same_shape("combined_confidence_loss", chosen, rejected, chosen_high, chosen_low, rejected_low, rejected_high)
    tone = confidence_calibration_loss(chosen_high, chosen_low, rejected_low, rejected_high)
    return bt_loss(chosen, rejected) + tone
