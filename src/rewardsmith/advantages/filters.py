"""Filters as weights: 1 for kept rows, 0 for dropped ones; multiply them to combine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_shape
from rewardsmith.advantages.group import in_groups


def drop_dead_groups(rewards: Tensor, *, group_size: int, tolerance: float = 0.0) -> Tensor:
    """Drop groups whose scored rewards agree: they have no gradient and only add to the denominator.

    Yu et al. 2025, arXiv:2503.14476 (DAPO's dynamic sampling, as weights).

    Args:
        rewards: (B,) rewards, a prompt's completions consecutive; NaN and ±inf are unscored.
        tolerance: rewards agree if their spread (largest minus smallest) is at most this.

    Returns:
        (B,) weights: 1 for every row of a live group, 0 for a dead one. A group with fewer than two scored rows is
        dead. All 0 if every group is.

    >>> drop_dead_groups(torch.tensor([1.0, 1.0, 0.0, 1.0]), group_size=2)
    tensor([0., 0., 1., 1.])
    """
    check_range("drop_dead_groups", "tolerance", tolerance, 0.0, math.inf)
    grouped, scored = _grouped("drop_dead_groups", rewards, group_size)
    low = torch.where(scored, grouped, math.inf).amin(dim=1, keepdim=True)
    high = torch.where(scored, grouped, -math.inf).amax(dim=1, keepdim=True)
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
    n_best: int = 1,
    n_worst: int = 1,
    n_random: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Keep only some ranks of each group, those at which the reward model can be trusted (policy filtration).

        w_i = 1 for the `n_best` highest, the `n_worst` lowest and `n_random` others of the group, else 0

    Zhang, Shen et al. 2024, arXiv:2409.06957, Sec. 3: BW is best and worst; BR n_worst=0, n_random=1; BoN n_worst=0.
    `rewardsmith.measures.choose_filter` measures which ranks suit a reward model. Compute advantages on the full group
    and multiply: within the kept pair alone every advantage is ± one constant, and within the one row of BoN it is 0.
    Differs: BR draws one other row, where the official reweighting samples with 0.4 for the best and 0.1 for each
    other. The rank is within the group; verl's `use_pf_ppo` takes the largest and smallest reward of the whole batch.

    Args:
        rewards: (B,) rewards, a prompt's completions consecutive; NaN and ±inf are unscored and never kept.
        n_best, n_worst, n_random: number of each; all of them where fewer rows are scored.
        generator: breaks ties and draws the random rows; use the same seed on every process. None draws the same
            numbers at every call, so the function has no state and processes agree. That is fair while the order of a
            prompt's completions carries no information.

    Returns:
        (B,) weights, 1 for kept rows.

    >>> rank_filter(torch.tensor([0.3, 0.9, 0.5, 0.1]), group_size=4)
    tensor([0., 1., 0., 1.])
    """
    for name, number in (("n_best", n_best), ("n_worst", n_worst), ("n_random", n_random)):
        check_range("rank_filter", name, number, 0, math.inf)
    if n_best + n_worst + n_random < 1:
        raise ValueError(
            "rank_filter: n_best, n_worst and n_random are 0, so nothing is kept. Set one of them to at least 1."
        )
    grouped, scored = _grouped("rank_filter", rewards, group_size)
    ties, others = _draws(grouped, generator)
    rank = _rank(torch.where(scored, grouped, math.inf), ties)  # 0 for the worst
    n_scored = scored.sum(dim=1, keepdim=True)
    kept = scored & ((rank < n_worst) | (rank >= n_scored - n_best))
    rest = scored & ~kept
    kept = kept | (rest & (_rank(torch.where(rest, others, math.inf), ties) < n_random))
    return kept.flatten().to(torch.result_type(rewards, 1.0))


def middle_filter(
    rewards: Tensor, *, group_size: int, n_keep: int = 2, generator: torch.Generator | None = None
) -> Tensor:
    """Keep the rows of each group whose ranks are nearest the median rank, to compare with `rank_filter`.

        w_i = 1[ |rank r_i − (n − 1)/2| among the `n_keep` smallest of the group's n scored rows ]

    Args:
        rewards, generator: as in `rank_filter`.

    Returns:
        (B,) weights, 1 for kept rows.
    """
    check_range("middle_filter", "n_keep", n_keep, 1, math.inf)
    grouped, scored = _grouped("middle_filter", rewards, group_size)
    ties, others = _draws(grouped, generator)
    rank = _rank(torch.where(scored, grouped, math.inf), ties)
    off = (2 * rank - scored.sum(dim=1, keepdim=True) + 1).abs()
    kept = scored & (_rank(torch.where(scored, off, math.inf), others) < n_keep)
    return kept.flatten().to(torch.result_type(rewards, 1.0))


def power_filter(rewards: Tensor, *, group_size: int, power: float = 2.0) -> Tensor:
    """Weigh each row by a power of its reward: w_i = |r_i|^p / mean of |r_j|^p over the group's kept rows.

    Zhang, Shen et al. 2024, arXiv:2409.06957, Sec. 3 (pow).

    Args:
        rewards: (B,) rewards, a prompt's completions consecutive; NaN, ±inf and 0 are dropped.
        power: p > 0.

    Returns:
        (B,) weights with mean 1 over the kept rows of each group; a group without one gets 0.

    >>> power_filter(torch.tensor([1.0, -2.0, 0.0, 0.0]), group_size=4)
    tensor([0.4000, 1.6000, 0.0000, 0.0000])
    """
    check_range("power_filter", "power", power, torch.finfo(torch.float32).tiny, math.inf)
    grouped, scored = _grouped("power_filter", rewards, group_size)
    size = torch.where(scored, grouped, 0).abs()
    largest = size.amax(dim=1, keepdim=True)  # after division by it, no power overflows
    raw = (size / torch.where(largest > 0, largest, 1)) ** power
    mean = raw.sum(dim=1, keepdim=True) / (raw > 0).sum(dim=1, keepdim=True).clamp(min=1)
    return (raw / torch.where(mean > 0, mean, 1)).flatten().to(torch.result_type(rewards, 1.0))


def _grouped(caller: str, rewards: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Return (P, G) rewards, in float32 at least, and which of them are scored."""
    grouped = in_groups(caller, rewards.detach(), group_size)
    return grouped, grouped.isfinite()


def _draws(grouped: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return (2, P, G) uniform numbers, for ties and for the choice of rows."""
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    draws = torch.rand(2, *grouped.shape, generator=generator, device=generator.device, dtype=torch.float64)
    return draws.to(grouped.device)


def _rank(keys: Tensor, ties: Tensor) -> Tensor:
    """Return (P, G) how many of the row precede each entry, upward by key and then by `ties`."""
    shuffled = ties.argsort(dim=1)
    order = shuffled.gather(1, keys.gather(1, shuffled).argsort(dim=1, stable=True))  # entries, best placed last
    return order.argsort(dim=1)
