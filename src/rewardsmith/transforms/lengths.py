"""Length in the reward: a fixed or relative overlong penalty, and a bonus for shorter right answers."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_groups, check_range, check_same_shape, check_shape
from rewardsmith.transforms.noise import _check_verdicts
from rewardsmith.types import Traits, declares

ApplyTo = Literal["correct", "all", "incorrect"]
LengthLink = Literal["sigmoid_z", "linear", "cosine"]
Stats = Literal["correct", "group"]


def _check_span(caller: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"{caller}: low={low} must be below high={high}, both finite: the penalty rises between them. Widen them."
        )


def _applies(caller: str, rewards: Tensor, correct: Tensor | None, apply_to: ApplyTo) -> Tensor:
    """Return (B,) True where the penalty counts."""
    check_choice(caller, "apply_to", apply_to, get_args(ApplyTo))
    if apply_to == "all":
        return torch.ones_like(rewards, dtype=torch.bool)
    return _right(caller, rewards, correct) == (apply_to == "correct")


def _right(caller: str, rewards: Tensor, correct: Tensor | None) -> Tensor:
    """Return (B,) True where right, by `correct` or a reward above 0; unknown is not right."""
    if correct is None:
        return rewards > 0
    check_same_shape(caller, rewards, correct)
    _check_verdicts(caller, "correct", correct)
    return correct == 1


@declares(Traits(scope="row", affine=False))
def overlong_penalty(
    rewards: Tensor,
    lengths: Tensor,
    *,
    low: float,
    high: float,
    weight: float = 1.0,
    correct: Tensor | None = None,
    apply_to: ApplyTo = "correct",
) -> Tensor:
    """Subtract a penalty for length that rises between two fixed lengths.

        u = r − w · clip( (|y| − low) / (high − low), 0, 1 )

    Yu et al. 2025, arXiv:2503.14476 (DAPO's soft overlong punishment: apply_to="all", high the cap on tokens, low the
    cap less its buffer). Gulhane & Indurthi 2025, arXiv:2510.05283, have such a term, whose formula is not public.

    Args:
        rewards: (B,) rewards; NaN stays NaN, ±inf stays ±inf.
        lengths: (B,) completion lengths in tokens; NaN (unknown) makes a penalized row unscored.
        low, high: start and end of the ramp.
        weight: w; below the difference of right and wrong, a long right answer never falls below a wrong one.
        correct: (B,) verdicts ∈ {0, 1}, NaN counting as wrong; None takes r > 0 as right.
        apply_to: "correct" penalizes right answers only. "all" penalizes wrong ones too, which teaches short wrong
            answers: in a group that is all wrong, length is the only gradient.

    Returns:
        (B,) rewards less the penalty.

    >>> overlong_penalty(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([100, 150, 150]), low=100, high=200)
    tensor([1.0000, 0.5000, 0.0000])
    """
    check_same_shape("overlong_penalty", rewards, lengths)
    _check_span("overlong_penalty", low, high)
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    charged = _applies("overlong_penalty", wide, correct, apply_to)
    ramp = ((lengths.to(wide) - low) / (high - low)).clamp(0, 1)
    return (wide - weight * torch.where(charged, ramp, 0)).to(torch.result_type(rewards, 1.0))


class _Lengths(NamedTuple):
    """(P, 1) statistics of a group's lengths over the rows that count; 0 where none does."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


def _measure(lengths: Tensor, counted: Tensor) -> _Lengths:
    """Return statistics of (P, G) lengths over the rows of `counted` with a finite length; Bessel's correction."""
    counted = counted & lengths.isfinite()
    number = counted.sum(dim=1, keepdim=True)
    mean = torch.where(counted, lengths, 0).sum(dim=1, keepdim=True) / number.clamp(min=1)
    squares = torch.where(counted, lengths - mean, 0).square().sum(dim=1, keepdim=True)
    low = torch.where(counted, lengths, math.inf).amin(dim=1, keepdim=True)
    high = torch.where(counted, lengths, -math.inf).amax(dim=1, keepdim=True)
    some = number > 0
    std = (squares / (number - 1).clamp(min=1)).sqrt()
    return _Lengths(mean, std, torch.where(some, low, 0), torch.where(some, high, 0))


