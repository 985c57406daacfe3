"""Composition of several transforms into one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, get_args

from torch import Tensor, nn

from rewardsmith.describe import describe, name_of
from rewardsmith.transforms.noop import cancels
from rewardsmith.types import Scope, Traits, needed_by, traits_of

Transform = Callable[..., Tensor]


@dataclass(frozen=True, slots=True, repr=False)
class Reads:
    """A transform whose keywords are filled from columns of other names; build it with `reads`."""

    transform: Transform
    columns: Mapping[str, str]

    @property
    def __traits__(self) -> Traits:
        return traits_of(self.transform)

    @property
    def __name__(self) -> str:
        return name_of(self.transform)

    def __call__(self, rewards: Tensor, **context: Any) -> Tensor:
        lacking = sorted(set(self.columns.values()) - set(context))
        if lacking:
            raise TypeError(
                f"reads: {name_of(self.transform)} reads {', '.join(lacking)}, and the call passed "
                f"{', '.join(context) or 'no context'}. Pass that column as a keyword."
            )
        renamed = {**context, **{keyword: context[column] for keyword, column in self.columns.items()}}
        return self.transform(rewards, **needed_by("reads", self.transform, renamed).given)

    def __repr__(self) -> str:
        shown = ", ".join(f"{keyword}={column!r}" for keyword, column in self.columns.items())
        return f"reads({_shown(self.transform)}, {shown})"


def reads(transform: Transform, **columns: str) -> Reads:
    """Make a transform in a chain read its keywords from columns of other names.

        reads(f, keyword="column")(r, column=v) = f(r, keyword=v)

    Use it for two gates in one chain, or for references by source.

    >>> import torch
    >>> from rewardsmith.transforms import gate
    >>> formatted = reads(gate, condition="formatted")
    >>> formatted(torch.ones(2), formatted=torch.tensor([True, False]))
    tensor([1., 0.])
    """
    if not columns:
        raise ValueError(f"reads: got no columns for {name_of(transform)}. Pass keyword='column'.")
    return Reads(transform, columns)


class Chain(nn.Module):
    """Transforms applied one after another, as one transform; build it with `chain`.

    Modules among the parts keep their state in its `state_dict`.
    """

    def __init__(self, *parts: Transform) -> None:
        super().__init__()
        self.parts = parts
        for index, part in enumerate(parts):
            if isinstance(part, nn.Module):
                self.add_module(f"part{index}", part)

    @property
    def __traits__(self) -> Traits:
        """The widest scope; affine if all parts are; bounds of the last part, as it may leave an earlier bound."""
        every = [traits_of(part) for part in self.parts]
        widest = max((traits.scope for traits in every), key=get_args(Scope).index)
        return Traits(scope=widest, affine=all(traits.affine for traits in every), bounded=every[-1].bounded)

    def forward(self, rewards: Tensor, /, **context: Any) -> Tensor:
        """Run (B,) or (B, K) rewards through every part, each with the context keywords that it names."""
        for index, part in enumerate(self.parts):
            place = f"chain, part {index + 1} of {len(self.parts)}"
            rewards = part(rewards, **needed_by(place, part, context).given)
        return rewards

    def __repr__(self) -> str:
        return f"chain({' -> '.join(map(_shown, self.parts))})"


def _shown(part: Transform) -> str:
    return repr(part) if isinstance(part, nn.Module | Reads) else describe(part)


def chain(*transforms: Transform, advantage: Callable[..., Tensor] | None = None) -> Chain:
    """Compose transforms, first to last, and warn of parts without effect under `advantage`.

        chain(f, g)(r) = g(f(r))

    A part has no effect if it and all later parts are affine within a group and the advantage cancels them. Before a
    nonlinear part, an affine part shifts the input of the nonlinearity, so it has an effect.

    Args:
        transforms: each declares `Traits`; configure them with `functools.partial`.
        advantage: the estimator that will follow, such as `group_zscore`; None skips the check.

    Returns:
        One transform, which pickles if its parts do. Call it on (B,) or (B, K) rewards, with the keywords that the
        parts need (`ref_rewards=…`, `group_size=…`, a column as a tensor; `reads` renames). Others are ignored.

    Warns:
        UserWarning: a part changes nothing, or only the step size.
    """
    if not transforms:
        raise ValueError("chain: got no transforms, so there is nothing to compose. Pass at least one.")
    composed = Chain(*transforms)
    _ = composed.__traits__  # a part without traits raises here, not in the middle of a run
    if advantage is not None:
        for part in takewhile(lambda part: traits_of(part).affine, reversed(transforms)):
            warn_if_canceled(f"chain: {name_of(part)}", part, advantage, stacklevel=3)
    return composed


def warn_if_canceled(what: str, part: Transform, advantage: Callable[..., Tensor], *, stacklevel: int) -> None:
    """Warn where the advantage cancels a transform, exactly or up to the step size."""
    verdict = cancels(part, advantage)
    if verdict:
        effect = "cannot change anything" if verdict.extent == "exactly" else "can change nothing but the step size"
        warnings.warn(
            f"{what} {effect} under {name_of(advantage)}: {verdict.reason}. Drop it, move it before a nonlinear part, "
            "or give it parameters that differ within a group.",
            UserWarning,
            stacklevel=stacklevel,
        )
