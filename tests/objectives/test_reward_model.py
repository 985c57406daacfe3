"""Reward-model losses against a slow formula, enumeration of orders, gradcheck, and their limits."""

import math
from itertools import permutations

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from rewardsmith.objectives import (
    combined_confidence_loss,
    confidence_calibration_loss,
    crossed_confidence_loss,
    ranked_confidence_loss,
)

LOSSES = {
    confidence_calibration_loss: 4,
    crossed_confidence_loss: 4,
    ranked_confidence_loss: 4,
    combined_confidence_loss: 6,
}
EVERY = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def draw(n_arguments, n=5, *, seed=0, scale=2.0, grad=False):
    generator = torch.Generator().manual_seed(seed)
    values = scale * torch.randn(n_arguments, n, generator=generator, dtype=torch.float64)
    return [row.clone().requires_grad_(grad) for row in values]


def log_odds_loss(better, worse):
    """−log of the Bradley-Terry probability, written as a quotient of exponentials."""
    return -math.log(math.exp(better) / (math.exp(better) + math.exp(worse)))


def slow(loss, s):
    """One row, from the equation."""
    if loss is ranked_confidence_loss:
        probability = 1.0
        for k in range(4):
            probability *= math.exp(s[k]) / sum(math.exp(value) for value in s[k:])
        return -math.log(probability)
    plain, s = (s[:2], s[2:]) if loss is combined_confidence_loss else ([], s)
    total = log_odds_loss(s[0], s[1]) + log_odds_loss(s[2], s[3])
    total += log_odds_loss(*plain) if plain else 0.0
    return total + (log_odds_loss(s[0], s[2]) if loss is crossed_confidence_loss else 0.0)


@EVERY
def test_a_loss_equals_its_equation_row_by_row(loss):
    arguments = draw(LOSSES[loss])
    expected = [slow(loss, row) for row in torch.stack(arguments, dim=1).tolist()]
    assert_close(loss(*arguments), torch.tensor(expected, dtype=torch.float64))


def test_the_likelihoods_of_all_orders_sum_to_one():
    scores = draw(4, 3)
    total = sum(torch.exp(-ranked_confidence_loss(*(scores[i] for i in order))) for order in permutations(range(4)))
    assert_close(total, torch.ones(3, dtype=torch.float64))


@EVERY
def test_gradients_are_those_of_finite_differences(loss):
    assert gradcheck(loss, draw(LOSSES[loss], grad=True))


@EVERY
def test_a_shift_of_the_reward_model_changes_nothing(loss):
    arguments = draw(LOSSES[loss])
    assert_close(loss(*(value + 7.5 for value in arguments)), loss(*arguments))


@EVERY
def test_the_right_order_costs_less_than_the_wrong_one(loss):
    order = [3.0, 2.0, 1.0, 0.0]
    plain = [1.0, -1.0] if LOSSES[loss] == 6 else []
    right = [torch.tensor([value]) for value in plain + order]
    wrong = [torch.tensor([-value]) for value in plain + order]
    assert bool(loss(*right) < loss(*wrong))


def test_the_default_loss_does_not_see_quality_and_the_others_do():
    tone = [torch.tensor([value], requires_grad=True) for value in (1.0, 0.0, 0.0, -1.0)]
    better = [tone[0] + 5, tone[1] + 5, tone[2], tone[3]]  # the chosen answer scores higher in either tone
    assert_close(confidence_calibration_loss(*better), confidence_calibration_loss(*tone))
    assert bool(crossed_confidence_loss(*better) < crossed_confidence_loss(*tone))
    assert bool(ranked_confidence_loss(*better) < ranked_confidence_loss(*tone))


@pytest.mark.parametrize(("loss", "position"), [(loss, i) for loss, n in LOSSES.items() for i in range(n)])
def test_a_row_with_an_unscored_text_is_unscored_and_sends_no_gradient(loss, position):
    arguments = draw(LOSSES[loss])
    whole = [value.clone()[1:].requires_grad_() for value in arguments]
    arguments[position][0] = math.nan
    holed = [value.requires_grad_() for value in arguments]
    losses = loss(*holed)
    assert losses.isnan().tolist() == [True, False, False, False, False]
    losses.nanmean().backward()
    loss(*whole).mean().backward()
    for value, alone in zip(holed, whole, strict=True):
        assert value.grad[0] == 0.0
        assert_close(value.grad[1:], alone.grad)


@EVERY
@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_extreme_scores_give_finite_losses_and_gradients(loss, scale):
    arguments = draw(LOSSES[loss], scale=scale, grad=True)
    losses = loss(*arguments)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert all(value.grad.isfinite().all() for value in arguments)


def test_an_infinite_score_gives_the_limit():
    zero, inf = torch.zeros(1, dtype=torch.float64), torch.full((1,), math.inf, dtype=torch.float64)
    half = torch.full((1,), math.log(2), dtype=torch.float64)
    assert_close(confidence_calibration_loss(inf, zero, zero, zero), half)
    assert confidence_calibration_loss(zero, inf, zero, zero).item() == math.inf
    assert confidence_calibration_loss(inf, inf, zero, zero).isnan().all()


@EVERY
def test_half_precision_stays_half_precision(loss):
    losses = loss(*(value.half() for value in draw(LOSSES[loss])))
    assert losses.dtype == torch.float16
    assert_close(losses.double(), loss(*(value.half().double() for value in draw(LOSSES[loss]))), rtol=5e-3, atol=5e-3)


@EVERY
def test_shapes_that_differ_are_refused(loss):
    arguments = draw(LOSSES[loss])
    arguments[0] = arguments[0][:3]
    with pytest.raises(ValueError, match=rf"{loss.__name__}: arguments must share one shape"):
        loss(*arguments)
