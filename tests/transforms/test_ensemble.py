"""Oracles for the members of an ensemble: numpy and the statistics module row by row, limits, gradcheck."""

import inspect
import math
import statistics
from functools import partial

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import (
    mean_minus_std,
    mean_minus_variance,
    member_mean,
    member_quantile,
    robust_mix,
    zscore_members,
)
from rewardsmith.transforms.ensemble import reference_statistics

NAN, INF = math.nan, math.inf
WAYS = {
    "mean": member_mean,
    "median": partial(member_quantile, level=0.5),
    "min": partial(member_quantile, level=0.0),
    "max": partial(member_quantile, level=1.0),
    "uwo": mean_minus_variance,
    "mean_minus_std": mean_minus_std,
    "lower_quantile": member_quantile,
    "robust_mix": robust_mix,
}
PESSIMISTS = ("min", "uwo", "mean_minus_std", "robust_mix")  # a low quantile can lie above a mean with one low score


def way(how, *, coef=None, ddof=0, **options):
    """A way to aggregate, with those of the options that it has."""
    takes = inspect.signature(WAYS[how]).parameters
    given = {"coef": coef, "level": coef, "ddof": ddof} if coef is not None else {"ddof": ddof}
    fixed = how in ("median", "min", "max")
    held = {name: value for name, value in given.items() if name in takes and not (fixed and name == "level")}
    return partial(WAYS[how], **held, **options)


def scores(n: int = 40, k: int = 5, *, seed: int = 0, missing: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, k, generator=generator, dtype=torch.float64)
    return drawn.masked_fill(torch.rand(n, k, generator=generator) < missing, NAN)


def slow(members: list[float], how: str, coef: float, ddof: int) -> float:
    """One row, by the book."""
    if not members:
        return NAN
    mean = statistics.fmean(members)
    if how in ("uwo", "mean_minus_std") and coef:
        if len(members) <= ddof:
            return NAN
        variance = statistics.variance(members) if ddof else statistics.pvariance(members)
        return mean - coef * (variance if how == "uwo" else math.sqrt(variance))
    return {
        "mean": mean,
        "uwo": mean,
        "mean_minus_std": mean,
        "median": statistics.median(members),
        "min": min(members),
        "max": max(members),
        "lower_quantile": float(np.quantile(members, min(max(coef, 0), 1))),
        "robust_mix": coef * mean + (1 - coef) * min(members),
    }[how]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("coef", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("ddof", [0, 1])
def test_each_way_agrees_with_a_slow_loop_over_the_members_present(how, coef, ddof):
    given = scores(missing=0.4)
    given[0] = NAN  # nobody scored it
    expected = [slow([x for x in row if not math.isnan(x)], how, coef, ddof) for row in given.tolist()]
    got = way(how, coef=coef, ddof=ddof)(given)
    assert_close(got, torch.tensor(expected, dtype=torch.float64), equal_nan=True)


@pytest.mark.parametrize("how", ["uwo", "mean_minus_std"])
def test_a_coefficient_of_zero_is_the_mean_exactly(how):
    given = scores(missing=0.3)
    assert torch.equal(way(how, coef=0.0)(given).nan_to_num(), member_mean(given).nan_to_num())


@pytest.mark.parametrize("how", [how for how in WAYS if how not in ("uwo", "mean_minus_std")])
def test_an_ensemble_of_one_is_its_member(how):
    assert torch.equal(WAYS[how](scores(k=1)), scores(k=1)[:, 0])


@pytest.mark.parametrize("how", ["uwo", "mean_minus_std"])
def test_one_member_has_a_spread_of_zero_and_with_bessel_s_correction_an_unknown_one(how):
    assert torch.equal(WAYS[how](scores(k=1)), scores(k=1)[:, 0])
    assert way(how, ddof=1)(scores(k=1)).isnan().all()
    assert torch.equal(way(how, coef=0.0, ddof=1)(scores(k=1)), scores(k=1)[:, 0])


@pytest.mark.parametrize("how", WAYS)
def test_members_that_agree_leave_nothing_to_be_pessimistic_about(how):
    one = 100 / 3 * scores(k=1).float()
    assert_close(way(how, coef=0.9)(one.expand(-1, 7)), one[:, 0], rtol=1e-6, atol=0)
    assert torch.equal(mean_minus_variance(one.expand(-1, 7), coef=1e9), member_mean(one.expand(-1, 7)))


@pytest.mark.parametrize("how", PESSIMISTS)
def test_a_pessimist_never_pays_more_than_the_mean(how):
    assert (way(how, coef=0.4)(scores()) <= member_mean(scores())).all()


def test_ddof_one_charges_five_members_a_quarter_more():
    given = scores()
    charge = [member_mean(given) - mean_minus_variance(given, ddof=ddof) for ddof in (0, 1)]
    assert_close(charge[1], 1.25 * charge[0])


def test_the_order_of_members_does_not_matter():
    given = scores(missing=0.2)
    for aggregate in WAYS.values():
        assert_close(aggregate(given.flip(1)), aggregate(given), equal_nan=True)


def test_robust_mix_runs_from_the_worst_member_to_the_nominal_one():
    given = scores()
    assert torch.equal(robust_mix(given, coef=0.0, nominal=2), given.amin(dim=1))
    assert torch.equal(robust_mix(given, coef=1.0, nominal=2), given[:, 2])
    half = robust_mix(given, coef=0.5, nominal=2)
    assert_close(half, (given.amin(dim=1) + given[:, 2]) / 2)


def test_the_surest_member_is_the_nominal_one_where_it_is_there():
    given = torch.tensor([[1.0, 2.0, 3.0], [1.0, NAN, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, NAN]])
    std = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [3.0, NAN, NAN], [NAN, NAN, 1.0]])
    got = robust_mix(given, coef=1.0, nominal="min_sigma", std=std)
    # Row by row: the least std of those present is member 1, then 2 (1 is missing), then 0; then nobody's is known.
    assert_close(got, torch.tensor([2.0, 3.0, 1.0, NAN]), equal_nan=True)


