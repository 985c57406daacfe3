"""Rewards from an ensemble of reward models: the mean, a quantile, or a pessimistic aggregate."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_shape
from rewardsmith.types import Traits, declares

Nominal = Literal["mean", "min_sigma"] | int
MissingMember = Literal["skip", "unscored"]


class ReferenceStatistics(NamedTuple):
    """mean, std: (K,) of each column over the reference rows; std without Bessel's correction."""

    mean: Tensor
    std: Tensor


@declares(Traits(scope="row", affine=False))
def member_mean(source_rewards: Tensor, *, missing: MissingMember = "skip") -> Tensor:
    """Average the K members of an ensemble: r = mean_k r_k.

    Bring the members to one scale first (`zscore_members`). No way of aggregating sees a bias that all members share.

    Args:
        source_rewards: (B, K) scores; NaN is a member that did not score the row. ±inf counts as a value, but a
            spread that it enters is unknown, and the row unscored.
        missing: "skip" uses the members present. A missing member can raise a row's reward, because a min over fewer
            is never lower and a spread over one is 0. "unscored" makes such a row NaN.

    Returns:
        (B,) rewards; NaN where no member scored.

    >>> member_mean(torch.tensor([[1.0, 3.0], [4.0, float("nan")]]))
    tensor([2., 4.])
    """
    values, present = _members("member_mean", source_rewards, missing)
    return _result(_mean(values, present), present, source_rewards)


@declares(Traits(scope="row", affine=False))
def member_quantile(source_rewards: Tensor, *, level: float = 0.0, missing: MissingMember = "skip") -> Tensor:
    """Take a quantile over the K members of an ensemble, interpolated: the least for level 0, the median for ½.

    Coste et al. 2023, arXiv:2310.02743 (the least); Eisenstein et al. 2023, arXiv:2312.09244 (the median). Level 1, the
    largest, is the optimistic choice, for comparison. Bring the members to one scale first (`zscore_members`), or the
    least follows the member with the lowest offset.

    Args:
        source_rewards, missing: as in `member_mean`.
        level: in [0, 1].

    Returns:
        (B,) rewards; NaN where no member scored.

    >>> member_quantile(torch.tensor([[1.0, 3.0], [4.0, float("nan")]]))
    tensor([1., 4.])
    """
    check_range("member_quantile", "level", level, 0.0, 1.0)
    values, present = _members("member_quantile", source_rewards, missing)
    return _result(_quantile(values, present, level), present, source_rewards)


@declares(Traits(scope="row", affine=False))
def mean_minus_variance(
    source_rewards: Tensor, *, coef: float = 0.5, ddof: int = 0, missing: MissingMember = "skip"
) -> Tensor:
    """Lower the reward where the K members of an ensemble disagree: r = mean_k r_k − c · Var_k r_k.

    Coste et al. 2023, arXiv:2310.02743 (UWO, uncertainty-weighted optimization). Bring the members to one scale first
    (`zscore_members`), or the variance measures differences of scale. A bias that all members share leaves no
    disagreement, so a small spread proves nothing.

    Args:
        source_rewards, missing: as in `member_mean`.
        coef: c. Coste et al. use 0.5 for best-of-n and 0.1 for PPO. 0 gives the mean exactly.
        ddof: the variance divides by the members present minus this. The official code has 0 in one place and 1 in
            another; of 5 members that makes c differ by a quarter.

    Returns:
        (B,) rewards; NaN where no member scored, or at most `ddof` did.

    >>> mean_minus_variance(torch.tensor([[1.0, 3.0], [2.0, 2.0], [4.0, float("nan")]]))
    tensor([1.5000, 2.0000, 4.0000])
    """
    values, present = _members("mean_minus_variance", source_rewards, missing)
    mean, variance, unit = _moments("mean_minus_variance", values, present, coef=coef, ddof=ddof)
    return _result(mean - coef * (variance * unit * unit) if coef else mean, present, source_rewards)


