"""Filters as weights: 1 on what is kept, 0 on what is dropped; multiply them to combine."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_groups, check_range, check_shape

RankRule = Literal["bw", "br", "bon", "wr", "random", "middle", "pow", "all"]


def drop_dead_groups(rewards: Tensor, *, group_size: int, tolerance: float = 0.0) -> Tensor:
    """Drop groups whose scored rewards agree: they hold no gradient, only a share of the denominator.

    Yu et al. 2025, arXiv:2503.14476 (DAPO's dynamic sampling, as weights).

    Args:
        rewards: (B,) rewards, a prompt's completions consecutive; NaN and ±inf are unscored.
        tolerance: a spread (largest minus smallest) of at most this is agreement.

    Returns:
        (B,) weights: 1 for every row of a live group, 0 for a dead one. A group with fewer than two scored rows is
        dead. All 0 if every group is.

    >>> drop_dead_groups(torch.tensor([1.0, 1.0, 0.0, 1.0]), group_size=2)
    tensor([0., 0., 1., 1.])
    """
    check_shape("drop_dead_groups", "rewards", rewards, None)
    check_groups("drop_dead_groups", rewards.shape[0], group_size)
    check_range("drop_dead_groups", "tolerance", tolerance, 0.0, math.inf)
    wide = rewards.detach().to(torch.promote_types(rewards.dtype, torch.float32))
    grouped = wide.reshape(-1, group_size)  # (P, G)
    low = torch.where(grouped.isfinite(), grouped, math.inf).amin(dim=1, keepdim=True)
    high = torch.where(grouped.isfinite(), grouped, -math.inf).amax(dim=1, keepdim=True)
    live = high - low > tolerance
    return live.expand_as(grouped).flatten().to(torch.result_type(rewards, 1.0))


def drop_unscored(rewards: Tensor) -> Tensor:
    """Drop rows without a finite reward.

    Args:
        rewards: (B,) rewards; NaN and ±inf are unscored.

    Returns:
        (B,) weights: 1 where scored, 0 where not.

    >>> drop_unscored(torch.tensor([0.0, float("nan"), float("-inf")]))
    tensor([1., 0., 0.])
    """
    check_shape("drop_unscored", "rewards", rewards, None)
    return rewards.detach().isfinite().to(torch.result_type(rewards, 1.0))


def rank_filter(
    rewards: Tensor,
    *,
    group_size: int,
    rule: RankRule = "bw",
    n_keep: int = 2,
    power: float = 2.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Policy filtration: keep of each group the ranks at which the reward model can be trusted.

        w_i = keep(rank of r_i in its group) / mean of keep over the kept          rule "pow": keep = |r_i|^p

        "bw" best and worst · "br" best and a random other · "wr" worst and a random other · "bon" the best ·
        "random" any n · "middle" the n nearest the median rank · "pow" all, by |r|^p · "all" all, equally

    Zhang, Shen et al. 2024, arXiv:2409.06957, Sec. 3 (BW, BR, BoN, pow). Which rule suits a reward model is measured,
    not assumed: `rewardsmith.auditing.choose_filter`. "random", "wr" and "middle" are there to compare with.
    Compute advantages on the full group and multiply: within the kept pair alone every advantage is ± one constant,
    and "bon" leaves nothing to compare with.
    Differs: "br" draws one other row, where the official reweighting samples with 0.4 for the best and 0.1 for each
    other. The rank is within the group; verl's `use_pf_ppo` takes the largest and smallest reward of the whole batch.

    Args:
        rewards: (B,) rewards, a prompt's completions consecutive; NaN and ±inf are unscored and never kept.
        n_keep: n of "random" and "middle", which keep what there is where fewer rows are scored.
        power: p > 0 of "pow"; a row of reward 0 is dropped.
        generator: breaks ties and draws the random rows; seed it alike on every process. None draws the same numbers
            at every call, so that the function has no state and processes agree; that is fair as long as the order
            of a prompt's completions means nothing.

    Returns:
        (B,) weights with mean 1 over the kept rows of each group; a group without a scored row gets 0.

    >>> rank_filter(torch.tensor([0.3, 0.9, 0.5, 0.1]), group_size=4)
    tensor([0., 1., 0., 1.])
    """
    check_shape("rank_filter", "rewards", rewards, None)
    check_groups("rank_filter", rewards.shape[0], group_size)
    check_choice("rank_filter", "rule", rule, get_args(RankRule))
    check_range("rank_filter", "n_keep", n_keep, 1, math.inf)
    check_range("rank_filter", "power", power, torch.finfo(torch.float32).tiny, math.inf)
    wide = rewards.detach().to(torch.promote_types(rewards.dtype, torch.float32))
    grouped = wide.reshape(-1, group_size)  # (P, G)
    scored = grouped.isfinite()
    raw = _powers(grouped, scored, power) if rule == "pow" else _kept(grouped, scored, rule, n_keep, generator)
    mean = raw.sum(dim=1, keepdim=True) / (raw > 0).sum(dim=1, keepdim=True).clamp(min=1)
    weights = raw / torch.where(mean > 0, mean, 1)
    return weights.flatten().to(torch.result_type(rewards, 1.0))


def _powers(grouped: Tensor, scored: Tensor, power: float) -> Tensor:
    """(P, G) |r|^p over the group's largest, so that no power overflows; 0 where unscored."""
    size = torch.where(scored, grouped, 0).abs()
    largest = size.amax(dim=1, keepdim=True)
    return (size / torch.where(largest > 0, largest, 1)) ** power


def _kept(grouped: Tensor, scored: Tensor, rule: RankRule, n_keep: int, generator: torch.Generator | None) -> Tensor:
    """(P, G) 1 for the rows whose rank the rule keeps, ties in random order; 0 for the others and the unscored."""
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    draws = torch.rand(2, *grouped.shape, generator=generator, device=generator.device, dtype=torch.float64)
    ties, others = draws.to(grouped.device)
    top = scored.sum(dim=1, keepdim=True) - 1
    rank = _rank(torch.where(scored, grouped, math.inf), ties)  # 0 for the worst, `top` for the best
    best, worst = rank == top, rank == 0
    kept = {
        "bw": lambda: best | worst,
        "br": lambda: _rank(torch.where(scored, torch.where(best, -1, others), math.inf), ties) < 2,
        "wr": lambda: _rank(torch.where(scored, torch.where(worst, -1, others), math.inf), ties) < 2,
        "bon": lambda: best,
        "random": lambda: _rank(torch.where(scored, others, math.inf), ties) < n_keep,
        "middle": lambda: _rank(torch.where(scored, (2 * rank - top).abs(), math.inf), others) < n_keep,
        "all": lambda: scored,
    }[rule]()
    return (kept & scored).to(grouped)


def _rank(keys: Tensor, ties: Tensor) -> Tensor:
    """(P, G) how many of the row precede each entry, upward by key and then by `ties`."""
    shuffled = ties.argsort(dim=1)
    order = shuffled.gather(1, keys.gather(1, shuffled).argsort(dim=1, stable=True))  # entries, best placed last
    return order.argsort(dim=1)
