"""RewardEnsemble: several reward models, or several heads of one, made one reward by an aggregate of the caller's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rewardsmith._check import check_choice
from rewardsmith.rewards.models.base import ModelReward
from rewardsmith.rewards.models.triggers import Differentiable, mean_of
from rewardsmith.scoring.calling import Unscored, reasoned
from rewardsmith.scoring.contracts import is_async, name_of
from rewardsmith.types import Completion, Text, named_by

if TYPE_CHECKING:
    from torch import Tensor

Aggregate = Callable[..., "Tensor"]
"""(B, K) source rewards, NaN where a member did not score, to (B,), such as `transforms.mean_minus_std`."""


def mean_of_members(source_rewards: Tensor) -> Tensor:
    """(B, K) to (B,): the mean of the members that score the row; NaN where none does."""
    return source_rewards.nanmean(dim=-1)


class MemberScale(NamedTuple):
    """Each member's mean and standard deviation over n reference rows: K numbers each."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    n: int


@dataclass
class RewardEnsemble(ModelReward):
    """One reward out of K.

        r = aggregate( z_1, …, z_K ),   z_k = (r_k − μ_k) / s_k with μ, s over fixed reference rows

    Coste et al. 2023, arXiv:2310.02743; Eisenstein et al. 2023, arXiv:2312.09244. Without one scale the least of the
    members follows the one with the lowest offset. The statistics are those of rows of the reference policy, measured
    once (`fit_reference`): those of a batch would move with the policy. Members that share their data share its
    biases, so a small spread is no certificate.

    Args:
        members: reward models or any synchronous rewards in TRL's contract. One with several heads
            (`SequenceReward` of K labels, `GaussianReward`) counts as that many members and costs one forward pass.
        aggregate: see `Aggregate`.
        normalize: "ref_zscore" as above, or "none".
        scale: what `fit_reference` has measured, to be set again.
        name: under which trainers and reports list it.
    """

    members: Sequence[Any]
    aggregate: Aggregate
    _: KW_ONLY
    normalize: Literal["none", "ref_zscore"] = "none"
    scale: MemberScale | None = None
    name: str = "reward_ensemble"

    def __post_init__(self) -> None:
        check_choice("RewardEnsemble", "normalize", self.normalize, ("none", "ref_zscore"))
        if not self.members:
            raise ValueError("RewardEnsemble: there are no members. Pass at least one reward.")
        waiting = [name_of(member) for member in self.members if is_async(member)]
        if waiting:
            raise ValueError(
                f"RewardEnsemble: {waiting[0]} is async, and members are called one after the other. "
                "Make it a source of its own and combine sources with a transform."
            )

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        """`score`, with the reason of the first member that has one where the aggregate gives no number."""
        if self.normalize == "ref_zscore" and self.scale is None:
            raise ValueError(
                f"RewardEnsemble: {self.name} normalizes by reference rows and has seen none. "
                "Call fit_reference with rows of the reference policy, or pass scale."
            )
        rows, whys = self._rows(prompts, completions, columns)
        if self.normalize == "ref_zscore" and self.scale is not None:
            scale = list(zip(self.scale.mean, self.scale.std, strict=True))
            rows = [[(value - mean) / std for value, (mean, std) in zip(row, scale, strict=True)] for row in rows]
        return aggregated(self.aggregate, rows, whys=whys)

    def source_rewards(
        self, prompts: list[Text], completions: list[Completion], **columns: Any
    ) -> list[list[float] | Unscored]:
        """Every member's own number, not normalized, NaN where it gives none: K a row."""
        return list(self._rows(prompts, completions, columns)[0])

    def fit_reference(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> MemberScale:
        """Measure and keep each member's mean and standard deviation (ddof 0) over these rows.

        Raises:
            ValueError: a member scores none of them, or all alike, as an untrained one may.
        """
        rows, _ = self._rows(prompts, completions, columns)
        self.scale = member_scale(self.name, list(zip(*rows, strict=True)) or [()])
        return self.scale

    def differentiable(self) -> Differentiable | None:
        """The gradient of the members' mean, on their scale; None unless all have one and share a vocabulary."""
        return mean_of(self.members, self.scale.std if self.scale and self.normalize == "ref_zscore" else None)

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """The batches in which a `Scorer` should send these rows: those of the first member that has a say."""
        plan = next((member.plan for member in self.members if hasattr(member, "plan")), None)
        cuts: list[list[int]] = [list(range(len(prompts)))] if plan is None else plan(prompts, completions, **columns)
        return cuts

    def _rows(
        self, prompts: list[Text], completions: list[Completion], columns: dict[str, Any]
    ) -> tuple[list[list[float]], list[str | None]]:
        """B rows of K numbers, NaN where there is none, and per row the first reason given."""
        table: list[list[float]] = [[] for _ in prompts]
        whys: list[str | None] = [None] * len(prompts)
        for member in self.members:
            several = getattr(member, "source_rewards", None)
            call = reasoned(member) if several is None else several
            rows = call(prompts=prompts, completions=completions, **columns)
            if several is None:
                rows = [row if isinstance(row, Unscored) else [math.nan if row is None else float(row)] for row in rows]
            heads = len(getattr(member, "attributes", ("",)))
            width = next((len(row) for row in rows if not isinstance(row, Unscored)), heads)
            for place, row in enumerate(rows):
                missing = isinstance(row, Unscored)
                table[place] += [math.nan] * width if missing else row
                whys[place] = whys[place] or (row.why if missing else None)
        return table, whys


def aggregated(
    aggregate: Aggregate,
    rows: Sequence[Sequence[float]],
    *,
    std: Sequence[Sequence[float]] | None = None,
    whys: Sequence[str | None],
) -> list[float | Unscored]:
    """`aggregate` of (B, K) numbers, in float64; `std` goes along where it is asked for by name."""
    import torch

    if not rows:
        return []
    table = torch.tensor([list(row) for row in rows], dtype=torch.float64)
    context = {} if std is None else {"std": torch.tensor([list(row) for row in std], dtype=torch.float64)}
    result = aggregate(table, **named_by(aggregate, context).given)
    if tuple(result.shape) != (len(rows),):
        raise ValueError(
            f"RewardEnsemble: {name_of(aggregate)} made shape {tuple(result.shape)} of {tuple(table.shape)} member "
            f"scores, and one number a row is needed, ({len(rows)},). Reduce over the last axis."
        )
    return [
        Unscored(why or "no member gives a number") if math.isnan(value) else value
        for value, why in zip(result.tolist(), whys, strict=True)
    ]


def member_scale(name: str, table: Sequence[Sequence[float]]) -> MemberScale:
    """Mean and standard deviation of each of K columns, over what is finite."""
    means, stds = [], []
    for number, values in enumerate(table):
        known = [value for value in values if math.isfinite(value)]
        mean = math.fsum(known) / len(known) if known else math.nan
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / len(known)) if known else math.nan
        if not std > 0:
            raise ValueError(
                f"fit_reference: member {number} of {name} gives {len(known)} of {len(values)} reference rows a score, "
                f"with a standard deviation of {std}, so it has no scale. Use more rows, or train the member."
            )
        means.append(mean)
        stds.append(std)
    return MemberScale(tuple(means), tuple(stds), max(map(len, table), default=0))
