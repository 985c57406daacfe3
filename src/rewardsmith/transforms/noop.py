"""Transforms without effect on the update, found from the declarations of the parts or measured on rewards."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rewardsmith.describe import function_of, name_of
from rewardsmith.types import traits_of


class Cancellation(NamedTuple):
    """The verdict whether an advantage cancels a transform; true in a condition unless `extent` is "no".

    extent: "exactly" (same advantages, but for the z-score's eps), "up to scale" (same direction, another step size,
        which Adam removes), or "no".
    reason: one sentence.
    """

    extent: Literal["exactly", "up to scale", "no"]
    reason: str

    def __bool__(self) -> bool:
        return self.extent != "no"


def cancels(transform: Callable[..., Any], advantage: Callable[..., Any]) -> Cancellation:
    """Tell whether an advantage cancels a transform, judging by what both declare.

    r ↦ a·r + b, constant within a group, cancels exactly under an advantage that removes shift and scale. Under one
    that removes only the shift, it changes the step size, if a is also constant over the batch.

    Args:
        transform: declares `Traits`.
        advantage: declares what it removes (`advantages.removes`); without a declaration the verdict is "no".

    Raises:
        TypeError: the transform declares no traits.
    """
    traits = traits_of(transform)
    removed: frozenset[str] | None = getattr(function_of(advantage), "__removes__", None)
    part, credit = name_of(transform), name_of(advantage)
    if not traits.affine:
        return Cancellation("no", f"{part} is not affine within a group, so {credit} does not cancel it")
    if removed is None:
        return Cancellation("no", f"{credit} does not declare what it removes; measure with correction_is_noop")
    if removed >= {"shift", "scale"}:
        return Cancellation("exactly", f"{part} is affine within a group, and {credit} removes shift and scale")
    if "shift" in removed and traits.scope != "prompt":
        return Cancellation("up to scale", f"{part} is affine, and {credit} leaves one factor for the whole batch")
    return Cancellation("no", f"{part} may rescale each prompt by another factor, which {credit} keeps")


def correction_is_noop(
    transform: Callable[..., Tensor],
    advantage: Callable[..., Tensor],
    rewards: Tensor,
    group_size: int,
    *,
    tolerance: float = 1e-3,
    **context: Any,
) -> bool:
    """Measure on rewards whether a transform leaves the direction of the update as it is.

        ‖A′ − c·A‖ ≤ tolerance · ‖A′‖  for the best c > 0,  with A = advantage(r), A′ = advantage(transform(r))

    Cai et al. 2025, arXiv:2510.00915, whose corrections are affine in the verdict.

    Args:
        transform: called as transform(rewards, **context).
        advantage: called as advantage(rewards, group_size=group_size).
        rewards: (B,) rewards in groups, of which at least one must have a signal.
        tolerance: relative; above the z-score's eps.

    Returns:
        True if the transform leaves the direction; a factor common to the batch is a step size.
    """
    plain = advantage(rewards.to(torch.float64), group_size=group_size)
    transform = deepcopy(transform)  # running statistics must not count these rewards
    if not bool(plain.any()):
        raise ValueError(
            "correction_is_noop: no group has a signal, so there is no direction to compare. Pass rewards that differ."
        )
    changed = advantage(transform(rewards.to(torch.float64), **context), group_size=group_size).to(plain)
    factor = (plain * changed).sum() / plain.square().sum()
    distance = (changed - factor * plain).norm()
    return bool(factor > 0) and bool(distance <= tolerance * changed.norm())
