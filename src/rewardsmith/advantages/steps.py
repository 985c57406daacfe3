"""Advantages of steps: the return of each step relative to the group, spread over its tokens.

A step counts where `step_mask` is True; it is scored where its reward is finite too. An unscored step is absent from
every sum, mean and minimum, and its return is that of the steps after it. NaN means that nothing scored remains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_groups, check_range, check_same_shape, check_shape
from rewardsmith.advantages.group import leave_one_out
from rewardsmith.advantages.tokens import spread, step_lengths, step_of_token
from rewardsmith.describe import describe

Baseline = Literal["token", "group"]


def step_returns(step_rewards: Tensor, step_mask: Tensor, *, gamma: float = 1.0) -> Tensor:
    """Sum the rewards of each step and those after it: G_k = Σ_{t≥k} γ^{t−k} s_t.

    A sum rewards every further step; `min_returns` never does.

    Args:
        step_rewards: (B, N) rewards s; NaN and ±inf are unscored, that is absent.
        step_mask: (B, N) True where there is a complete step; t − k counts steps, scored or not.
        gamma: γ in [0, 1].

    Returns:
        (B, N) returns; NaN where there is no step, and where neither it nor a later one is scored.

    >>> step_returns(torch.tensor([[0.5, 0.25, 1.0]]), torch.tensor([[True, True, True]]))
    tensor([[1.7500, 1.2500, 1.0000]])
    """
    check_range("step_returns", "gamma", gamma, 0.0, 1.0)
    known = _known("step_returns", step_rewards, step_mask)
    values, mask = known.nan_to_num(0), step_mask.bool()
    if gamma == 1:
        returns = _to_go(values)
    else:
        later, columns = values.new_zeros(len(values)), []
        for k in reversed(range(values.shape[1])):
            later = torch.where(mask[:, k], values[:, k] + gamma * later, later)
            columns.append(later)
        returns = torch.stack(columns[::-1], dim=1) if columns else values
    return _where_some_remain(returns, known, mask).to(torch.result_type(step_rewards, 1.0))


def min_returns(step_rewards: Tensor, step_mask: Tensor) -> Tensor:
    """Take the least reward of each step and those after it: G_k = min_{t≥k} s_t.

    Cheng et al. 2025, arXiv:2504.15275 (PURE). Arguments and result as in `step_returns`.

    >>> min_returns(torch.tensor([[0.5, 0.25, 1.0]]), torch.tensor([[True, True, True]]))
    tensor([[0.2500, 0.2500, 1.0000]])
    """
    known = _known("min_returns", step_rewards, step_mask)
    lowest = torch.where(known.isnan(), math.inf, known).flip(1).cummin(dim=1).values.flip(1)
    return _where_some_remain(lowest, known, step_mask.bool()).to(torch.result_type(step_rewards, 1.0))


def max_returns(step_rewards: Tensor, step_mask: Tensor) -> Tensor:
    """Take the largest reward of each step and those after it: G_k = max_{t≥k} s_t, to compare with `min_returns`.

    Arguments and result as in `step_returns`.
    """
    known = _known("max_returns", step_rewards, step_mask)
    highest = torch.where(known.isnan(), -math.inf, known).flip(1).cummax(dim=1).values.flip(1)
    return _where_some_remain(highest, known, step_mask.bool()).to(torch.result_type(step_rewards, 1.0))


def mean_returns(step_rewards: Tensor, step_mask: Tensor) -> Tensor:
    """Average the rewards of each step and those after it: G_k = 1/n_k Σ_{t≥k} s_t over the n_k scored steps from k on.

    Arguments and result as in `step_returns`.
    """
    known = _known("mean_returns", step_rewards, step_mask)
    mean = _to_go(known.nan_to_num(0)) / _to_go((~known.isnan()).to(known)).clamp(min=1)
    return _where_some_remain(mean, known, step_mask.bool()).to(torch.result_type(step_rewards, 1.0))


def softmin_returns(step_rewards: Tensor, step_mask: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Sum the rewards of each step and those after it, weighted to a soft minimum of the chain.

        G_k = Σ_{t≥k} w_t s_t          w of `min_form_weights`, over the whole completion

    Cheng et al. 2025, arXiv:2504.15275 (PURE). A soft minimum rewards further steps a little, and more at a higher
    temperature. Other arguments and result as in `step_returns`.
    """
    known = _known("softmin_returns", step_rewards, step_mask)
    returns = _to_go(known.nan_to_num(0) * _weights("softmin_returns", known, temperature))
    return _where_some_remain(returns, known, step_mask.bool()).to(torch.result_type(step_rewards, 1.0))