def test_a_nominal_member_that_is_missing_leaves_the_row_unscored_unless_it_has_no_say():
    given = torch.tensor([[NAN, 2.0]])
    assert robust_mix(given, coef=0.5, nominal=0).isnan().all()
    assert robust_mix(given, coef=0.0, nominal=0).item() == 2.0


def test_a_missing_member_can_raise_a_pessimistic_reward_and_unscored_forbids_it():
    full, lacking = torch.tensor([[1.0, -3.0]]), torch.tensor([[1.0, NAN]])
    for how in ("min", "uwo", "mean_minus_std"):
        assert WAYS[how](lacking) > WAYS[how](full)
        assert WAYS[how](lacking, missing="unscored").isnan().all()
        assert_close(WAYS[how](full, missing="unscored"), WAYS[how](full))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [-INF, INF, NAN]),
        ("median", [1.0, 1.0, 0.0]),
        ("min", [-INF, 0.0, -INF]),
        ("max", [1.0, INF, INF]),
        ("uwo", [NAN, NAN, NAN]),
        ("mean_minus_std", [NAN, NAN, NAN]),
        ("robust_mix", [-INF, INF, NAN]),
    ],
)
def test_an_infinite_score_is_a_value_whose_spread_is_unknown(how, expected):
    given = torch.tensor([[1.0, -INF, 1.0], [1.0, INF, 0.0], [-INF, INF, 0.0]])
    assert_close(WAYS[how](given), torch.tensor(expected), equal_nan=True)


@pytest.mark.parametrize("how", WAYS)
def test_its_gradient_agrees_with_finite_differences(how):
    given = scores(6, 4, missing=0.2).requires_grad_()
    std = torch.rand(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    options = {"std": std, "nominal": "min_sigma"} if how == "robust_mix" else {}
    torch.autograd.gradcheck(lambda x: way(how, coef=0.3, **options)(x).nan_to_num(), given)


@pytest.mark.parametrize("how", WAYS)
def test_the_gradient_is_finite_where_members_agree_and_where_some_are_missing(how):
    given = torch.tensor([[2.0, 2.0, 2.0], [1.0, NAN, 1.0], [NAN, NAN, NAN], [1e-30, 0.0, 0.0]], requires_grad=True)
    way(how, coef=0.3)(given).nansum().backward()
    assert given.grad.isfinite().all()
    assert given.grad[1, 1] == 0
    assert (given.grad[2] == 0).all()


def test_half_precision_is_computed_in_single():
    given = torch.tensor([[300.0, 310.0, 320.0]], dtype=torch.float16)  # squares leave the range of float16
    got = mean_minus_variance(given, coef=0.01)
    assert got.dtype == torch.float16
    assert_close(got.double(), torch.tensor([310 - 0.01 * 200 / 3], dtype=torch.float64), rtol=1e-3, atol=0)
    assert member_mean(torch.tensor([[1, 2]])).dtype == torch.get_default_dtype()


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        *((each, {"missing": "zero"}, "missing is 'zero'") for each in WAYS.values()),
        *(
            (each, {"coef": NAN}, "coef is nan, which is not finite. Use a number, 0 for the plain mean")
            for each in (mean_minus_variance, mean_minus_std)
        ),
        (mean_minus_variance, {"ddof": 2}, "mean_minus_variance: ddof is 2. Use 0, or 1 for Bessel"),
        (robust_mix, {"coef": 1.5}, r"robust_mix: coef is 1.5, outside \[0.0, 1.0\]"),
        (member_quantile, {"level": -0.1}, "member_quantile: level is -0.1"),
        (robust_mix, {"nominal": 5}, r"robust_mix: nominal is 5, outside \[0, 4\]"),
        (robust_mix, {"nominal": "best"}, "robust_mix: nominal is 'best'"),
        (robust_mix, {"nominal": "min_sigma"}, "robust_mix: nominal='min_sigma' needs std, each member's own"),
        (
            robust_mix,
            {"nominal": "min_sigma", "std": torch.ones(3, 5)},
            r"robust_mix: std must have shape \(40, 5\), got \(3, 5\)",
        ),
    ],
)
def test_an_aggregate_refuses_what_it_cannot_read(function, options, message):
    with pytest.raises(ValueError, match=message):
        function(scores(), **options)


