"""Measure one batch of rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_groups, check_same_shape, check_shape

Record = dict[str, Any]
"""One step of a run: name → figure, None if not measured."""


class LengthCorrelation(NamedTuple):
    """value: Pearson's ρ within groups, NaN without a signal; freedom: rows minus groups, over groups with a signal."""

    value: float
    freedom: int


def dead_groups(rewards: Tensor, *, group_size: int) -> tuple[int, int]:
    """Return the number of groups whose scored rewards are all equal, and the number of groups.

    Args:
        rewards: (B,) rewards, a prompt's completions consecutive; NaN is unscored. A group with fewer than two scored
            rows counts as equal.

    >>> dead_groups(torch.tensor([1.0, 1.0, 0.0, 1.0]), group_size=2)
    (1, 2)
    """
    check_groups("dead_groups", len(rewards), group_size)
    grouped = rewards.reshape(-1, group_size)  # (P, G)
    low = grouped.nan_to_num(nan=torch.inf).amin(dim=1)
    high = grouped.nan_to_num(nan=-torch.inf).amax(dim=1)
    return int((high <= low).sum()), len(grouped)


def length_correlation(rewards: Tensor, lengths: Tensor, *, group_size: int) -> LengthCorrelation:
    """Return Pearson's correlation of reward and length within groups, as only that can move a policy.

    Args:
        rewards: (B,) rewards, NaN where unscored.
        lengths: (B,) completion tokens.

    >>> length_correlation(torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([3, 5, 3, 5]), group_size=2)
    LengthCorrelation(value=1.0, freedom=2)
    """
    check_same_shape("length_correlation", rewards, lengths)
    check_groups("length_correlation", len(rewards), group_size)
    scored = rewards.isfinite().reshape(-1, group_size)
    rewards_centered = _centered(rewards.double().reshape(-1, group_size), scored)  # (P, G)
    lengths_centered = _centered(lengths.double().reshape(-1, group_size), scored)
    live = ((rewards_centered.abs() > 1e-12).any(dim=1)) & (lengths_centered.abs() > 1e-12).any(dim=1)
    if not bool(live.any()):
        return LengthCorrelation(float("nan"), 0)
    x, y = rewards_centered[live].flatten(), lengths_centered[live].flatten()
    value = float((x @ y / (x.norm() * y.norm())).clamp(-1, 1))
    return LengthCorrelation(value, int(scored[live].sum()) - int(live.sum()))


def _centered(values: Tensor, scored: Tensor) -> Tensor:
    kept = torch.where(scored, values, 0.0)
    mean = kept.sum(dim=1, keepdim=True) / scored.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(scored, kept - mean, 0.0)


def measure_batch(
    rewards: Tensor,
    *,
    group_size: int,
    lengths: Tensor | None = None,
    gold: Sequence[float | None] | None = None,
    infinite: int = 0,
    source_rewards: Tensor | None = None,
    source_names: Sequence[str] = (),
) -> Record:
    """Return the figures that the monitors read of a batch, as plain numbers.

    Args:
        rewards: (B,) the rewards that are optimized, NaN where unscored.
        lengths: (B,) completion tokens.
        gold: B gold scores, None, NaN or ±inf if unknown; never optimized.
        infinite: raw scores that were ±inf.
        source_rewards: (B, K) raw rewards of the sources named in `source_names`, NaN where unscored.

    Returns:
        proxy and gold (means), proxy_low, proxy_high, gold_low, gold_high (the extreme rows), gold_n (rows with a gold
        score), length, length_correlation, length_freedom, dead_groups, n_groups, unscored, infinite, n_rows, and
        `source/NAME`, the mean of each source's scores.
    """
    means = {}
    if source_rewards is not None:
        check_shape("measure_batch", "source_rewards", source_rewards, None, len(source_names))
        for name, column in zip(source_names, source_rewards.double().unbind(dim=1), strict=True):
            means[source_key(name)] = _number(column[column.isfinite()].mean())
    dead, n_groups = dead_groups(rewards, group_size=group_size)
    by_length = None if lengths is None else length_correlation(rewards, lengths, group_size=group_size)
    golds = [value for value in map(known, gold or ()) if value is not None]
    scored: list[float] = rewards[rewards.isfinite()].tolist()
    return {
        "proxy": _number(rewards[rewards.isfinite()].mean()),
        "proxy_low": min(scored, default=None),
        "proxy_high": max(scored, default=None),
        "gold": sum(golds) / len(golds) if golds else None,
        "gold_low": min(golds, default=None),
        "gold_high": max(golds, default=None),
        "gold_n": len(golds),
        "length": None if lengths is None else _number(lengths.float().mean()),
        "length_correlation": None if by_length is None else _number(by_length.value),
        "length_freedom": 0 if by_length is None else by_length.freedom,
        "dead_groups": dead,
        "n_groups": n_groups,
        "unscored": int(rewards.isnan().sum()),
        "infinite": infinite,
        "n_rows": len(rewards),
        **means,
    }


def source_key(name: str) -> str:
    """Return the record's key for a source's mean."""
    return f"source/{name}"


def known(value: float | None) -> float | None:
    """Return a score, or None if it is None, NaN or ±inf, none of which is JSON."""
    return value if value is not None and math.isfinite(value) else None


def _number(value: Tensor | float) -> float | None:
    return known(float(value))