@declares(Traits(scope="prompt", affine=False))
def relative_length_penalty(
    rewards: Tensor,
    lengths: Tensor,
    *,
    group_size: int,
    low: float = 0.0,
    high: float = 2.0,
    weight: float = 1.0,
    correct: Tensor | None = None,
    apply_to: ApplyTo = "correct",
    stats: Stats = "correct",
    eps: float = 1.0,
) -> Tensor:
    """Subtract `overlong_penalty` on a ramp in standard deviations of the prompt's lengths above their mean.

        u = r − w · clip( (ζ − low) / (high − low), 0, 1 ),   ζ = (|y| − μ_g) / (s_g + eps)

    The generalized length term of Gulhane & Indurthi 2025, arXiv:2510.05283, with the statistics of Dai et al. 2025,
    arXiv:2505.18086.

    Args:
        rewards, lengths, weight, correct, apply_to: as in `overlong_penalty`.
        low, high: start and end of the ramp, in standard deviations.
        stats: μ and s (Bessel's correction) over the prompt's right completions, or over all scored ones ("group").
            A completion without a finite length is left out of them.
        eps: one token. Where lengths agree, s = 0, and a difference of one token must not count as huge.

    Returns:
        (B,) rewards less the penalty. Under stats="correct" a group without a right completion has no penalty.
    """
    caller = "relative_length_penalty"
    check_shape(caller, "rewards", rewards, None)
    check_same_shape(caller, rewards, lengths)
    check_groups(caller, rewards.shape[0], group_size)
    check_choice(caller, "stats", stats, get_args(Stats))
    _check_span(caller, low, high)
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    charged = _applies(caller, wide, correct, apply_to).reshape(-1, group_size)
    grouped = wide.reshape(-1, group_size)  # (P, G)
    counted = ~grouped.isnan()
    if stats == "correct":
        counted = counted & _right(caller, wide, correct).reshape(-1, group_size)
        charged = charged & counted.any(dim=1, keepdim=True)
    tokens = lengths.to(wide).reshape(-1, group_size)
    group = _measure(tokens, counted)
    ramp = (((tokens - group.mean) / (group.std + eps) - low) / (high - low)).clamp(0, 1)
    penalized = grouped - weight * torch.where(charged, ramp, 0)
    return penalized.flatten().to(torch.result_type(rewards, 1.0))


@declares(Traits(scope="prompt", affine=False, bounded=(0.0, 1.0)))
def length_shaped(
    rewards: Tensor,
    lengths: Tensor,
    *,
    group_size: int,
    alpha: float = 0.2,
    link: LengthLink = "sigmoid_z",
    stats: Stats = "correct",
    eps: float = 1.0,
    truncated: Tensor | None = None,
) -> Tensor:
    """Reward the shorter right completions of a prompt more; wrong ones stay at 0.

        u = z · (1 − α f(|y|))        sigmoid_z: f = σ( (|y| − μ_c) / (s_c + eps) )
        linear: f = ½ + (|y| − m_c) / (h_c − l_c + eps),  m_c = (l_c + h_c) / 2        cosine: ½ (1 − cos π f_linear)

    Dai et al. 2025, arXiv:2505.18086 (step 2, for all prompts); μ_c, s_c (Bessel's correction), shortest l_c and
    longest h_c over the prompt's right completions.

    Do not combine it with a group z-score. In a group whose answers are all right, the z-score rescales any α > 0 to
    unit variance, so that a tiny penalty pushes as hard as a large one on the easiest prompts. Use `group_centered`.

    Args:
        rewards: (B,) correctness z ∈ {0, 1}, a prompt's completions consecutive; NaN stays NaN and is left out of
            statistics.
        lengths: (B,) completion lengths in tokens. NaN (unknown) makes a right row unscored. NaN and ±inf are left out.
        alpha: α in [0, 1], the largest penalty of a right answer, which stays above a wrong one.
        link: f.
        stats: "correct" as above, or "group": over all scored completions that were not cut off.
        eps: one token. Where lengths agree f = ½; a smaller eps would turn a difference of one token into 0 or 1.
        truncated: (B,) True where the completion was cut off: it counts as wrong and is left out of the statistics.

    Returns:
        (B,) rewards in [0, 1].

    >>> length_shaped(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([10, 10, 5]), group_size=3)
    tensor([0.9000, 0.9000, 0.0000])
    """
    caller = "length_shaped"
    check_choice(caller, "link", link, get_args(LengthLink))
    check_choice(caller, "stats", stats, get_args(Stats))
    check_range(caller, "alpha", alpha, 0.0, 1.0)
    check_range(caller, "eps", eps, 1e-6, math.inf)
    check_same_shape(caller, rewards, lengths)
    right, cut = _solved(caller, rewards, group_size, truncated)
    tokens = lengths.to(right).reshape(-1, group_size)
    counted = right == 1 if stats == "correct" else ~right.isnan() & ~cut
    group = _measure(tokens, counted)
    if link == "sigmoid_z":
        f = torch.sigmoid((tokens - group.mean) / (group.std + eps))
    else:
        middle, spread = (group.low + group.high) / 2, group.high - group.low + eps
        place = (0.5 + (tokens - middle) / spread).clamp(0, 1)
        f = place if link == "linear" else (1 - torch.cos(math.pi * place)) / 2
    shaped = right * (1 - alpha * torch.where(right == 1, f, 0))
    return shaped.flatten().to(torch.result_type(rewards, 1.0))


def _solved(caller: str, rewards: Tensor, group_size: int, truncated: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return (P, G) correctness, where a cut-off completion counts as wrong, and True where it was cut off."""
    check_shape(caller, "rewards", rewards, None)
    check_groups(caller, rewards.shape[0], group_size)
    _check_verdicts(caller, "rewards", rewards)
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32)).reshape(-1, group_size)
    if truncated is None:
        return wide, torch.zeros_like(wide, dtype=torch.bool)
    check_same_shape(caller, rewards, truncated)
    cut = (truncated == 1).reshape(-1, group_size)
    return torch.where(cut & ~wide.isnan(), 0, wide), cut
