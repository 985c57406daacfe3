"""Losses on outcomes and on agreeing views against mpmath, SciPy, TRL's formulas and finite differences."""

import math

import mpmath
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from rewardsmith.objectives import (
    entailment_bce,
    implicit_ce_loss,
    implicit_kto_loss,
    implicit_nca_loss,
    multi_view_consistency_loss,
    pairwise_verdict_loss,
)

NAN = math.nan
REWARDS = (-600.0, -2.0, 0.0, 0.7, 5.0, 700.0)
LABELS = (0.0, 1.0, 0.0, 1.0, 0.3, 1.0)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def sigma(x):
    return 1 / (1 + mpmath.exp(-mpmath.mpf(x)))


def cross_entropy(reward, label):
    with mpmath.workdps(700):
        right = -label * mpmath.log(sigma(reward)) if label else 0
        return float(right - ((1 - label) * mpmath.log(sigma(-reward)) if label < 1 else 0))


def test_outcomes_are_fitted_by_cross_entropy():
    found = implicit_ce_loss(column(*REWARDS), column(*LABELS))
    assert_close(found, column(*(cross_entropy(r, y) for r, y in zip(REWARDS, LABELS, strict=True))))
    assert gradcheck(lambda r: implicit_ce_loss(r, column(*LABELS[1:5])), [column(*REWARDS[1:5]).requires_grad_()])


def test_noise_contrast_is_trl_s_for_a_pair():
    chosen, rejected = column(-3.0, 0.2, 4.0), column(1.0, -0.5, 2.0)
    theirs = -F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected)
    assert_close(implicit_nca_loss(chosen, rejected), theirs)
    assert gradcheck(implicit_nca_loss, [chosen.requires_grad_(), rejected.requires_grad_()])


def test_kto_is_trl_s_around_the_policy_s_divergence():
    beta, ratios, kl = 0.2, column(-3.0, 0.2, 4.0, 9.0), column(1.7)
    labels = column(1.0, 0.0, 1.0, 0.0)
    theirs = torch.where(labels == 1, 1 - F.sigmoid(beta * (ratios - kl)), 1 - F.sigmoid(beta * (kl - ratios)))
    assert_close(implicit_kto_loss(beta * ratios, labels, kl=beta * 1.7), theirs)
    assert_close(implicit_kto_loss(beta * ratios, labels, kl=beta * kl.expand(4)), theirs)
    assert gradcheck(lambda r: implicit_kto_loss(r, labels, kl=0.3), [ratios.clone().requires_grad_()])
    level = column(0.3).requires_grad_()
    assert not implicit_kto_loss(ratios, labels, kl=level.expand(4)).requires_grad


