"""DPO with a β per pair against mpmath, TRL's formula for one β, gradcheck, and the choices where margins disagree."""

import math

import mpmath
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from rewardsmith.objectives import dpo_loss, dynamic_beta, margin_weight

NAN = math.nan


def draw(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def slow_beta(margin, beta, scale, rate):
    with mpmath.workdps(40):
        return float(mpmath.mpf(beta) * (1 + mpmath.mpf(scale) * (1 - mpmath.exp(-mpmath.mpf(rate) * margin))))


def test_dpo_is_its_equation_for_every_pair_s_own_beta():
    logps, betas = draw(4, 6, scale=30.0), draw(6, seed=1).exp()
    expected = []
    for chosen, rejected, ref_chosen, ref_rejected, beta in zip(*logps.tolist(), betas.tolist(), strict=True):
        with mpmath.workdps(60):
            odds = mpmath.exp(chosen) / mpmath.exp(ref_chosen) / (mpmath.exp(rejected) / mpmath.exp(ref_rejected))
            expected.append(float(-mpmath.log(odds**beta / (1 + odds**beta))))
    assert_close(dpo_loss(*logps, beta=betas), column(*expected))


def test_with_one_beta_it_is_the_sigmoid_loss_of_trl():
    chosen, rejected, ref_chosen, ref_rejected = logps = draw(4, 6)
    theirs = -torch.nn.functional.logsigmoid(0.3 * ((chosen - ref_chosen) - (rejected - ref_rejected)))
    assert_close(dpo_loss(*logps, beta=0.3), theirs)
    assert_close(dpo_loss(*logps, beta=torch.tensor(0.3)), theirs)


def test_gradients_are_those_of_finite_differences_and_raise_the_chosen():
    logps = [row.clone().requires_grad_() for row in draw(4, 5)]
    beta = draw(5, seed=1).exp().requires_grad_()
    assert gradcheck(lambda *rows: dpo_loss(*rows[:4], beta=rows[4]), [*logps, beta])
    dpo_loss(*logps).sum().backward()
    assert (logps[0].grad < 0).all()
    assert (logps[1].grad > 0).all()


def test_beta_zero_drops_a_pair_and_a_negative_one_turns_it_around():
    logps = [row.clone().requires_grad_() for row in draw(4, 3)]
    losses = dpo_loss(*logps, beta=column(0.0, -0.2, NAN))
    losses.nansum().backward()
    assert_close(losses[0], column(math.log(2))[0])
    assert_close(losses[1], dpo_loss(logps[1], logps[0], logps[3], logps[2], beta=0.2)[1])
    assert losses[2].isnan()
    assert (logps[0].grad[0], logps[0].grad[2]) == (0.0, 0.0)
    assert logps[0].grad[1] > 0


@pytest.mark.parametrize("position", range(4))
def test_an_unscored_pair_is_nan_without_a_gradient(position):
    logps = draw(4, 3)
    logps[position, 0] = NAN
    rows = [row.clone().requires_grad_() for row in logps]
    losses = dpo_loss(*rows)
    losses.nansum().backward()
    assert losses.isnan().tolist() == [True, False, False]
    assert all(row.grad[0] == 0 for row in rows)


def test_dpo_refuses_shapes_that_differ():
    rows = [torch.zeros(3)] * 4
    with pytest.raises(ValueError, match="dpo_loss: arguments must share one shape"):
        dpo_loss(*rows[:3], torch.zeros(2))
    with pytest.raises(ValueError, match="dpo_loss: arguments must share one shape"):
        dpo_loss(*rows, beta=torch.zeros(2))


@pytest.mark.parametrize("scale", [0.5, -0.5])
@pytest.mark.parametrize("on_disagree", ["clamp", "drop", "flip", "clip_margin"])
def test_beta_follows_the_formula_where_margin_and_label_agree(scale, on_disagree):
    margin = column(0.0, 1e-9, 0.3, 2.0, 1e4)
    expected = column(*(slow_beta(value, 0.2, scale, 0.7) for value in margin.tolist()))
    assert_close(dynamic_beta(margin, beta=0.2, scale=scale, rate=0.7, on_disagree=on_disagree), expected)
    if on_disagree != "flip":
        weight = margin_weight(margin, scale=scale, rate=0.7, on_disagree=on_disagree)
        assert_close(0.2 * weight, expected)


def test_beta_where_margin_and_label_disagree_is_what_was_chosen():
    margin = column(-0.5, -3.0, -1e6)  # k = ½: e^{¼} = 1.284, e^{1.5} = 4.48
    mild = slow_beta(-0.5, 0.1, 0.5, 0.5)
    assert 0 < mild < 0.1
    assert_close(dynamic_beta(margin, on_disagree="clamp"), column(mild, 1e-3, 1e-3))
    assert_close(dynamic_beta(margin, on_disagree="clamp", floor=0.0), column(mild, 0.0, 0.0))
    assert dynamic_beta(margin, on_disagree="drop").tolist() == [0.0, 0.0, 0.0]
    assert dynamic_beta(margin, on_disagree="clip_margin").tolist() == [0.1] * 3
    flipped = column(mild, slow_beta(-3.0, 0.1, 0.5, 0.5), -0.15)  # bounded by −β₀(1 + w)
    assert flipped[1] < 0
    assert_close(dynamic_beta(margin, on_disagree="flip"), flipped)
    assert_close(margin_weight(margin), column(mild / 0.1, 0.0, 0.0))


def test_a_missing_margin_stays_missing_and_none_sends_a_gradient():
    margin = column(NAN, 1.0).requires_grad_()
    for made in (dynamic_beta(margin), dynamic_beta(margin, on_disagree="drop"), margin_weight(margin)):
        assert made.isnan().tolist() == [True, False]
        assert not made.requires_grad
    assert dynamic_beta(torch.tensor([1, 0])).dtype == torch.float32
    assert dynamic_beta(torch.ones(1, dtype=torch.float16)).dtype == torch.float16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_disagree": "ignore"}, "dynamic_beta: on_disagree is 'ignore', which is not one of 'clamp', 'drop'"),
        ({"beta": 0.0}, r"dynamic_beta: beta is 0.0, outside"),
        ({"scale": -1.0}, r"dynamic_beta: scale is -1.0, outside"),
        ({"rate": 0.0}, r"dynamic_beta: rate is 0.0, outside"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dynamic_beta(torch.zeros(2), **options)


def test_a_weight_may_not_be_negative():
    with pytest.raises(
        ValueError, match="margin_weight: on_disagree is 'flip', which is not one of 'clamp', 'drop', 'c"
    ):
        margin_weight(torch.zeros(2), on_disagree="flip")
