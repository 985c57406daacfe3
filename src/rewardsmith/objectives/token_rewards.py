"""Rewards of tokens from two models or two prompts, and a term that trains a policy toward them.

Half precision is read in float32.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_same_shape
from rewardsmith.objectives.logps import wide

Squash = Literal["sigmoid-0.5"]
Form = Literal["linear", "squared"]


def token_log_ratio(logps_a: Tensor, logps_b: Tensor, *, beta: float = 1.0, squash: Squash | None = None) -> Tensor:
    """Return β log p_a(y_t)/p_b(y_t) of each token, or that squashed to (−½, ½).

        r_t = β (log p_a − log p_b)        "sigmoid-0.5": r_t = σ(β (log p_a − log p_b)) − ½

    Policy over reference: Rafailov et al. 2023, arXiv:2305.18290, and Yuan et al. 2024, arXiv:2412.01981, whose prefix
    values are its cumulative sums. DPO model over one of swapped pairs: Zhang et al. 2025, arXiv:2503.02832. One model
    asked for a better answer over the same asked for a worse one, squashed: Zhou et al. 2024, arXiv:2412.02685.

    Args:
        logps_a, logps_b: (B, T) of the same tokens, as `per_token_logps` or `chunked_token_logps` give them. After two
            prompts of different lengths, align them by the place in the completion. Masked tokens stay 0.

    >>> token_log_ratio(torch.tensor([[-1.0, 0.0]]), torch.tensor([[-3.0, 0.0]]), beta=0.5)
    tensor([[1., 0.]])
    """
    check_same_shape("token_log_ratio", logps_a, logps_b)
    check_choice("token_log_ratio", "squash", squash, (*get_args(Squash), None))
    ratio = beta * (wide(logps_a) - wide(logps_b))
    return ratio if squash is None else torch.sigmoid(ratio) - 0.5


def token_reward_regularizer(
    per_token_logps: Tensor,
    ref_per_token_logps: Tensor,
    token_rewards: Tensor,
    mask: Tensor,
    *,
    form: Form,
    beta: float = 0.1,
    weight: Tensor | None = None,
) -> Tensor:
    """Push the log-probability of each token in the direction of its reward.

        "linear"   ℓ = −w Σ_t r_t log π(y_t)                     has no minimum where r_t < 0: needs a small coefficient
        "squared"  ℓ = w Σ_t (β log π(y_t)/π_ref(y_t) − r_t)²    stops where the policy's own token reward is r_t

    After Zhou et al. 2024, arXiv:2412.02685 (T-REG), as a term beside a preference loss, on both completions of a pair.
    The paper's own form could not be checked. β and the reference act in "squared" alone.

    Args:
        per_token_logps, ref_per_token_logps: (B, T) as in `token_log_ratio`.
        token_rewards: (B, T) r, data without a gradient; not standardized per completion, which amplifies noise.
        mask: (B, T) True at the completion's tokens.
        weight: (B,) w, such as σ(−h) to act on pairs that are still ranked wrong; without a gradient; 1 if None.

    Returns:
        (B,) per completion, 0 for an empty one; NaN, without a gradient, where a counted value that it reads is NaN.

    >>> logps, rewards, mask = torch.tensor([[-1.0, -2.0]]), torch.tensor([[0.5, -0.25]]), torch.tensor([[True, True]])
    >>> token_reward_regularizer(logps, logps, rewards, mask, form="linear")
    tensor([0.])
    """
    check_same_shape("token_reward_regularizer", per_token_logps, ref_per_token_logps, token_rewards, mask)
    check_choice("token_reward_regularizer", "form", form, get_args(Form))
    logps, rewards = wide(per_token_logps), token_rewards.detach()
    implied = logps if form == "linear" else token_log_ratio(logps, ref_per_token_logps, beta=beta)
    missing = mask.bool() & (implied.isnan() | rewards.isnan())
    left_out = missing | ~mask.bool()
    implied, rewards = implied.masked_fill(left_out, 0.0), rewards.masked_fill(left_out, 0.0)
    terms = -rewards * implied if form == "linear" else (implied - rewards).square()
    total = terms.sum(dim=-1)
    if weight is not None:
        check_same_shape("token_reward_regularizer", total, weight)
        total = weight.detach() * total
    return total.masked_fill(missing.any(dim=-1), math.nan)