@declares(Traits(scope="row", affine=False))
def mean_minus_std(
    source_rewards: Tensor, *, coef: float = 0.5, ddof: int = 0, missing: MissingMember = "skip"
) -> Tensor:
    """Lower the reward where the K members of an ensemble disagree: r = mean_k r_k − c · √Var_k r_k.

    Eisenstein et al. 2023, arXiv:2312.09244. Arguments and result as in `mean_minus_variance`.
    """
    values, present = _members("mean_minus_std", source_rewards, missing)
    mean, variance, unit = _moments("mean_minus_std", values, present, coef=coef, ddof=ddof)
    std = torch.where(variance == 0, 0.0, torch.where(variance == 0, 1.0, variance).sqrt())
    return _result(mean - coef * (std * unit) if coef else mean, present, source_rewards)


@declares(Traits(scope="row", affine=False))
def robust_mix(
    source_rewards: Tensor,
    *,
    coef: float = 0.5,
    std: Tensor | None = None,
    nominal: Nominal = "mean",
    missing: MissingMember = "skip",
) -> Tensor:
    """Mix a trusted score with the lowest one: r = c · nominal + (1 − c) · min_k r_k.

    Yan et al. 2024, arXiv:2409.15360. Bring the members to one scale first (`zscore_members`).

    Args:
        source_rewards, missing: as in `member_mean`.
        coef: c in [0, 1]; at either end the other term is not read.
        std: (B, K) each member's own uncertainty, on the scale of the scores; read only by nominal="min_sigma".
        nominal: the trusted score: the members' "mean"; "min_sigma", the member with the least std on the row, an
            arbitrary choice where the `std` have collapsed; or a member's number. NaN where it is missing.

    Returns:
        (B,) rewards; NaN where no member scored.
    """
    check_range("robust_mix", "coef", coef, 0.0, 1.0)
    values, present = _members("robust_mix", source_rewards, missing)
    if coef == 0:
        return _result(_quantile(values, present, 0.0), present, source_rewards)
    if isinstance(nominal, int):
        check_range("robust_mix", "nominal", nominal, 0, values.shape[1] - 1)
        trusted = torch.where(present[:, nominal], values[:, nominal], math.nan)
    else:
        check_choice("robust_mix", "nominal", nominal, ("mean", "min_sigma"))
        trusted = _mean(values, present)
    if nominal == "min_sigma":
        if std is None:
            raise ValueError(
                "robust_mix: nominal='min_sigma' needs std, each member's own. Pass it, or use nominal='mean'."
            )
        check_shape("robust_mix", "std", std, *values.shape)
        usable = present & ~std.isnan()
        surest = std.detach().masked_fill(~usable, math.inf).argmin(dim=1, keepdim=True)  # (B, 1)
        trusted = torch.where(usable.gather(1, surest), values.gather(1, surest), math.nan)[:, 0]
    mixed = coef * trusted
    if coef < 1:
        mixed = mixed + (1 - coef) * _quantile(values, present, 0.0)
    return _result(mixed, present, source_rewards)


def _members(caller: str, source_rewards: Tensor, missing: MissingMember) -> tuple[Tensor, Tensor]:
    """Return (B, K) scores in float32 at least, and True where a member counts."""
    check_choice(caller, "missing", missing, get_args(MissingMember))
    check_shape(caller, "source_rewards", source_rewards, None, None)
    values = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    present = ~values.isnan()
    return values, present & present.all(dim=1, keepdim=True) if missing == "unscored" else present


def _result(result: Tensor, present: Tensor, source_rewards: Tensor) -> Tensor:
    """Return (B,) in the dtype of the scores, NaN where no member counts."""
    return torch.where(present.any(dim=1), result, math.nan).to(torch.result_type(source_rewards, 1.0))


def _mean(values: Tensor, present: Tensor) -> Tensor:
    """Return the (B,) mean of those present; each is divided before the sum, so that large ones do not overflow."""
    count = present.sum(dim=1, keepdim=True).clamp(min=1)
    return (values.masked_fill(~present, 0.0) / count).sum(dim=1)


def _quantile(values: Tensor, present: Tensor, level: float) -> Tensor:
    """Return the (B,) quantile of those present, linear between neighbors; ±inf enters only at its own level."""
    ordered = values.masked_fill(~present, math.inf).sort(dim=1).values
    place = level * (present.sum(dim=1, keepdim=True) - 1).clamp(min=0).to(values.dtype)  # (B, 1) from 0
    low, high = ordered.gather(1, place.floor().long()), ordered.gather(1, place.ceil().long())
    share = place - place.floor()
    return torch.where((share == 0) | (low == high), low, low * (1 - share) + high * share)[:, 0]