def test_the_verdict_loss_is_both_orders_cross_entropy_and_their_bias():
    first, second, label = column(0.4, -2.0, 3.0), column(0.9, 1.0, -3.0), column(1.0, 0.0, 0.4)
    with mpmath.workdps(40):
        bias = [float((sigma(a) + sigma(b) - 1) ** 2) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    expected = [
        (cross_entropy(a, y) + cross_entropy(b, 1 - y)) / 2 + 2.5 * extra
        for a, b, y, extra in zip(first.tolist(), second.tolist(), label.tolist(), bias, strict=True)
    ]
    assert_close(pairwise_verdict_loss(first, second, label, consistency=2.5), column(*expected))
    rows = [first.clone().requires_grad_(), second.clone().requires_grad_()]
    assert gradcheck(lambda a, b: pairwise_verdict_loss(a, b, label, consistency=2.5), rows)
    swapped = pairwise_verdict_loss(second, first, 1 - label, consistency=2.5)
    assert_close(swapped, column(*expected))


VIEWS = ((0.9, 0.2, 0.5, 0.01), (0.7, 0.9, 0.5, 0.02), (0.8, 0.4, 0.5, 0.04))


def entropy(p):
    return -p * math.log(p) - (1 - p) * math.log1p(-p)


@pytest.mark.parametrize("entropy_weight", [0.0, 0.6])
def test_the_divergence_of_views_is_that_of_their_entropies(entropy_weight):
    columns = list(zip(*VIEWS, strict=True))
    undecided = [sum(map(entropy, views)) / 3 for views in columns]
    js = [entropy(sum(views) / 3) - mean for views, mean in zip(columns, undecided, strict=True)]
    kl = [
        sum(float(rel_entr(p, q) + rel_entr(1 - p, 1 - q)) for i, p in enumerate(v) for j, q in enumerate(v) if i != j)
        for v in columns
    ]
    table = column(*VIEWS)
    for kind, expected in (("js", js), ("symmetric_kl", [value / 6 for value in kl])):
        found = multi_view_consistency_loss(table, kind=kind, entropy_weight=entropy_weight)
        assert_close(found, column(*(e + entropy_weight * u for e, u in zip(expected, undecided, strict=True))))
    two = [jensenshannon([p, 1 - p], [q, 1 - q]) ** 2 for p, q in zip(*VIEWS[:2], strict=True)]
    assert_close(multi_view_consistency_loss(table[:2]), column(*two))


def test_views_that_agree_cost_nothing_and_the_loss_ignores_their_order():
    same = column(0.3, 0.8).expand(3, 2)
    for kind in ("js", "symmetric_kl"):
        assert_close(multi_view_consistency_loss(same, kind=kind), column(0.0, 0.0))
        shuffled = multi_view_consistency_loss(column(*VIEWS)[[2, 0, 1]], kind=kind)
        assert_close(shuffled, multi_view_consistency_loss(column(*VIEWS), kind=kind))


def test_gradients_of_the_divergence_and_of_views_against_fixed_ones():
    table = column(*VIEWS).requires_grad_()
    assert gradcheck(lambda p: multi_view_consistency_loss(p, entropy_weight=0.4), [table])
    multi_view_consistency_loss(table, kind="symmetric_kl").sum().backward()
    p = table.detach()
    others = p.sum(dim=0) - p  # d/dp_k of −q log p_k − (1 − q) log(1 − p_k), summed over the other two views q
    assert_close(table.grad, (-others / p + (2 - others) / (1 - p)) / 6)


@pytest.mark.parametrize("kind", ["js", "symmetric_kl"])
def test_views_at_zero_and_one_have_finite_gradients(kind):
    logits = column(-900.0, 900.0, 0.0)[:, None].requires_grad_()
    loss = multi_view_consistency_loss(torch.sigmoid(logits), kind=kind, entropy_weight=0.5)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


LOSSES = {
    "implicit_ce_loss": (lambda a, b: implicit_ce_loss(a, b.clamp(0, 1)), 1),
    "implicit_nca_loss": (implicit_nca_loss, 2),
    "implicit_kto_loss": (lambda a, b: implicit_kto_loss(a, b.clamp(0, 1), kl=0.1), 1),
    "pairwise_verdict_loss": (lambda a, b: pairwise_verdict_loss(a, b, torch.ones_like(a), consistency=1.0), 2),
    "js": (lambda a, b: multi_view_consistency_loss(torch.stack([a, b]), entropy_weight=0.1), 2),
    "symmetric_kl": (lambda a, b: multi_view_consistency_loss(torch.stack([a, b]), kind="symmetric_kl"), 2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_missing_is_nan_without_a_gradient_and_half_precision_is_read_in_single(name):
    loss, trained = LOSSES[name]
    rows = [column(NAN, 0.3, 0.6).requires_grad_(), column(0.2, NAN, 0.9).requires_grad_()]
    losses = loss(*rows)
    assert losses.isnan().tolist() == [True, True, False]
    losses.nansum().backward()
    for row in rows[:trained]:
        assert row.grad[:2].tolist() == [0.0, 0.0]
        assert row.grad[2] != 0
    for dtype in (torch.float16, torch.bfloat16):
        half = loss(*(row.detach().to(dtype) for row in rows))
        assert half.dtype == torch.float32
        assert_close(half.double(), losses.detach(), atol=0.02, rtol=0.02, equal_nan=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: implicit_ce_loss(x, x[:1]), "implicit_ce_loss: arguments must share one shape"),
        (lambda x: implicit_ce_loss(x, x + 2), "implicit_ce_loss: labels holds 2.0, outside"),
        (lambda x: implicit_nca_loss(x, x[:1]), "implicit_nca_loss: arguments must share one shape"),
        (lambda x: implicit_kto_loss(x, x[:1], kl=0.0), "implicit_kto_loss: arguments must share one shape"),
        (lambda x: implicit_kto_loss(x, x - 1, kl=0.0), "implicit_kto_loss: labels holds -1.0, outside"),
        (lambda x: implicit_kto_loss(x, x, kl=-0.5), "implicit_kto_loss: kl holds -0.5, outside"),
        (lambda x: pairwise_verdict_loss(x, x, x[:1]), "pairwise_verdict_loss: arguments must share one shape"),
        (lambda x: pairwise_verdict_loss(x, x, x + 2), "pairwise_verdict_loss: label holds 2.0, outside"),
        (lambda x: pairwise_verdict_loss(x, x, x, consistency=-1), "pairwise_verdict_loss: consistency is -1, outside"),
        (multi_view_consistency_loss, r"probabilities must have shape \(any, any\), got \(2,\)"),
        (lambda x: multi_view_consistency_loss(x[None]), "multi_view_consistency_loss: views is 1, outside"),
        (lambda x: multi_view_consistency_loss(x[None], kind="kl"), "kind is 'kl', which is not one of 'js', 'symm"),
        (lambda x: multi_view_consistency_loss(x[None], entropy_weight=-1), "entropy_weight is -1, outside"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2))


def test_entailment_is_cross_entropy_of_the_log_odds_in_high_precision():
    yes, no, weight = column(*REWARDS), column(*REWARDS[::-1]), column(1.0, 2.0, 0.5, 1.0, 1.0, 3.0)
    labels = column(*LABELS)
    with mpmath.workdps(800):
        exact = []
        for y, n, g, w in zip(yes.tolist(), no.tolist(), LABELS, weight.tolist(), strict=True):
            p = 1 / (1 + mpmath.exp(-mpmath.mpf(y - n)))
            exact.append(float(-w * (g * mpmath.log(p) + (1 - g) * mpmath.log(1 - p))))
    assert_close(entailment_bce(yes, no, labels, weight), column(*exact))
    assert_close(entailment_bce(yes, 0.0, labels), entailment_bce(yes, torch.zeros_like(yes), labels))
    assert gradcheck(lambda a, b: entailment_bce(a, b, labels), (yes.div(100).requires_grad_(), no.requires_grad_()))
    unknown = column(1.0, 2.0).requires_grad_()
    entailment_bce(unknown, 0.0, column(NAN, 1.0)).nansum().backward()
    assert unknown.grad[0] == 0
    assert entailment_bce(unknown, 0.0, column(NAN, 1.0))[0].isnan()
    with pytest.raises(ValueError, match=r"entailment_bce: arguments must share one shape"):
        entailment_bce(yes, no, labels[:2])


def test_entailment_is_torch_s_cross_entropy_and_a_row_without_a_logit_or_weight_sends_no_gradient():
    yes, no = column(1.0, -2.0, NAN, 0.3).requires_grad_(), column(0.5, 1.0, 0.0, 2.0).requires_grad_()
    labels, weight = column(1.0, 0.0, 1.0, 0.25), column(2.0, 0.5, 1.0, NAN)
    theirs = F.binary_cross_entropy_with_logits(yes - no, labels, weight, reduction="none")
    losses = entailment_bce(yes, no, labels, weight)
    assert_close(losses, theirs, equal_nan=True)
    losses.nansum().backward()
    assert_close(
        yes.grad, column(2 * (torch.sigmoid(column(0.5)).item() - 1), 0.5 * torch.sigmoid(column(-3.0)).item(), 0, 0)
    )
    assert_close(no.grad, -yes.grad)
    with pytest.raises(ValueError, match=r"entailment_bce: label holds 2\.0, outside"):
        entailment_bce(yes, no, column(2.0, 0.0, 0.0, 0.0))
