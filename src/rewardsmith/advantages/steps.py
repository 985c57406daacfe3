"""Credit of steps: what is still to come after each, relative to the group, and spread over the tokens.

A step counts where `step_mask` is True; it is scored where its reward is finite too. An unscored step is absent from
every sum, mean and minimum, and its return is that of the steps after it. NaN means that nothing scored remains.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_groups, check_range, check_same_shape, check_shape
from rewardsmith.advantages.group import leave_one_out
from rewardsmith.advantages.tokens import StepTokens, holds_gaps

Returns = Literal["sum", "min", "softmin", "mean", "max"]
Baseline = Literal["token", "group"]


def step_returns(
    step_rewards: Tensor, step_mask: Tensor, *, mode: Returns = "sum", gamma: float = 1.0, temperature: float = 0.1
) -> Tensor:
    """What each step and those after it are worth together.

        sum       G_k = Σ_{t≥k} γ^{t−k} s_t
        min       G_k = min_{t≥k} s_t
        softmin   G_k = Σ_{t≥k} w_t s_t          w of `min_form_weights`, over the whole completion
        mean      G_k = 1/n_k Σ_{t≥k} s_t        n_k scored steps from k on
        max       G_k = max_{t≥k} s_t

    Cheng et al. 2025, arXiv:2504.15275 (PURE), for min and softmin. A sum pays for every further step; a minimum never
    does; a soft minimum still does a little, the more the higher its temperature.

    Args:
        step_rewards: (B, N) rewards s; NaN and ±inf are unscored, that is absent.
        step_mask: (B, N) True where there is a complete step; t − k counts steps, scored or not.
        gamma: γ in [0, 1], for "sum" alone.
        temperature: for "softmin".

    Returns:
        (B, N) returns; NaN where there is no step, and where neither it nor a later one is scored.

    >>> step_returns(torch.tensor([[0.5, 0.25, 1.0]]), torch.tensor([[True, True, True]]), mode="min")
    tensor([[0.2500, 0.2500, 1.0000]])
    """
    check_choice("step_returns", "mode", mode, get_args(Returns))
    check_range("step_returns", "gamma", gamma, 0.0, 1.0)
    if gamma != 1.0 and mode != "sum":
        raise ValueError(f"step_returns: gamma is {gamma}, but mode {mode!r} does not discount. Leave it at 1.")
    mask, absent, known = _steps("step_returns", step_rewards, step_mask)
    if mode in ("min", "max"):
        returns = _running_extreme(known, low=mode == "min")
    else:
        values = known.nan_to_num(0)
        if mode == "softmin":
            values = values * _weights("step_returns", known, temperature)
        returns = _to_go(values) if gamma == 1 else _discounted(values, mask, gamma)
        returns = _where_some_remain(returns, known.detach(), mask, mean=mode == "mean")
    return returns.add_(absent).to(torch.result_type(step_rewards, 1.0))


def min_form_weights(step_rewards: Tensor, step_mask: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Weights under which an ordinary sum of rewards becomes a soft minimum: w_k = softmax_k(−s_k / T).

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
    _, _, known = _steps("min_form_weights", step_rewards, step_mask)
    return _weights("min_form_weights", known, temperature).to(torch.result_type(step_rewards, 1.0))


def token_leave_one_out(step_rewards: Tensor, step_mask: Tensor, step_lengths: Tensor, *, group_size: int) -> Tensor:
    """Subtract what the other completions of the group earn per token, for each token of a step.

        ŝ_ik = s_ik − b_i |k|          b_i = Σ_{j≠i} R_j / Σ_{j≠i} L_j,  R = Σ_k s_k,  L = Σ_k |k| over scored steps

    Cheng et al. 2025, arXiv:2504.15275. A baseline per step would pay for merging steps. Where b is positive length
    costs, where it is negative length pays.

    Args:
        step_rewards: (B, N) rewards s, a prompt's completions consecutive; NaN and ±inf are unscored.
        step_mask: (B, N) True where there is a complete step.
        step_lengths: (B, N) tokens |k| of each step.

    Returns:
        (B, N) rewards less the baseline, NaN where unscored; 0 in a row whose group has no other row with a scored
        step, as it can be compared with nothing.

    >>> token_leave_one_out(
    ...     torch.tensor([[1.0, 1.0], [3.0, 1.0]]), torch.ones(2, 2).bool(), torch.ones(2, 2), group_size=2
    ... )
    tensor([[-1., -1.],
            [ 2.,  0.]])
    """
    _, _, known = _steps("token_leave_one_out", step_rewards, step_mask)
    check_same_shape("token_leave_one_out", step_rewards, step_lengths)
    check_groups("token_leave_one_out", known.shape[0], group_size)
    lengths = torch.add(step_lengths.to(known.dtype), known.detach(), alpha=0).nan_to_num_(0)  # 0 where unscored
    total = known.nan_to_num(0).sum(dim=1)
    rate, compared = _rate_of_others(total, lengths.sum(dim=1), _some(known), group_size)
    above = torch.addcmul(known, rate[:, None], lengths, value=-1).mul_(compared[:, None])
    return above.to(torch.result_type(step_rewards, 1.0))


def step_credit(
    rewards: Tensor,
    *,
    step_rewards: Tensor,
    step_mask: Tensor,
    step_ends: Tensor,
    completion_mask: Tensor,
    group_size: int,
    mode: Returns = "sum",
    gamma: float = 1.0,
    temperature: float = 0.1,
    baseline: Baseline = "token",
    outcome_weight: float = 0.0,
) -> Tensor:
    """Each token's credit: the return of its step above the group's, plus the outcome above the group's.

        token   A_k = G_k − b Σ_{t≥k} γ^{t−k} |t|      b = Σ_{j≠i} G_j1 / Σ_{j≠i} Σ_t γ^{t−1} |t|
        group   A_k = G_k − mean of G over the group's steps
        and, to every token, + outcome_weight · (r_i − 1/(n−1) Σ_{j≠i} r_j)

    G is `step_returns`. The first, for "sum" and "softmin", is the return of what `token_leave_one_out` leaves. Cheng
    et al. 2025, arXiv:2504.15275, which trains on mode="softmin" with outcome_weight=1.

    Differs: a separator's tokens, which begin the step that follows, keep its credit; one of the two official
    implementations sets them to 0. Tokens behind the last complete step count in no length.

    Args:
        rewards: (B,) outcomes r, a prompt's completions consecutive; read with `outcome_weight` alone.
        step_rewards, step_mask: (B, N) as in `step_returns`.
        step_ends: (B, N) token index of each step's last token.
        completion_mask: (B, T) nonzero where a completion token counts; |t| counts those of step t.
        mode, gamma, temperature: as in `step_returns`. The outcome is not discounted.

    Returns:
        (B, T) advantages, never NaN. Where nothing scored remains, after the last step, and where no other completion
        of the group has a scored step, a token gets the outcome's part alone.
    """
    check_choice("step_credit", "baseline", baseline, get_args(Baseline))
    check_shape("step_credit", "rewards", rewards, step_rewards.shape[0])
    check_groups("step_credit", rewards.shape[0], group_size)
    wide = step_rewards.to(torch.promote_types(step_rewards.dtype, torch.float32))
    returns = step_returns(wide, step_mask, mode=mode, gamma=gamma, temperature=temperature)
    placed = StepTokens("step_credit", step_ends, step_mask.bool(), completion_mask)
    if baseline == "token":
        known = torch.add(placed.lengths().to(wide.dtype), wide.detach(), alpha=0)  # 0 · inf is NaN
        tokens = step_returns(known, step_mask, gamma=gamma).nan_to_num_(0)
        credit = _above_tokens(returns, tokens, step_mask, group_size)
    else:
        credit = _above_group(returns, group_size)
    credit = credit.nan_to_num(0)
    outcome = credit.new_zeros(credit.shape[0])
    if outcome_weight:
        outcome = outcome_weight * leave_one_out(rewards, group_size=group_size).to(credit)
        credit = credit + outcome[:, None]
    return placed.spread(credit, outcome).to(torch.result_type(rewards, 1.0))


def _above_tokens(returns: Tensor, tokens: Tensor, step_mask: Tensor, group_size: int) -> Tensor:
    """(B, N) returns less what siblings earn per token for each token to go; 0 in a row without such a sibling."""
    if not returns.numel():
        return returns
    first = step_mask.bool().view(torch.int8).argmax(dim=1, keepdim=True)
    total, length = (whole.gather(1, first).squeeze(1) for whole in (returns, tokens))
    rate, compared = _rate_of_others(total.nan_to_num(0), length, total.detach().isfinite(), group_size)
    return torch.addcmul(returns, rate[:, None], tokens, value=-1).mul_(compared[:, None])


def _above_group(returns: Tensor, group_size: int) -> Tensor:
    """(B, N) returns less the mean over the group's steps; 0 in a group with fewer than two scored rows."""
    if not returns.numel():
        return returns
    rows = _some(returns).reshape(-1, group_size).sum(dim=1, keepdim=True)
    grouped = returns.reshape(rows.shape[0], -1)  # (P, G·N)
    highest = grouped.detach().nan_to_num(-math.inf).amax(dim=1, keepdim=True).nan_to_num(0, 0, 0)
    gaps = grouped - highest  # exactly 0 in a group that agrees, and so is their mean
    count = (gaps.detach() * 0).add_(1).nan_to_num_(0).sum(dim=1, keepdim=True)
    mean = gaps.nan_to_num(0).sum(dim=1, keepdim=True) / count.clamp(min=1)
    return ((gaps - mean) * (rows > 1)).reshape(returns.shape)


