"""Train a policy as a reward model, on whether each response is right: its reward is β log π/π_ref of a response.

`implicit_reward` gives r. Identically E_{y~π_ref}[exp(r/β)] = 1, so r cannot exceed β log 1/p on average over responses
that the reference gives with probability p: σ(r) is no probability of being right. Rank responses of one prompt by r.
`soft_label_dpo_loss` is the loss on pairs. Yuan et al. 2024, arXiv:2412.01981.

A loss is (B,), and NaN, without a gradient, where an argument is NaN. Half precision is read in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rewardsmith._check import check_same_shape
from rewardsmith.objectives.logps import wide
from rewardsmith.objectives.pairwise import _column, bt_loss, labeled_loss


def implicit_ce_loss(rewards: Tensor, labels: Tensor) -> Tensor:
    """Fit right and wrong responses by cross-entropy: ℓ = −y log σ(r) − (1 − y) log(1 − σ(r)).

    Args:
        rewards: (B,) r. labels: (B,) y ∈ [0, 1], 1 for a right response.

    >>> implicit_ce_loss(torch.zeros(2), torch.tensor([1.0, 0.0])) / math.log(2)
    tensor([1., 1.])
    """
    check_same_shape("implicit_ce_loss", rewards, labels)
    return labeled_loss("implicit_ce_loss", "labels", rewards, labels)


def implicit_nca_loss(chosen_rewards: Tensor, rejected_rewards: Tensor) -> Tensor:
    """Fit a right and a wrong response of one prompt by noise contrast, which also raises the likelihood of the right.

        ℓ = −log σ(r⁺) − ½ log σ(−r⁺) − ½ log σ(−r⁻)

    Chen et al. 2024, arXiv:2402.05369, for two responses, as TRL's `nca_pair`. Rewards are (B,).

    >>> implicit_nca_loss(torch.zeros(1), torch.zeros(1)) / math.log(2)
    tensor([2.])
    """
    check_same_shape("implicit_nca_loss", chosen_rewards, rejected_rewards)
    chosen, rejected = wide(chosen_rewards), wide(rejected_rewards)
    zero = torch.zeros_like(chosen)
    return bt_loss(chosen, zero) + (bt_loss(zero, chosen) + bt_loss(zero, rejected)) / 2


def implicit_kto_loss(rewards: Tensor, labels: Tensor, *, kl: float | Tensor) -> Tensor:
    """Move right responses above, and wrong ones below, the policy's mean reward.

        ℓ = y (1 − σ(r − z)) + (1 − y)(1 − σ(z − r))        z = β KL(π ‖ π_ref) ≥ 0

    Ethayarajh et al. 2024, arXiv:2402.01306, with both weights 1.

    Args:
        rewards, labels: as in `implicit_ce_loss`.
        kl: z, without a gradient, in the unit of the rewards: β times nats, a number or (B,).

    >>> implicit_kto_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), kl=0.0)
    tensor([0.5000, 0.5000])
    """
    check_same_shape("implicit_kto_loss", rewards, labels)
    rewards = wide(rewards)
    right = _column("implicit_kto_loss", "labels", labels, rewards, 0.0, 1.0)
    baseline = _column("implicit_kto_loss", "kl", kl, rewards, 0.0).detach()
    above = rewards - baseline
    missing = above.isnan() | right.isnan()
    above = above.masked_fill(missing, 0.0)
    losses = right * torch.sigmoid(-above) + (1 - right) * torch.sigmoid(above)
    return losses.masked_fill(missing, math.nan)