def min_form_weights(step_rewards: Tensor, step_mask: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Weigh steps so that an ordinary sum of rewards becomes a soft minimum: w_k = softmax_k(−s_k / T).

        Σ_k w_k s_k → min_k s_k  as T → 0

    Cheng et al. 2025, arXiv:2504.15275.

    Args:
        step_rewards: (B, N) rewards s; NaN and ±inf are unscored.
        step_mask: (B, N) True where there is a complete step.
        temperature: T > 0.

    Returns:
        (B, N) weights that sum to 1 over a row's scored steps and are 0 elsewhere.

    >>> min_form_weights(torch.tensor([[0.5, 0.5, float("nan")]]), torch.tensor([[True, True, True]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    known = _known("min_form_weights", step_rewards, step_mask)
    return _weights("min_form_weights", known, temperature).to(torch.result_type(step_rewards, 1.0))


def token_leave_one_out(step_rewards: Tensor, step_mask: Tensor, step_lengths: Tensor, *, group_size: int) -> Tensor:
    """Subtract from each step the average reward per token of the group's other completions, times its tokens.

        ŝ_ik = s_ik − b_i |k|          b_i = Σ_{j≠i} R_j / Σ_{j≠i} L_j,  R = Σ_k s_k,  L = Σ_k |k| over scored steps

    Cheng et al. 2025, arXiv:2504.15275. A baseline per step would favor merged steps. A positive b makes length a
    cost, a negative b makes it a gain.

    Args:
        step_rewards: (B, N) rewards s, a prompt's completions consecutive; NaN and ±inf are unscored.
        step_mask: (B, N) True where there is a complete step.
        step_lengths: (B, N) tokens |k| of each step.

    Returns:
        (B, N) rewards less the baseline, NaN where unscored; 0 in a row whose group has no other row with a scored
        step, as nothing can be compared.

    >>> token_leave_one_out(
    ...     torch.tensor([[1.0, 1.0], [3.0, 1.0]]), torch.ones(2, 2).bool(), torch.ones(2, 2), group_size=2
    ... )
    tensor([[-1., -1.],
            [ 2.,  0.]])
    """
    known = _known("token_leave_one_out", step_rewards, step_mask)
    check_same_shape("token_leave_one_out", step_rewards, step_lengths)
    check_groups("token_leave_one_out", known.shape[0], group_size)
    lengths = torch.where(known.isnan(), 0, step_lengths.to(known.dtype))
    total = known.nan_to_num(0).sum(dim=1)
    rate, compared = _rate_of_others(total, lengths.sum(dim=1), ~known.isnan().all(dim=1), group_size)
    above = torch.addcmul(known, rate[:, None], lengths, value=-1) * compared[:, None]
    return above.to(torch.result_type(step_rewards, 1.0))


def step_credit(
    rewards: Tensor,
    *,
    step_rewards: Tensor,
    step_mask: Tensor,
    step_ends: Tensor,
    completion_mask: Tensor,
    group_size: int,
    returns: Callable[..., Tensor] = step_returns,
    gamma: float = 1.0,
    baseline: Baseline = "token",
    outcome_weight: float = 0.0,
) -> Tensor:
    """Return each token's credit: the return of its step relative to the group, plus the outcome relative to the group.

        token   A_k = G_k − b Σ_{t≥k} γ^{t−k} |t|      b = Σ_{j≠i} G_j1 / Σ_{j≠i} Σ_t γ^{t−1} |t|
        group   A_k = G_k − mean of G over the group's steps
        and, to every token, + outcome_weight · (r_i − 1/(n−1) Σ_{j≠i} r_j)

    G is `returns`. The first, for `step_returns` and `softmin_returns`, is the return of the rewards after
    `token_leave_one_out`. Cheng et al. 2025, arXiv:2504.15275, train on `softmin_returns` with outcome_weight=1.

    Differs: a separator's tokens, which begin the next step, keep its credit; one of the two official
    implementations sets them to 0. Tokens after the last complete step count in no length.

    Args:
        rewards: (B,) outcomes r, a prompt's completions consecutive; read only with `outcome_weight`.
        step_rewards, step_mask: (B, N) as in `step_returns`.
        step_ends: (B, N) token index of each step's last token.
        completion_mask: (B, T) nonzero where a completion token counts; |t| counts those of step t.
        returns: step rewards and mask to returns G, both (B, N), such as `min_returns`; bind options by `partial`.
        gamma: γ in [0, 1], which only `step_returns` has. The outcome is not discounted.

    Returns:
        (B, T) advantages, never NaN. A token gets the outcome's part alone after the last step, where no scored step
        remains, and where no other completion of the group has a scored step.
    """
    check_choice("step_credit", "baseline", baseline, get_args(Baseline))
    check_shape("step_credit", "rewards", rewards, step_rewards.shape[0])
    check_groups("step_credit", rewards.shape[0], group_size)
    if gamma != 1:
        if returns is not step_returns:
            raise ValueError(
                f"step_credit: gamma is {gamma}, but {describe(returns)} does not discount. Leave it at 1."
            )
        returns = partial(step_returns, gamma=gamma)
    step = step_of_token("step_credit", step_ends, step_mask, completion_mask)
    to_come = returns(step_rewards.to(torch.promote_types(step_rewards.dtype, torch.float32)), step_mask)
    credit = to_come
    if baseline == "token" and to_come.numel():
        lengths = step_lengths(step_ends, step_mask, completion_mask).to(to_come.dtype)
        lengths = torch.where(step_rewards.isfinite(), lengths, math.nan)
        tokens = step_returns(lengths, step_mask, gamma=gamma).nan_to_num(0)
        first = step_mask.bool().int().argmax(dim=1, keepdim=True)
        total, length = (whole.gather(1, first).squeeze(1) for whole in (to_come, tokens))
        rate, compared = _rate_of_others(total.nan_to_num(0), length, ~total.isnan(), group_size)
        credit = torch.addcmul(to_come, rate[:, None], tokens, value=-1) * compared[:, None]
    elif to_come.numel():
        known = ~to_come.isnan()
        rows = known.any(dim=1).reshape(-1, group_size).sum(dim=1, keepdim=True)
        grouped, known = to_come.reshape(len(rows), -1), known.reshape(len(rows), -1)  # (P, G·N)
        highest = torch.where(known, grouped.detach(), -math.inf).amax(dim=1, keepdim=True)
        deviations = grouped - torch.where(highest.isfinite(), highest, 0)  # exactly 0 in a group that agrees
        mean = deviations.nan_to_num(0).sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp(min=1)
        credit = ((deviations - mean) * (rows > 1)).reshape(to_come.shape)
    credit = credit.nan_to_num(0)
    outcome = credit.new_zeros(credit.shape[0])
    if outcome_weight:
        outcome = outcome_weight * leave_one_out(rewards, group_size=group_size).to(credit)
        credit = credit + outcome[:, None]
    return spread(credit, outcome, step, completion_mask).to(torch.result_type(rewards, 1.0))


def _rate_of_others(total: Tensor, length: Tensor, scored: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Return (B,) Σ_{j≠i} total / Σ_{j≠i} length (0 without tokens), and (B,) whether another row is scored."""
    earned, spent = _of_others(total, group_size), _of_others(length, group_size)
    counts = spent > 0
    rate = torch.where(counts, earned / torch.where(counts, spent, 1), 0)
    return rate, _of_others(scored.to(total), group_size) > 0


def _of_others(per_row: Tensor, group_size: int) -> Tensor:
    """Return (B,) the sum over the other rows of the group, without subtraction of the own one, which rounds."""
    others = 1 - torch.eye(group_size, dtype=per_row.dtype, device=per_row.device)
    return (per_row.reshape(-1, 1, group_size) * others).sum(dim=2).flatten()


def _weights(caller: str, known: Tensor, temperature: float) -> Tensor:
    """Return (B, N) softmax(−s/T) over the scored steps of each row; 0 elsewhere."""
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"{caller}: temperature is {temperature}, and a softmax needs one above 0. Use min_returns for the limit."
        )
    lowest = torch.finfo(known.dtype).min
    logits = (known / -temperature).clamp(lowest / 2, -lowest / 2).nan_to_num(lowest)
    return torch.where(known.isnan(), 0, logits.softmax(dim=1))


def _to_go(values: Tensor) -> Tensor:
    """Return (B, N) Σ_{t≥k} of values."""
    return values.flip(1).cumsum(dim=1).flip(1)


def _where_some_remain(returns: Tensor, known: Tensor, mask: Tensor) -> Tensor:
    """Keep the returns of steps from which on something is scored, NaN elsewhere."""
    return torch.where(mask & (_to_go((~known.isnan()).int()) > 0), returns, math.nan)


def _known(caller: str, step_rewards: Tensor, step_mask: Tensor) -> Tensor:
    """Return (B, N) the rewards in float32 at least, NaN where there is no scored step."""
    check_shape(caller, "step_rewards", step_rewards, None, None)
    check_same_shape(caller, step_rewards, step_mask)
    wide = step_rewards.to(torch.promote_types(step_rewards.dtype, torch.float32))
    return torch.where(step_mask.bool() & wide.isfinite(), wide, math.nan)