def _rate_of_others(total: Tensor, length: Tensor, scored: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """(B,) Σ_{j≠i} total / Σ_{j≠i} length, 0 where that has no tokens; and (B,) whether another row is scored."""
    earned, spent = _of_others(total, group_size), _of_others(length, group_size)
    counts = spent > 0
    rate = torch.where(counts, earned / torch.where(counts, spent, 1), 0)
    return rate, _of_others(scored.to(total), group_size) > 0


def _of_others(per_row: Tensor, group_size: int) -> Tensor:
    """(B,) the sum over the other rows of the group, added up without the own one rather than less it."""
    others = 1 - torch.eye(group_size, dtype=per_row.dtype, device=per_row.device)
    return (per_row.reshape(-1, 1, group_size) * others).sum(dim=2).flatten()


def _some(known: Tensor) -> Tensor:
    """(B,) True where a row holds a number."""
    if not known.shape[1]:
        return torch.zeros(known.shape[0], dtype=torch.bool, device=known.device)
    return known.detach().nan_to_num(-math.inf).amax(dim=1) > -math.inf


def _weights(caller: str, known: Tensor, temperature: float) -> Tensor:
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"{caller}: temperature is {temperature}, and a softmax needs one above 0. Use mode 'min' for the limit."
        )
    lowest = torch.finfo(known.dtype).min
    logits = (known / -temperature).clamp_(lowest / 2, -lowest / 2).nan_to_num_(lowest)
    return logits.softmax(dim=1) * _some(known)[:, None]


