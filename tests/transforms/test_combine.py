"""Logical AND and OR against enumeration in exact arithmetic, limits and gradcheck."""

import math
from fractions import Fraction
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import logical_and, logical_or

NAN, INF = math.nan, math.inf


def by_enumeration(probabilities, holds):
    """P(holds(events)) of independent events, in exact arithmetic, summed over all 2^K outcomes."""
    total = Fraction(0)
    for outcome in product((False, True), repeat=len(probabilities)):
        if holds(outcome):
            total += math.prod((p if event else 1 - p) for p, event in zip(probabilities, outcome, strict=True))
    return total


def logs_of(probabilities):
    return torch.tensor([[math.log(p) if p else -INF for p in probabilities]], dtype=torch.float64)


GRID = [Fraction(0), Fraction(1, 10**9), Fraction(1, 3), Fraction(9, 10), 1 - Fraction(1, 10**6), Fraction(1)]


@pytest.mark.parametrize(("combine", "holds"), [(logical_and, all), (logical_or, any)])
def test_and_and_or_are_the_probability_of_the_joint_event(combine, holds):
    for probabilities in product(GRID, repeat=3):
        expected = by_enumeration(probabilities, holds)
        got = float(combine(logs_of(probabilities)))
        want = math.log(expected) if expected else -INF
        assert got == pytest.approx(want, rel=1e-9, abs=1e-12), probabilities


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_or_of_tiny_probabilities_is_the_log_of_their_sum(dtype):
    # 1 − e^−800 is 1 in any float: the naive form gives log 0. To first order P(any) = Σ p.
    logs = torch.tensor([[-800.0, -801.0, -805.0]], dtype=dtype)
    assert_close(logical_or(logs), logs.logsumexp(dim=1))


def test_or_near_certainty_keeps_the_probability_of_the_opposite():
    # p = 1 − q: log(1 − q³) = −q³ to first order, far below the rounding of 1 − q³.
    q = 1e-9
    logs = torch.full((1, 3), math.log1p(-q), dtype=torch.float64)
    assert float(logical_or(logs)) == pytest.approx(-(q**3), rel=1e-9)


def test_or_is_continuous_where_the_series_takes_over():
    for dtype in (torch.float32, torch.float64):
        start = 0.5 * math.log(torch.finfo(dtype).eps)
        logs = torch.linspace(start - 0.5, start + 0.5, 201, dtype=dtype)[:, None]
        assert_close(logical_or(logs), logs[:, 0])  # one property: log p itself
        assert bool((logical_or(logs).diff() > 0).all())


def test_weights_emphasize_and_a_property_of_weight_zero_is_ignored():
    logs = torch.tensor([[-1.0, NAN, -2.0], [-1.0, -3.0, NAN], [-1.0, -INF, -4.0]], dtype=torch.float64)
    got = logical_and(logs, weights=[2.0, 0.0, 0.5])
    assert_close(got, torch.tensor([-3.0, NAN, -4.0], dtype=torch.float64), equal_nan=True)


def test_each_row_may_have_its_own_weights():
    logs = torch.tensor([[-1.0, NAN], [-1.0, -2.0], [-1.0, -2.0], [-1.0, -2.0]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 0.0], [0.5, 3.0], [0.0, 0.0], [1.0, NAN]])
    expected = torch.tensor([-1.0, -6.5, NAN, NAN], dtype=torch.float64)  # −0.5 − 6 = −6.5
    assert_close(logical_and(logs, weights=weights), expected, equal_nan=True)


@pytest.mark.parametrize("combine", [logical_and, logical_or])
def test_a_missing_property_unscores_the_row_and_no_other(combine):
    got = combine(torch.tensor([[0.0, NAN], [NAN, NAN], [-1.0, -1.0], [-INF, -INF]]))
    assert got.isnan().tolist() == [True, True, False, False]
    assert got[3] == -INF


@pytest.mark.parametrize("combine", [logical_and, logical_or])
def test_the_gradient_is_that_of_finite_differences(combine):
    generator = torch.Generator().manual_seed(0)
    logs = -(0.05 + 3 * torch.rand(5, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    logs = logs.detach().requires_grad_()
    assert torch.autograd.gradcheck(combine, (logs,))


def test_the_gradient_of_or_is_each_propertys_share_at_the_ends():
    logs = torch.tensor([[0.0, -1.0], [-INF, -1.0], [-900.0, -900.0]], dtype=torch.float64, requires_grad=True)
    logical_or(logs).nansum().backward()
    # certain already: only the certain one moves it, as d log(1 − 0·…)/du₁ = 1 − e^{−1}; impossible: no share;
    # tiny: p_k / Σ p
    expected = torch.tensor([[1 - math.exp(-1), 0.0], [0.0, 1.0], [0.5, 0.5]], dtype=torch.float64)
    assert_close(logs.grad, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: logical_or(-s), r"logical_or: source_rewards hold 1.0, but each is a log-probability, at most 0"),
        (lambda s: logical_and(-s), r"logical_and: source_rewards hold 1.0.*Pass rewards through log_sigmoid_shaping"),
        (lambda s: logical_and(s, weights=[1.0, -1.0]), r"logical_and: weights .* below 0.*Use weights >= 0"),
        (lambda s: logical_and(s, weights=[1.0]), r"logical_and: weights must have shape \(2\)"),
        (lambda s: logical_or(s[0]), r"logical_or: source_rewards must have shape \(any, any\)"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.tensor([[-1.0, -0.5], [NAN, -1.0]]))
