"""Several reward models of one thing into one reward: their average, or what the pessimists among them say."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_shape
from rewardsmith.types import Traits, declares

How = Literal["mean", "median", "min", "max", "uwo", "mean_minus_std", "lower_quantile", "robust_mix"]
Nominal = Literal["mean", "min_sigma"] | int
MissingMember = Literal["skip", "unscored"]


class MemberStatistics(NamedTuple):
    """mean, std: (K,) of each member over the reference rows; std without Bessel's correction."""

    mean: Tensor
    std: Tensor


@declares(Traits(scope="row", affine=False))
def aggregate(
    source_rewards: Tensor,
    *,
    how: How = "mean",
    coef: float = 0.5,
    ddof: int = 0,
    std: Tensor | None = None,
    nominal: Nominal = "mean",
    missing: MissingMember = "skip",
) -> Tensor:
    """One reward from the K members of an ensemble; the pessimistic ways pay less where members disagree.

        mean, median, min, max    over the members k
        uwo                       mean_k r − c · Var_k r         uncertainty-weighted; variance, not deviation
        mean_minus_std            mean_k r − c · √Var_k r
        lower_quantile            the c-quantile over k, interpolated: 0 is min, ½ the median
        robust_mix                c · nominal + (1 − c) · min_k r

    Coste et al. 2023, arXiv:2310.02743 (min, uwo); Eisenstein et al. 2023, arXiv:2312.09244 (median, mean_minus_std);
    Yan et al. 2024, arXiv:2409.15360 (robust_mix). Bring the members to one scale first (`zscore_members`): else min
    follows the member with the lowest offset and uwo measures differences of scale. Disagreement is blind to a bias
    that all members share: a small spread is no certificate.

    Args:
        source_rewards: (B, K) scores; NaN is a member that did not score the row. ±inf counts as a value, but a
            spread that it enters is unknown, and the row unscored.
        how: as above; "max" is the optimist, for comparison.
        coef: c. Coste et al. use 0.5 for best-of-n and 0.1 for PPO. 0 gives the mean exactly in "uwo" and
            "mean_minus_std"; in [0, 1] for "lower_quantile" and "robust_mix".
        ddof: the variance divides by the members present less this. The official code has 0 in one place and 1 in
            another; of 5 members that makes c differ by a quarter.
        std: (B, K) each member's own uncertainty, read by nominal="min_sigma" alone, on the scale of the scores.
        nominal: in "robust_mix", the trusted score: the members' mean; that of the member surest of the row, an
            arbitrary choice where the `std` have collapsed; or the member of that number. NaN where it is missing.
        missing: "skip" takes the members present. Losing members is not innocent: a min over fewer is never lower and
            a spread over one is 0, so a row can gain by a member's failure. "unscored" makes such a row NaN.

    Returns:
        (B,) rewards; NaN where no member scored, or where at most `ddof` did and a spread is asked.

    >>> aggregate(torch.tensor([[1.0, 3.0], [2.0, 2.0], [4.0, float("nan")]]), how="uwo")
    tensor([1.5000, 2.0000, 4.0000])
    """
    check_choice("aggregate", "how", how, get_args(How))
    check_choice("aggregate", "missing", missing, get_args(MissingMember))
    check_shape("aggregate", "source_rewards", source_rewards, None, None)
    if how in ("lower_quantile", "robust_mix"):
        check_range("aggregate", f"coef of {how!r}", coef, 0.0, 1.0)
    elif not math.isfinite(coef):
        raise ValueError(f"aggregate: coef is {coef}, which is not finite. Use a number, 0 for the plain mean.")
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    present = ~wide.isnan()
    if missing == "unscored":
        present = present & present.all(dim=1, keepdim=True)
    if how in ("uwo", "mean_minus_std"):
        result = _penalized(wide, present, how, coef, ddof)
    elif how == "robust_mix":
        result = _robust_mix(wide, present, coef, std, nominal)
    else:
        level = {"min": 0.0, "median": 0.5, "max": 1.0}.get(how, coef)
        result = _mean(wide, present) if how == "mean" else _quantile(wide, present, level)
    result = torch.where(present.any(dim=1), result, math.nan)
    return result.to(torch.result_type(source_rewards, 1.0))


def _mean(values: Tensor, present: Tensor) -> Tensor:
    """(B,) mean of those present; each is divided before they are added, so that large ones do not overflow."""
    count = present.sum(dim=1, keepdim=True).clamp(min=1)
    return (values.masked_fill(~present, 0.0) / count).sum(dim=1)


