"""Log-odds of principles combined: by hand, by a loop, and against what a base rate does to them."""

import math

import pytest
import torch
from scipy.special import expit
from torch.testing import assert_close

from rewardsmith.transforms import combine_principles, logical_and

NAN = math.nan


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


LOGODDS = rows([2.0, -1.0, 0.5], [-3.0, 4.0, NAN], [NAN, NAN, NAN])


def test_each_rule_by_hand():
    """Weights 1, −2, 0: 2 + 2 = 4; −3 − 8 = −11; nothing known."""
    weights = [1.0, -2.0, 0.0]
    assert_close(combine_principles(LOGODDS, weights=weights), rows(4.0, -11.0, NAN), equal_nan=True)
    found = combine_principles(LOGODDS, weights=weights, how="mean_prob")
    expected = [(expit(2.0) + 2 * expit(1.0)) / 3, (expit(-3.0) + 2 * expit(-4.0)) / 3, NAN]
    assert_close(found, rows(*expected), equal_nan=True)
    assert_close(combine_principles(LOGODDS, weights=weights, how="min"), rows(1.0, -4.0, NAN), equal_nan=True)


@pytest.mark.parametrize(
    ("how", "known"), [("sum_logodds", 1.5), ("mean_prob", (expit(-3.0) + expit(4.0)) / 2), ("min", NAN)]
)
def test_a_missing_principle_is_left_out_or_unscores_and_may_always_be_the_least(how, known):
    """(−3 + 4) · 3 / 2 = 1.5."""
    assert_close(combine_principles(LOGODDS, how=how)[1], rows(known)[0], equal_nan=True)
    assert combine_principles(LOGODDS, how=how, missing="unscored").isnan().tolist() == [False, True, True]


@pytest.mark.parametrize("how", ["sum_logodds", "mean_prob", "min"])
def test_base_rates_cancel_once_they_are_taken_off(how):
    """A base rate adds one number to a principle's log-odds, in the rows as in the reference."""
    generator = torch.Generator().manual_seed(0)
    clean, reference = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (5, 40))
    base = rows(4.0, -2.0, 0.0)
    reference[3, 1] = NAN
    plain = combine_principles(clean, how=how, reference=reference)
    assert_close(combine_principles(clean + base, how=how, reference=reference + base), plain)
    if how != "sum_logodds":
        order = combine_principles(clean + base, how=how).argsort().tolist()
        assert order != combine_principles(clean, how=how).argsort().tolist()


def test_a_row_may_have_weights_of_its_own():
    weights = rows([1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 0.0])
    for how in ("sum_logodds", "min"):
        assert_close(combine_principles(LOGODDS, weights=weights, how=how), rows(2.0, -4.0, NAN), equal_nan=True)
    weights[0, 1] = NAN
    for how in ("sum_logodds", "mean_prob", "min"):
        assert combine_principles(LOGODDS, weights=weights, how=how).isnan().tolist() == [True, False, True]


def test_one_weak_principle_is_forgiven_by_the_mean_and_not_by_the_least_nor_by_the_conjunction():
    weak, even = rows([6.0, 6.0, -6.0]), rows([0.5, 0.5, 0.5])
    both = torch.cat([weak, even])
    means, least = (combine_principles(both, how=how) for how in ("mean_prob", "min"))
    assert means[0] > means[1]
    assert least[0] < least[1]
    conjunction = logical_and(torch.nn.functional.logsigmoid(both))
    assert conjunction[0] < conjunction[1]


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match=r"combine_principles: how is 'max'"):
        combine_principles(LOGODDS, how="max")
    with pytest.raises(ValueError, match=r"combine_principles: reference has means .*nan.*\. Give each principle at"):
        combine_principles(LOGODDS, reference=rows([1.0, NAN, 2.0]))
    with pytest.raises(ValueError, match=r"combine_principles: reference must have shape \(any, 3\)"):
        combine_principles(LOGODDS, reference=rows([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"combine_principles: weights .* not all 0"):
        combine_principles(LOGODDS, weights=[0.0, 0.0, 0.0])