def _moments(caller: str, values: Tensor, present: Tensor, *, coef: float, ddof: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (B,) mean, variance of the scores over their unit (NaN where unknown), and that unit."""
    if not math.isfinite(coef):
        raise ValueError(f"{caller}: coef is {coef}, which is not finite. Use a number, 0 for the plain mean.")
    if ddof not in (0, 1):
        raise ValueError(f"{caller}: ddof is {ddof}. Use 0, or 1 for Bessel's correction.")
    mean, count = _mean(values, present), present.sum(dim=1)
    known = (values.isfinite() | ~present).all(dim=1) & (count > ddof)
    held = present & known[:, None]
    low, high = (values.masked_fill(~held, end) for end in (math.inf, -math.inf))
    differ = held.any(dim=1) & (high.amax(dim=1) > low.amin(dim=1))  # a rounded mean of equal scores is no spread
    unit = torch.where(held, values.detach().abs(), 1.0).amax(dim=1).clamp(min=1)  # squares must not overflow
    deviations = torch.where(held & differ[:, None], (values - mean[:, None]) / unit[:, None], 0.0)
    variance = deviations.square().sum(dim=1) / (count - ddof).clamp(min=1)
    return mean, torch.where(known, variance, math.nan), unit


def reference_statistics(reference: Tensor) -> ReferenceStatistics:
    """Return the mean and standard deviation of each member, or under each context, over the reference policy.

    Measure once, before the policy moves, and keep the result: statistics of the current batch would follow the policy
    and hide a drift of the scores. A member's own uncertainty has the same unit, so divide it by the same `std`.

    Args:
        reference: (M, K) scores of its responses; those that are not finite are left out.
    """
    check_shape("reference_statistics", "reference", reference, None, None)
    check_range("reference_statistics", "the number of reference rows", len(reference), 2, math.inf)
    wide = reference.detach().to(torch.promote_types(reference.dtype, torch.float32))
    scored = wide.isfinite()
    finite = torch.where(scored, wide, 0.0)
    unit = finite.abs().amax(dim=0).clamp(min=1)  # squares must not overflow
    count = scored.sum(dim=0).clamp(min=1)
    mean = (finite / unit / count).sum(dim=0)
    std = (torch.where(scored, finite / unit - mean, 0.0).square().sum(dim=0) / count).sqrt()
    high, low = (torch.where(scored, wide, end) for end in (-math.inf, math.inf))
    flat = (high.amax(dim=0) <= low.amin(dim=0)) | (std == 0)  # a rounded mean of equal scores is no spread
    if bool(flat.any()):
        raise ValueError(
            f"reference_statistics: columns {flat.nonzero().flatten().tolist()} give all of {len(wide)} reference rows "
            "one score, or score fewer than two. Drop such a column, or pass more varied reference responses."
        )
    return ReferenceStatistics(mean * unit, std * unit)


@declares(Traits(scope="row", affine=False))
def zscore_members(source_rewards: Tensor, reference: Tensor) -> Tensor:
    """Bring the members of an ensemble to one scale: mean 0 and standard deviation 1 over the reference policy.

        z_ik = (r_ik − μ_k) / s_k        μ_k, s_k over the rows of `reference`, as `reference_statistics` gives them

    Coste et al. 2023, arXiv:2310.02743. A Bradley-Terry model's constant and scale are arbitrary, so raw scores of
    two members cannot be compared. `normalize_sources` differs: its statistics are the group's.

    Args:
        source_rewards: (B, K) scores; NaN and ±inf stay.
        reference: (M, K) scores of the same members on responses of the reference policy; no gradient flows to it.

    Returns:
        (B, K) scores in standard deviations of each member.

    >>> zscore_members(torch.tensor([[4.0, 4.0]]), reference=torch.tensor([[0.0, 2.0], [2.0, 6.0]]))
    tensor([[3., 0.]])
    """
    check_shape("zscore_members", "source_rewards", source_rewards, None, None)
    check_shape("zscore_members", "reference", reference, None, source_rewards.shape[1])
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    mean, std = (statistic.to(wide) for statistic in reference_statistics(reference))
    return ((wide - mean) / std).to(torch.result_type(source_rewards, 1.0))
