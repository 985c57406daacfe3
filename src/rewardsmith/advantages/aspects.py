"""Rewards per token from several aspects of a completion, each rewarded at the ends of its own segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_shape
from rewardsmith.advantages.tokens import scatter_steps


class Aspect(NamedTuple):
    """The segments of one aspect and their rewards.

    values: (B, N) rewards, N its own; NaN and ±inf are unscored.
    ends: (B, N) int64 token index of each segment's last token.
    mask: (B, N) True where there is a segment.
    """

    values: Tensor
    ends: Tensor
    mask: Tensor


def combine_aspects(
    aspects: Mapping[str, Aspect],
    *,
    n_tokens: int,
    weights: Mapping[str, float] | None = None,
    per_segment_mean: bool = False,
) -> Tensor:
    """Put each aspect's rewards on the last tokens of its segments, and add those on the same token.

        r_t = Σ_k w_k Σ_j 1[t = T_j^k] R_k(x, y, j)

    Wu et al. 2023, arXiv:2306.01693, Eq. 1 without its KL term. The last sentence, the last clause and the whole answer
    end on one token, so their rewards add up there. Returns are `step_returns` of the result over the completion's
    tokens. Whiten it, if at all, without shifting the mean, or every token in between gets a reward. A trainer with one
    number per completion takes the sum over the tokens, which loses the segment that earned each reward.

    The policy decides the number of segments. A reward above 0 per good segment favors more of them, one below 0 per
    bad segment favors silence. Balance them with an aspect of the whole answer, or use `per_segment_mean`.

    Args:
        aspects: name → segments, all with the same B.
        n_tokens: T.
        weights: name → w_k; 1 for a missing name.
        per_segment_mean: divide an aspect's rewards by its number of scored segments in the row.

    Returns:
        (B, T) rewards in the widest dtype of the values; 0 where no segment ends.

    >>> clauses = Aspect(torch.tensor([[0.3, -0.3]]), torch.tensor([[1, 3]]), torch.tensor([[True, True]]))
    >>> whole = Aspect(torch.tensor([[2.0]]), torch.tensor([[3]]), torch.tensor([[True]]))
    >>> combine_aspects({"relevance": clauses, "completeness": whole}, n_tokens=4, weights={"completeness": 0.5})
    tensor([[0.0000, 0.3000, 0.0000, 0.7000]])
    """
    if not aspects:
        raise ValueError("combine_aspects: no aspects given, so there is no reward. Pass at least one.")
    unknown = sorted(set(weights or {}) - set(aspects))
    if unknown:
        raise ValueError(
            f"combine_aspects: weights name {', '.join(unknown)}, but the aspects are {', '.join(aspects)}. Rename one."
        )
    placed: list[Tensor] = []
    for name, aspect in aspects.items():
        check_shape("combine_aspects", f"{name}.values", aspect.values, len(placed[0]) if placed else None, None)
        values = scatter_steps(aspect.values, aspect.ends, aspect.mask, n_tokens=n_tokens)
        if per_segment_mean:
            scored = aspect.mask.bool() & aspect.values.isfinite()
            values = values / scored.sum(dim=1, keepdim=True).clamp_min(1)
        placed.append((weights or {}).get(name, 1.0) * values)
    return torch.stack(placed).sum(dim=0)
