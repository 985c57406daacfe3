"""Parts of a recipe that its advantage cancels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import shorten
from typing import NamedTuple

from torch import Tensor

from rewardsmith.describe import keywords_of, name_of
from rewardsmith.recipes.terms import Applied, Term
from rewardsmith.recipes.wording import operation
from rewardsmith.transforms import cancels
from rewardsmith.types import traits_of


class Canceled(NamedTuple):
    """A part of a recipe that its advantage cancels.

    term: the part. part: its operation on its input r, in words. extent, reason: as in `transforms.noop.Cancellation`.
    """

    term: Term
    part: str
    extent: str
    reason: str


def canceled_parts(term: Term, advantage: Callable[..., Tensor], *, summed: bool = False) -> Iterator[Canceled]:
    """Yield the canceled parts from the root inward, as long as all later parts are affine.

    Args:
        summed: whether the term is a summand, of which only an offset can be canceled.
    """
    if not isinstance(term, Applied):
        return
    if name_of(term.function) == "weighted_sum":
        for part in term.parts:
            yield from canceled_parts(part, advantage, summed=summed or len(term.parts) > 1)
        return
    only_shifts = name_of(term.function) == "rescale" and keywords_of(term.function).get("scale", 1.0) == 1.0
    if not traits_of(term.function).affine or len(term.parts) > 1 or (summed and not only_shifts):
        return
    verdict = cancels(term.function, advantage)
    if verdict:
        reason = f"an offset, which {name_of(advantage)} removes" if summed else verdict.reason
        words = f"{' '.join(operation(term.function).split())}, where r = {term.parts[0]}"
        yield Canceled(term, shorten(words, 72, placeholder=" …"), "exactly" if summed else verdict.extent, reason)
    yield from canceled_parts(term.parts[0], advantage, summed=summed)
