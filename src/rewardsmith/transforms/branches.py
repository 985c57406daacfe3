"""Combine sources by a product, and rows of different kinds by different combinations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from rewardsmith._check import check_shape
from rewardsmith.types import Traits, declares


@declares(Traits(scope="row", affine=False))
def product(source_rewards: Tensor, *, least: float = 0.0) -> Tensor:
    """Multiply sources, none of which counts less than `least`: u = Π_k max(r_k, least).

    Kim & Seo 2024, arXiv:2402.03469 (R³). One source at 0 ends the reward, and there the others do not matter. Two
    negative sources would multiply to a good reward, so they are clamped first. Differs: there a relevance below 0 is
    multiplied as it is, which makes a longer answer off the topic worse and a repeated one better.

    Args:
        source_rewards: (B, K) rewards.
        least: the smallest factor.

    Returns:
        (B,) products; NaN where any source is missing.

    >>> product(torch.tensor([[2.0, 0.5, 3.0], [2.0, -0.5, -3.0]]))
    tensor([3., 0.])
    """
    check_shape("product", "source_rewards", source_rewards, None, None)
    floats = source_rewards.to(torch.result_type(source_rewards, 1.0))
    missing = floats.isnan().any(dim=1)
    most = float(torch.finfo(floats.dtype).max) ** (1 / max(1, floats.shape[1])) / 2  # the product stays finite
    factors = floats.masked_fill(missing[:, None], 0.0).clamp(min=max(least, -most), max=most)
    return factors.prod(dim=1).masked_fill(missing, math.nan)


@declares(Traits(scope="row", affine=False))
def branched(
    source_rewards: Tensor,
    *,
    branch: Sequence[str | None],
    branches: Mapping[str, Callable[[Tensor], Tensor]],
) -> Tensor:
    """Combine the sources of each row by the function of its kind, such as open and closed questions.

    Kim & Seo 2024, arXiv:2402.03469: open questions are rewarded for length · relevance · variety, closed ones for
    closeness to the reference · variety. `rescale` brings the branches to one scale. The kind has to belong to the
    prompt: a wrong kind rewards a long answer where a short one is asked for.

    Args:
        source_rewards: (B, K) rewards.
        branch: (B) kinds, a column of the data set.
        branches: kind → function of (b, K) rewards to (b,).

    Returns:
        (B,) rewards; NaN for a kind without a function.

    >>> kinds = {"open": product, "closed": lambda rewards: rewards[:, 1]}
    >>> branched(torch.tensor([[2.0, 0.5], [2.0, 0.5], [2.0, 0.5]]), branch=["open", "closed", None], branches=kinds)
    tensor([1.0000, 0.5000,    nan])
    """
    check_shape("branched", "source_rewards", source_rewards, len(branch), None)
    found = source_rewards.new_full((len(branch),), math.nan, dtype=torch.result_type(source_rewards, 1.0))
    for name, combine in branches.items():
        rows = torch.tensor([kind == name for kind in branch], dtype=torch.bool, device=source_rewards.device)
        if bool(rows.any()):
            found = found.masked_scatter(rows, combine(source_rewards[rows]).to(found.dtype))
    return found