@pytest.mark.parametrize("function", WAYS.values())
def test_an_aggregate_refuses_scores_without_a_dimension_of_members(function):
    with pytest.raises(ValueError, match=r": source_rewards must have shape \(any, any\), got \(4,\)"):
        function(torch.ones(4))


def test_zscores_of_the_reference_itself_have_mean_0_and_deviation_1():
    reference = 5 + scores(200, 4) * torch.tensor([0.01, 1.0, 7.0, 1e6], dtype=torch.float64)
    got = zscore_members(reference, reference)
    assert_close(got.mean(dim=0), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-9)
    assert_close(got.std(dim=0, correction=0), torch.ones(4, dtype=torch.float64))


def test_reference_statistics_are_numpy_s_over_the_scores_that_are_finite():
    reference = scores(50, 3, missing=0.3)
    reference[0, 0], reference[1, 1] = INF, -INF
    finite = np.where(np.isfinite(reference.numpy()), reference.numpy(), np.nan)
    mean, std = reference_statistics(reference)
    assert_close(mean, torch.from_numpy(np.nanmean(finite, axis=0)))
    assert_close(std, torch.from_numpy(np.nanstd(finite, axis=0)))


def test_zscoring_undoes_each_member_s_own_constant_and_scale():
    given, reference = scores(10), scores(30, seed=1)
    scale, shift = torch.tensor([1.0, 2.0, 0.5, 10.0, 3.0]), torch.tensor([0.0, -4.0, 9.0, 1.0, 2.0])
    assert_close(zscore_members(given * scale + shift, reference * scale + shift), zscore_members(given, reference))


def test_zscoring_one_row_needs_only_its_own_scores_and_keeps_what_is_not_finite():
    reference = scores(30, seed=1)
    given = scores(10)
    given[3] = torch.tensor([NAN, INF, -INF, 0.0, 1.0])
    got = zscore_members(given, reference)
    assert_close(zscore_members(given[3:4], reference), got[3:4], equal_nan=True)
    assert got[3].isnan().tolist() == [True, False, False, False, False]
    assert got[3, 1:3].tolist() == [INF, -INF]


def test_no_gradient_flows_into_the_reference():
    given, reference = scores(4, 2).requires_grad_(), scores(9, 2, seed=1).requires_grad_()
    zscore_members(given, reference).sum().backward()
    assert reference.grad is None
    assert_close(given.grad, (1 / reference_statistics(reference).std).expand(4, 2))


def test_large_and_small_scales_neither_overflow_nor_vanish():
    reference = torch.tensor([[0.0, 1e-15], [3e38, 3e-15]])
    assert_close(zscore_members(reference, reference), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def test_a_member_that_cannot_be_scaled_is_refused_by_number():
    flat = torch.tensor([[1.0, 0.1, NAN], [2.0, 0.1, 3.0], [4.0, 0.1, NAN]])
    with pytest.raises(ValueError, match=r"reference_statistics: columns \[1, 2\] give all of 3 reference rows"):
        zscore_members(flat, flat)
    with pytest.raises(ValueError, match=r"reference_statistics: the number of reference rows is 1, outside \[2"):
        reference_statistics(flat[:1])
    with pytest.raises(ValueError, match=r"zscore_members: reference must have shape \(any, 3\), got \(3, 2\)"):
        zscore_members(flat, flat[:, :2])
