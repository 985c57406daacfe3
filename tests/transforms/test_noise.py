"""The noise channel, enumerated: every truth, every verdict, every policy gradient of a small softmax."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import group_centered, group_zscore
from rewardsmith.transforms import backward_correction, forward_weights
from rewardsmith.types import traits_of

NAN = math.nan
RATES = [(0.0, 0.0), (0.1, 0.3), (0.3, 0.4), (0.4, 0.5), (0.05, 0.75)]
VERDICTS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def given_truth(fp, fn):
    """(2, 2): P(verdict | truth), truth 0 first."""
    return torch.tensor([[1 - fp, fp], [fn, 1 - fn]], dtype=torch.float64)


@pytest.mark.parametrize(("fp", "fn"), RATES)
def test_backward_correction_recovers_the_clean_reward_in_expectation(fp, fn):
    corrected = backward_correction(VERDICTS, false_positive_rate=fp, false_negative_rate=fn)
    assert_close(given_truth(fp, fn) @ corrected, VERDICTS, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("fp", "fn"), RATES)
def test_forward_weights_are_zero_on_right_rows_and_negative_on_wrong_ones(fp, fn):
    weights = forward_weights(VERDICTS, false_negative_rate=fn)
    expected = torch.tensor([-(1 - fp - fn), 0.0], dtype=torch.float64)
    assert_close(given_truth(fp, fn) @ weights, expected, rtol=0, atol=1e-9)


def expected_gradient(logits, truth, credit_given_truth):
    """Σ_a π(a) E[credit | truth_a] ∇ log π(a), by enumeration of the answers."""
    policy = logits.softmax(dim=0)
    score = torch.eye(len(logits), dtype=torch.float64) - policy  # row a is ∇ log π(a)
    return (policy * credit_given_truth[truth]) @ score


@pytest.mark.parametrize(("fp", "fn"), RATES)
def test_both_corrections_point_where_the_clean_gradient_points(fp, fn):
    logits = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truth = torch.tensor([0, 1, 0, 0, 1, 0, 1])
    clean = expected_gradient(logits, truth, VERDICTS)
    channel = given_truth(fp, fn)
    backward = backward_correction(VERDICTS, false_positive_rate=fp, false_negative_rate=fn)
    forward = forward_weights(VERDICTS, false_negative_rate=fn)
    assert_close(expected_gradient(logits, truth, channel @ backward), clean, rtol=0, atol=1e-9)
    from_forward = expected_gradient(logits, truth, channel @ forward)
    assert_close(torch.cosine_similarity(from_forward, clean, dim=0).item(), 1.0, rtol=0, atol=1e-9)
    assert_close(from_forward, (1 - fp - fn) * clean, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("fp", "fn"), RATES)
def test_a_group_zscore_cancels_constant_rates_and_centering_leaves_a_step_size(fp, fn):
    verdicts = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0], dtype=torch.float64)  # three groups of four
    backward = backward_correction(verdicts, false_positive_rate=fp, false_negative_rate=fn)
    forward = forward_weights(verdicts, false_negative_rate=fn)
    half = math.sqrt(1 / 3)  # the standard deviation of (1, 0, 0, 1), whose mean is ½
    first = torch.tensor([1, -1, -1, 1], dtype=torch.float64) / 2
    for corrected, scale in ((backward, 1 / (1 - fp - fn)), (forward, 1.0)):
        zscores, gaps = (estimator(corrected, group_size=4) for estimator in (group_zscore, group_centered))
        assert_close(zscores[:4], first / half, rtol=1e-3, atol=0)  # an eps is added to the standard deviation
        assert_close(zscores[4:8], torch.zeros(4, dtype=torch.float64))
        assert_close(gaps[:4], scale * first)


def test_swapped_rates_are_biased():
    swapped = backward_correction(VERDICTS, false_positive_rate=0.4, false_negative_rate=0.1)
    assert not torch.allclose(given_truth(0.1, 0.4) @ swapped, VERDICTS, atol=0.1)


def test_rates_by_row_correct_each_row_by_its_own():
    fp, fn = torch.tensor([0.0, 0.2]), torch.tensor([0.5, 0.1])
    got = backward_correction(torch.ones(2), false_positive_rate=fp, false_negative_rate=fn)
    assert_close(got, torch.tensor([2.0, 0.8 / 0.7]))  # (1 − 0)/½ and (1 − .2)/(1 − .2 − .1)


def test_estimated_rates_near_one_are_floored_and_not_exploded():
    fn = torch.tensor([0.95, 0.99])
    got = backward_correction(torch.ones(2), false_positive_rate=0.0, false_negative_rate=fn)
    assert_close(got, torch.tensor([10.0, 10.0]))  # 1/floor with the default 0.1
    loose = backward_correction(torch.ones(2), false_positive_rate=0.0, false_negative_rate=fn, floor=0.05)
    assert_close(loose, torch.tensor([20.0, 20.0]))


def test_a_verdict_that_says_nothing_or_the_contrary_unscores_its_row_and_is_never_trained_on():
    fp, fn = torch.tensor([0.9, 0.5, 0.25]), torch.tensor([0.9, 0.5, 0.25])
    for verdict, known in ((0.0, -0.5), (1.0, 1.5)):  # (0 − ¼)/½ and (1 − ¼)/½
        got = backward_correction(torch.full((3,), verdict), false_positive_rate=fp, false_negative_rate=fn)
        assert_close(got, torch.tensor([NAN, NAN, known]), equal_nan=True)


def test_an_unknown_rate_unscores_its_row():
    rates = torch.tensor([NAN, 0.0])
    got = backward_correction(torch.ones(2), false_positive_rate=0.0, false_negative_rate=rates)
    assert_close(got, torch.tensor([NAN, 1.0]), equal_nan=True)


def test_no_gradient_flows_into_the_rates():
    rates = torch.tensor([0.1, 0.2], requires_grad=True)
    assert not backward_correction(torch.ones(2), false_positive_rate=rates, false_negative_rate=rates).requires_grad
    assert not forward_weights(torch.ones(2), false_negative_rate=rates).requires_grad


def test_only_constant_rates_are_declared_affine():
    constant = partial(backward_correction, false_positive_rate=0.1, false_negative_rate=0.2)
    by_row = partial(backward_correction, false_positive_rate=0.1, false_negative_rate=torch.zeros(4))
    from_context = partial(backward_correction, false_positive_rate=0.1)
    assert traits_of(constant).affine
    assert not traits_of(by_row).affine
    assert not traits_of(from_context).affine
    assert traits_of(partial(forward_weights, false_negative_rate=0.1)).affine
    assert not traits_of(forward_weights).affine


def correct(rewards, **rates):
    return backward_correction(rewards, **{"false_positive_rate": 0.1, "false_negative_rate": 0.1, **rates})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: correct(v, false_negative_rate=0.9), r"error rates 0.1 \+ 0.9 reach 1, .* flip the verdict"),
        (lambda v: correct(v, false_negative_rate=torch.tensor(0.95)), r"error rates 0.1 \+ 0.95 reach 1, .* flip"),
        (lambda v: correct(v, false_positive_rate=-0.1), r"backward_correction: false_positive_rate is -0.1, outside"),
        (
            lambda v: correct(v, false_negative_rate=v + 2),
            r"backward_correction: false_negative_rate has a value outside \[0, 1\]",
        ),
        (lambda v: correct(v, false_negative_rate=v[:1]), r"backward_correction: arguments must share one shape"),
        (lambda v: correct(v, false_negative_rate=v, floor=0.0), r"backward_correction: floor is 0.0; .* such as 0.1"),
        (lambda v: forward_weights(v + 0.5, false_negative_rate=0.1), r"forward_weights: verdicts holds 0.5, .*Thresh"),
        (lambda v: forward_weights(v, false_negative_rate=1.1), r"forward_weights: false_negative_rate is 1.1"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(3))
