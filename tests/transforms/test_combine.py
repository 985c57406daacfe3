"""Logical AND and OR against enumeration in exact arithmetic, limits and gradcheck."""

import math
from fractions import Fraction
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import logical_and

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


def test_and_is_the_probability_of_the_joint_event():
    for probabilities in product(GRID, repeat=3):
        expected = by_enumeration(probabilities, all)
        got = float(logical_and(logs_of(probabilities)))
        want = math.log(expected) if expected else -INF
        assert got == pytest.approx(want, rel=1e-9, abs=1e-12), probabilities


def test_weights_emphasize_and_a_property_of_weight_zero_is_ignored():
    logs = torch.tensor([[-1.0, NAN, -2.0], [-1.0, -3.0, NAN], [-1.0, -INF, -4.0]], dtype=torch.float64)
    got = logical_and(logs, weights=[2.0, 0.0, 0.5])
    assert_close(got, torch.tensor([-3.0, NAN, -4.0], dtype=torch.float64), equal_nan=True)


def test_each_row_may_have_its_own_weights():
    logs = torch.tensor([[-1.0, NAN], [-1.0, -2.0], [-1.0, -2.0], [-1.0, -2.0]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 0.0], [0.5, 3.0], [0.0, 0.0], [1.0, NAN]])
    expected = torch.tensor([-1.0, -6.5, NAN, NAN], dtype=torch.float64)  # −0.5 − 6 = −6.5
    assert_close(logical_and(logs, weights=weights), expected, equal_nan=True)


def test_a_missing_property_unscores_the_row_and_no_other():
    got = logical_and(torch.tensor([[0.0, NAN], [NAN, NAN], [-1.0, -1.0], [-INF, -INF]]))
    assert got.isnan().tolist() == [True, True, False, False]
    assert got[3] == -INF


def test_the_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logs = -(0.05 + 3 * torch.rand(5, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    logs = logs.detach().requires_grad_()
    assert torch.autograd.gradcheck(logical_and, (logs,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: logical_and(-s), r"logical_and: source_rewards hold 1.0.*Pass rewards through log_sigmoid_shaping"),
        (lambda s: logical_and(s, weights=[1.0, -1.0]), r"logical_and: weights .* below 0.*Use weights >= 0"),
        (lambda s: logical_and(s, weights=[1.0]), r"logical_and: weights must have shape \(2\)"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.tensor([[-1.0, -0.5], [NAN, -1.0]]))
