"""RewardEnsemble: combine several reward models, or several heads of one, by a given aggregate."""

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
"""(B, K) source rewards, NaN where a member gives none, to (B,), such as `transforms.mean_minus_std`."""


def mean_of_members(source_rewards: Tensor) -> Tensor:
    """Return the mean over the members that score each row, (B, K) to (B,); NaN where none does."""
    return source_rewards.nanmean(dim=-1)


class MemberScale(NamedTuple):
    """Mean and standard deviation of each of the K members over n reference rows."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    n: int


@dataclass
class RewardEnsemble(ModelReward):
    """One reward from K members.

        r = aggregate( z_1, …, z_K ),   z_k = (r_k − μ_k) / s_k with μ, s over fixed reference rows

    Coste et al. 2023, arXiv:2310.02743; Eisenstein et al. 2023, arXiv:2312.09244. Without a common scale the minimum
    follows the member with the lowest offset. `fit_reference` measures the scale once, on rows of the reference policy:
    the statistics of a batch would move with the policy. Members trained on the same data share its biases, so a small
    spread does not show that the score is right.

    Args:
        members: reward models or any synchronous rewards in TRL's contract. One with several heads
            (`SequenceReward` of K labels, `GaussianReward`) counts as that many members and costs one forward pass.
        aggregate: see `Aggregate`.
        normalize: "ref_zscore" as above, or "none".
        scale: a result of `fit_reference`, to use it again.
        name: the name in trainers' logs and in reports.
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
                f"RewardEnsemble: {waiting[0]} is async, but members are called in turn. "
                "Make it a source of its own and combine sources with a transform."
            )

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        """Return the values of `score`; where there is no number, the reason of the first member that has one."""
        if self.normalize == "ref_zscore" and self.scale is None:
            raise ValueError(
                f"RewardEnsemble: {self.name} has no reference rows to normalize by. "
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
        """Return the members' raw numbers, K per row, NaN where a member gives none."""
        return list(self._rows(prompts, completions, columns)[0])

    def fit_reference(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> MemberScale:
        """Measure and store each member's mean and standard deviation (ddof 0) over these rows.

        Raises:
            ValueError: a member scores none of them, or gives all the same score, as an untrained one may.
        """
        rows, _ = self._rows(prompts, completions, columns)
        self.scale = member_scale(self.name, list(zip(*rows, strict=True)) or [()])
        return self.scale

    def differentiable(self) -> Differentiable | None:
        """Return the gradient of the mean of the scaled members; None unless all have one and share a vocabulary."""
        return mean_of(self.members, self.scale.std if self.scale and self.normalize == "ref_zscore" else None)

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """Return the batches for a `Scorer`: those of the first member that plans its own."""
        plan = next((member.plan for member in self.members if hasattr(member, "plan")), None)
        cuts: list[list[int]] = [list(range(len(prompts)))] if plan is None else plan(prompts, completions, **columns)
        return cuts

    def _rows(
        self, prompts: list[Text], completions: list[Completion], columns: dict[str, Any]
    ) -> tuple[list[list[float]], list[str | None]]:
        """Return B rows of K numbers, NaN where there is none, and the first reason given for each row."""
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
    """Apply `aggregate` to (B, K) numbers in float64; it also gets `std` if it has that parameter."""
    import torch

    if not rows:
        return []
    table = torch.tensor([list(row) for row in rows], dtype=torch.float64)
    context = {} if std is None else {"std": torch.tensor([list(row) for row in std], dtype=torch.float64)}
    result = aggregate(table, **named_by(aggregate, context).given)
    if tuple(result.shape) != (len(rows),):
        raise ValueError(
            f"RewardEnsemble: {name_of(aggregate)} returned shape {tuple(result.shape)} for member scores of shape "
            f"{tuple(table.shape)}. It must return one number per row, ({len(rows)},): reduce over the last axis."
        )
    return [
        Unscored(why or "no member gives a number") if math.isnan(value) else value
        for value, why in zip(result.tolist(), whys, strict=True)
    ]


def member_scale(name: str, table: Sequence[Sequence[float]]) -> MemberScale:
    """Return mean and standard deviation of each of K columns over its finite values."""
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