def _running_extreme(known: Tensor, *, low: bool) -> Tensor:
    """(B, N) the extreme from each step on; NaN where nothing is left."""
    reverse = known.flip(1).nan_to_num_(math.inf if low else -math.inf)
    extreme = (reverse.cummin(dim=1) if low else reverse.cummax(dim=1)).values.flip(1)
    return torch.add(extreme, extreme.detach(), alpha=0)  # 0 · inf is NaN


def _where_some_remain(returns: Tensor, known: Tensor, mask: Tensor, *, mean: bool) -> Tensor:
    """Returns where a scored step remains and NaN elsewhere; divided by how many remain for a mean."""
    scored = (known * 0).add_(1).nan_to_num_(0)
    if mean:
        remain = _to_go(scored)
        return (returns / remain.clamp(min=1)).add_(remain.div_(remain).sub_(1))  # 0/0 is NaN
    if bool(scored.sum(dim=1).ne(mask.view(torch.int8).sum(dim=1, dtype=torch.int32)).any()):  # some are unscored
        return torch.where(_to_go(scored) > 0, returns, math.nan)
    return returns


def _to_go(values: Tensor) -> Tensor:
    """(B, N) Σ_{t≥k} of values."""
    return values.flip(1).cumsum(dim=1).flip(1)


def _discounted(values: Tensor, mask: Tensor, gamma: float, *, width: int = 32) -> Tensor:
    """(B, N) Σ_{t≥k} γ^{steps from k to t} values_t, in blocks of `width`, so that no power of γ is divided by."""
    if holds_gaps(mask):
        order = (~mask).view(torch.int8).argsort(dim=1, stable=True)
        aligned = _discounted(values.gather(1, order), mask.gather(1, order), gamma, width=width)
        return torch.zeros_like(values).scatter(1, order, aligned)
    n_steps = values.shape[1]
    blocks = torch.nn.functional.pad(values, (0, -n_steps % width)).reshape(-1, -(-n_steps // width), width)
    within = blocks @ _powers(gamma, width, like=values)
    later = within[..., 0] @ _powers(gamma**width, blocks.shape[1], like=values)  # (B, blocks), its own included
    later = torch.nn.functional.pad(later[:, 1:], (0, 1))
    reach = gamma ** torch.arange(width, 0, -1, device=values.device).to(values)
    return torch.addcmul(within, later[..., None], reach).flatten(1)[:, :n_steps]


def _powers(gamma: float, size: int, *, like: Tensor) -> Tensor:
    """(size, size) γ^{t−k} at row t, column k ≤ t; 0 above."""
    place = torch.arange(size, device=like.device)
    return (gamma ** (place[:, None] - place).clamp(min=0).to(like)).tril()


def _steps(caller: str, step_rewards: Tensor, step_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mask as bool; 0 where there is a step, else NaN; the rewards in float32 at least, NaN where unscored.

    On a CPU arithmetic with NaN is several times faster than to select by a mask.
    """
    check_shape(caller, "step_rewards", step_rewards, None, None)
    check_same_shape(caller, step_rewards, step_mask)
    wide, mask = step_rewards.to(torch.promote_types(step_rewards.dtype, torch.float32)), step_mask.bool()
    whole = torch.int64 if wide.dtype == torch.float64 else torch.int32
    absent = (mask.view(torch.int8) - 1).to(whole).view(wide.dtype)  # −1 has all bits set, and so has a NaN
    return mask, absent, torch.add(wide, wide.detach(), alpha=0).add_(absent)  # 0 · inf is NaN