def _quantile(values: Tensor, present: Tensor, level: float) -> Tensor:
    """(B,) quantile of those present, by the line between neighbors; ±inf is met only where it is asked for."""
    ordered = values.masked_fill(~present, math.inf).sort(dim=1).values
    place = level * (present.sum(dim=1, keepdim=True) - 1).clamp(min=0).to(values.dtype)  # (B, 1) from 0
    low, high = ordered.gather(1, place.floor().long()), ordered.gather(1, place.ceil().long())
    share = place - place.floor()
    return torch.where((share == 0) | (low == high), low, low * (1 - share) + high * share)[:, 0]


def _penalized(values: Tensor, present: Tensor, how: str, coef: float, ddof: int) -> Tensor:
    """(B,) mean less c times the variance or the standard deviation."""
    mean = _mean(values, present)
    if coef == 0:
        return mean
    if ddof not in (0, 1):
        raise ValueError(f"aggregate: ddof is {ddof}. Use 0, or 1 for Bessel's correction.")
    count = present.sum(dim=1)
    known = (values.isfinite() | ~present).all(dim=1) & (count > ddof)
    held = present & known[:, None]
    low, high = (values.masked_fill(~held, end) for end in (math.inf, -math.inf))
    differ = held.any(dim=1) & (high.amax(dim=1) > low.amin(dim=1))  # a rounded mean of equal scores is no spread
    unit = torch.where(held, values.detach().abs(), 1.0).amax(dim=1).clamp(min=1)  # squares must not overflow
    gaps = torch.where(held & differ[:, None], (values - mean[:, None]) / unit[:, None], 0.0)
    variance = gaps.square().sum(dim=1) / (count - ddof).clamp(min=1)
    if how == "mean_minus_std":
        spread = torch.where(variance > 0, torch.where(variance > 0, variance, 1.0).sqrt(), 0.0) * unit
    else:
        spread = variance * unit * unit
    return torch.where(known, mean - coef * spread, math.nan)


def _robust_mix(values: Tensor, present: Tensor, coef: float, std: Tensor | None, nominal: Nominal) -> Tensor:
    """(B,) c · nominal + (1 − c) · min; at either end the other term is not read."""
    parts = []
    if coef < 1:
        parts.append((1 - coef) * _quantile(values, present, 0.0))
    if coef > 0:
        parts.append(coef * _nominal(values, present, std, nominal))
    return torch.stack(parts).sum(dim=0)


def _nominal(values: Tensor, present: Tensor, std: Tensor | None, nominal: Nominal) -> Tensor:
    """(B,) the trusted score; NaN where its member is missing."""
    if isinstance(nominal, int):
        check_range("aggregate", "nominal", nominal, 0, values.shape[1] - 1)
        return torch.where(present[:, nominal], values[:, nominal], math.nan)
    check_choice("aggregate", "nominal", nominal, ("mean", "min_sigma"))
    if nominal == "mean":
        return _mean(values, present)
    if std is None:
        raise ValueError("aggregate: nominal='min_sigma' needs std, each member's own. Pass it, or use nominal='mean'.")
    check_shape("aggregate", "std", std, *values.shape)
    usable = present & ~std.isnan()
    surest = std.detach().masked_fill(~usable, math.inf).argmin(dim=1, keepdim=True)  # (B, 1)
    return torch.where(usable.gather(1, surest), values.gather(1, surest), math.nan)[:, 0]


def member_statistics(reference: Tensor) -> MemberStatistics:
    """Each member's mean and standard deviation over responses of the reference policy.

    Measure once, before the policy moves, and keep: statistics of the batch at hand would follow the policy and hide
    that the scores drift. A member's own uncertainty has the same unit, so divide it by the same `std`.

    Args:
        reference: (M, K) scores; those that are not finite are left out.
    """
    check_shape("member_statistics", "reference", reference, None, None)
    check_range("member_statistics", "the number of reference rows", len(reference), 2, math.inf)
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
            f"member_statistics: members {flat.nonzero().flatten().tolist()} give all of {len(wide)} reference rows "
            "one score, or score fewer than two. Drop such a member, or pass more varied reference responses."
        )
    return MemberStatistics(mean * unit, std * unit)


@declares(Traits(scope="row", affine=False))
def zscore_members(source_rewards: Tensor, reference: Tensor) -> Tensor:
    """Bring the members of an ensemble to one scale: mean 0 and standard deviation 1 over the reference policy.

        z_ik = (r_ik − μ_k) / s_k        μ_k, s_k over the rows of `reference`, as `member_statistics` gives them

    Coste et al. 2023, arXiv:2310.02743. A Bradley-Terry model's constant and scale are arbitrary, so raw scores of
    two members cannot be compared. Not to be confused with `normalize_sources`, whose statistics are the group's.

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
    mean, std = (statistic.to(wide) for statistic in member_statistics(reference))
    return ((wide - mean) / std).to(torch.result_type(source_rewards, 1.0))
