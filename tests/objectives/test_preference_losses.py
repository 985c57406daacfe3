"""Losses on a log-ratio margin against mpmath, TRL's formulas and enumerated optima, with gradcheck."""

import math

import mpmath
import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from rewardsmith.objectives import (
    anchor_nll,
    dpo_loss,
    ipo_loss,
    length_regularized_margin,
    preference_margin,
    slic_loss,
    soft_label_dpo_loss,
)

NAN = math.nan


def draw(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def grads(loss, *tensors):
    loss.nansum().backward()
    return [tensor.grad.tolist() for tensor in tensors]


def test_the_margin_is_the_log_ratio_difference_times_a_pair_s_own_beta():
    logps, beta = draw(4, 5, scale=20.0), column(0.1, 0.0, -0.3, NAN, 2.0)
    chosen, rejected, ref_chosen, ref_rejected = logps.tolist()
    expected = [
        b * (c - rc - (r - rr))
        for c, r, rc, rr, b in zip(chosen, rejected, ref_chosen, ref_rejected, beta.tolist(), strict=True)
    ]
    assert_close(preference_margin(*logps, beta=beta), column(*expected), equal_nan=True)
    assert_close(dpo_loss(*logps, beta=0.2), -F.logsigmoid(preference_margin(*logps, beta=0.2)))
    rows = [row.clone().requires_grad_() for row in logps]
    assert gradcheck(lambda *pair: preference_margin(*pair, beta=beta.nan_to_num(0.5)), rows)
    gradients = grads(preference_margin(*rows, beta=beta), *rows)
    assert gradients[0][3] == 0.0  # the pair without β
    with pytest.raises(ValueError, match="preference_margin: arguments must share one shape"):
        preference_margin(*logps[:3], logps[3][:2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_in_single(dtype):
    half = [torch.tensor([value], dtype=dtype) for value in (-300.0, -302.0, -298.0, -304.0)]
    margin = preference_margin(*half, beta=0.1)
    assert margin.dtype == torch.float32
    assert_close(margin, torch.tensor([0.1 * ((-300 + 298) - (-302 + 304))]))
    for loss in (
        soft_label_dpo_loss(margin.to(dtype), 0.7),
        ipo_loss(margin.to(dtype), beta=0.5),
        slic_loss(margin.to(dtype)),
        anchor_nll(half[0], torch.tensor([7]), coef=0.1, reduction="mean"),
    ):
        assert loss.dtype == torch.float32


def test_soft_labels_are_the_cross_entropy_of_its_equation():
    margins, targets = column(-700.0, -3.0, 0.0, 0.4, 9.0, 800.0), column(0.5, 0.1, 0.3, 1.0, 0.0, 1.0)
    expected = []
    with mpmath.workdps(60):
        for h, t in zip(margins.tolist(), targets.tolist(), strict=True):
            terms = [
                weight * mpmath.log(1 / (1 + mpmath.exp(-mpmath.mpf(side))))
                for weight, side in ((t, h), (1 - t, -h))
                if weight
            ]
            expected.append(float(-mpmath.fsum(terms)))
    assert_close(soft_label_dpo_loss(margins, targets), column(*expected))
    h = margins[1:5].clone().requires_grad_()
    assert gradcheck(lambda x: soft_label_dpo_loss(x, targets[1:5]), [h])


def test_a_soft_label_of_one_is_dpo_and_swapping_the_pair_swaps_the_label():
    h = draw(6)
    assert_close(soft_label_dpo_loss(h, 1.0), -F.logsigmoid(h))
    assert_close(soft_label_dpo_loss(h, 0.2), soft_label_dpo_loss(-h, 0.8))


@pytest.mark.parametrize("target", [0.1, 0.5, 0.9])
def test_the_optimum_of_a_soft_label_is_its_log_odds(target):
    at = torch.tensor([math.log(target / (1 - target))], dtype=torch.float64, requires_grad=True)
    [gradient] = grads(soft_label_dpo_loss(at, target), at)
    assert gradient == pytest.approx([0.0], abs=1e-15)


@pytest.mark.slow
def test_soft_labels_over_all_pairs_recover_the_policy_whose_win_rates_they_are():
    """With t = σ(r_i − r_j) on every pair the minimum has β log π/π_ref = r + const (Rosset et al. 2024)."""
    rewards, ref = draw(5, seed=3, scale=1.0), draw(5, seed=4).log_softmax(0)
    logits = ref.clone()
    first, second = torch.triu_indices(5, 5, offset=1)
    target = torch.sigmoid(rewards[first] - rewards[second])

    def loss(at):
        logps = at.log_softmax(0)
        margin = preference_margin(logps[first], logps[second], ref[first], ref[second], beta=0.5)
        return soft_label_dpo_loss(margin, target).sum()

    for _ in range(60):  # Newton steps; the loss is flat along a common shift of all logits
        slope = torch.autograd.functional.jacobian(loss, logits)
        logits = logits - torch.linalg.pinv(torch.autograd.functional.hessian(loss, logits), hermitian=True) @ slope
    best = (ref + rewards / 0.5).log_softmax(0)
    assert_close(logits.log_softmax(0), best)


def test_ipo_is_a_square_that_stops_at_half_of_one_over_beta():
    difference, beta = draw(4), column(0.1, 0.5, 2.0, 1.0)
    with mpmath.workdps(40):
        expected = [
            float((mpmath.mpf(d) - 1 / (2 * mpmath.mpf(b))) ** 2)
            for d, b in zip(difference.tolist(), beta.tolist(), strict=True)
        ]
    assert_close(ipo_loss(difference, beta=beta), column(*expected))
    assert gradcheck(lambda x: ipo_loss(x, beta=0.3), [difference.clone().requires_grad_()])
    # TRL 1.16 divides each side by its tokens first; with one token per side the two agree.
    chosen, rejected = draw(2, 4, seed=5)
    theirs = (chosen / 1 - rejected / 1 - 1 / (2 * 0.1)) ** 2
    assert_close(ipo_loss(chosen - rejected, beta=0.1), theirs)


def test_slic_is_trl_s_hinge():
    margins = column(-2.0, 0.0, 0.99, 1.0, 3.0, math.inf)
    assert_close(slic_loss(margins), torch.relu(1 - margins))
    assert gradcheck(slic_loss, [column(-2.0, 0.0, 0.9, 3.0).requires_grad_()])


@pytest.mark.parametrize("loss", [lambda x: soft_label_dpo_loss(x, 0.7), lambda x: ipo_loss(x, beta=0.1), slic_loss])
def test_an_unscored_pair_is_nan_without_a_gradient(loss):
    margin = column(NAN, 0.3).requires_grad_()
    losses = loss(margin)
    assert losses.isnan().tolist() == [True, False]
    [gradient] = grads(losses, margin)
    assert gradient[0] == 0.0
    assert gradient[1] != 0.0


def test_a_pair_without_a_target_or_a_strength_is_left_out():
    margin = column(0.3, 0.3).requires_grad_()
    losses = soft_label_dpo_loss(margin, column(NAN, 0.9)) + ipo_loss(margin, beta=column(NAN, 0.9))
    assert losses.isnan().tolist() == [True, False]
    [gradient] = grads(losses, margin)
    assert gradient[0] == 0.0


def test_the_regularized_margin_is_the_reward_difference_at_the_optimum_with_a_length_penalty():
    """π* ∝ π_ref exp((r − α|y|)/β) by enumeration over six answers."""
    rewards, ref = draw(6, scale=1.0), draw(6, seed=1).log_softmax(0)
    lengths = torch.tensor([1, 5, 9, 2, 2, 7])
    best = (ref + (rewards - 0.2 * lengths) / 0.4).log_softmax(0)
    first, second = torch.triu_indices(6, 6, offset=1)
    margin = preference_margin(best[first], best[second], ref[first], ref[second], beta=0.4)
    found = length_regularized_margin(margin, lengths[first], lengths[second], alpha=0.2)
    assert_close(found, rewards[first] - rewards[second])


def test_an_anchor_is_the_negative_log_likelihood_by_sum_or_by_mean():
    logps, lengths = column(-6.0, -1.0, NAN, 0.0).requires_grad_(), torch.tensor([3, 1, 2, 0])
    total = anchor_nll(logps, lengths, coef=0.5, reduction="sum")
    mean = anchor_nll(logps, lengths, coef=0.5, reduction="mean")
    assert_close(total, column(3.0, 0.5, NAN, 0.0), equal_nan=True)
    assert_close(mean, column(1.0, 0.5, NAN, NAN), equal_nan=True)  # no mean over no tokens
    [gradient] = grads(total + mean.nan_to_num(0.0), logps)
    assert gradient == pytest.approx([-0.5 - 0.5 / 3, -1.0, 0.0, -0.5])
    assert gradcheck(
        lambda x: anchor_nll(x, lengths[:2], coef=2.0, reduction="mean"), [column(-6.0, -1.0).requires_grad_()]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: soft_label_dpo_loss(x, 1.2), "soft_label_dpo_loss: target holds 1.2"),
        (lambda x: soft_label_dpo_loss(x, torch.zeros(3)), "soft_label_dpo_loss: arguments must share one shape"),
        (lambda x: ipo_loss(x, beta=0.0), "ipo_loss: beta holds 0.0, outside"),
        (
            lambda x: length_regularized_margin(x, x, x[:1], alpha=0.1),
            "length_regularized_margin: arguments must share",
        ),
        (lambda x: length_regularized_margin(x, x, x, alpha=-0.1), "length_regularized_margin: alpha is -0.1, outside"),
        (lambda x: anchor_nll(x, x, coef=1.0, reduction="max"), "anchor_nll: reduction is 'max', which is not one of"),
        (lambda x: anchor_nll(x, x, coef=-1.0, reduction="sum"), "anchor_nll: coef is -1.0, outside"),
        (lambda x: anchor_nll(x, x[:1], coef=1.0, reduction="sum"), "anchor_nll: arguments must share one shape"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2))
