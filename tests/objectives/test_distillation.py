"""Teachers and their distillation against sums over the vocabulary, a numerical optimum and finite differences."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from rewardsmith.objectives import extrapolated_logits, token_kl, tv_strength

NAN, INF = math.nan, math.inf


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_teacher_is_the_positive_model_times_the_ratio_to_the_power_of_alpha():
    positive, negative = draw(2, 2, 3, 5)
    alpha = draw(2, 3, seed=1)
    p, q = positive.softmax(-1), negative.softmax(-1)
    for given, power in ((0.7, 0.7), (alpha, alpha[..., None])):
        product = p * (p / q) ** power
        teacher = extrapolated_logits(positive, negative, given).softmax(-1)
        assert_close(teacher, product / product.sum(-1, keepdim=True))
    assert_close(extrapolated_logits(positive, negative, 0.0), positive)
    assert extrapolated_logits(positive.bfloat16(), negative.bfloat16(), 1.0).dtype == torch.float32
    assert gradcheck(extrapolated_logits, [x.clone().requires_grad_() for x in (positive, negative, alpha)])


def test_at_one_state_the_teacher_is_the_optimum_of_the_reward_with_a_kl():
    """No policy near it has more E_π[β₁ log p₊/p₋] − (β₁/α) KL(π ‖ p₊)."""
    positive, negative = draw(2, 1, 1, 6)
    log_p, log_q = positive.log_softmax(-1), negative.log_softmax(-1)

    def value(logits):
        log_pi = logits.log_softmax(-1)
        return (log_pi.exp() * (0.1 * (log_p - log_q) - 0.1 / 1.5 * (log_pi - log_p))).sum()

    best = extrapolated_logits(positive, negative, 1.5).requires_grad_()
    (slope,) = torch.autograd.grad(value(best), best)
    assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)
    assert all(value(best) > value(best + 0.1 * draw(1, 1, 6, seed=seed)) for seed in range(20))


def test_a_token_that_both_rule_out_stays_ruled_out():
    positive, negative = torch.tensor([[[1.0, -INF, 0.0]]]), torch.tensor([[[0.0, -INF, 0.0]]])
    assert extrapolated_logits(positive, negative, 2.0).tolist() == [[[3.0, -INF, 0.0]]]
    assert_close(tv_strength(positive, positive), torch.tensor([[1e-3]]))


def test_the_strength_is_k_times_the_summed_difference_of_probabilities():
    positive, negative = draw(2, 2, 3, 5)
    for b in range(2):
        for t in range(3):
            p, q = ([math.exp(x) for x in z[b, t].tolist()] for z in (positive, negative))
            distance = sum(abs(x / sum(p) - y / sum(q)) for x, y in zip(p, q, strict=True))
            found = tv_strength(positive, negative, k=2.0, least=0.1)[b, t]
            assert float(found) == pytest.approx(2.0 * distance + 0.1, rel=1e-12)
    apart = torch.tensor([[[80.0, 0.0]]]), torch.tensor([[[0.0, 80.0]]])
    assert_close(tv_strength(*apart), torch.tensor([[30.001]]))  # 2k and the least
    made = tv_strength(positive.half().requires_grad_(), negative.half())
    assert made.dtype == torch.float32
    assert not made.requires_grad


def slow_kl(student, teacher, mask, weight):
    found = []
    for b in range(len(mask)):
        terms = []
        for t in mask[b].nonzero().flatten().tolist():
            p, q = student[b, t].softmax(-1).tolist(), teacher[b, t].softmax(-1).tolist()
            terms.append(float(weight[b, t]) * math.fsum(x * math.log(x / y) for x, y in zip(p, q, strict=True)))
        found.append(math.fsum(terms) / len(terms) if terms else NAN)
    return torch.tensor(found, dtype=torch.float64)


MASK = torch.tensor([[True, False, True], [True, True, True], [False, False, False]])


def test_the_loss_is_the_mean_kl_over_counted_tokens():
    student, teacher = draw(2, 3, 3, 5)
    weight = draw(3, 3, seed=2).exp()
    assert_close(token_kl(student, teacher, MASK), slow_kl(student, teacher, MASK, torch.ones(3, 3)), equal_nan=True)
    weighted = token_kl(student, teacher, MASK, weight=weight)
    assert_close(weighted, slow_kl(student, teacher, MASK, weight), equal_nan=True)
    assert weighted.isnan().tolist() == [False, False, True]  # no mean over no tokens
    at = student[:2].clone().requires_grad_()
    assert gradcheck(lambda z: token_kl(z, teacher[:2], MASK[:2], weight=weight[:2]), [at])
    half = token_kl(student.bfloat16(), teacher.bfloat16(), MASK)
    assert half.dtype == torch.float32
    assert_close(half[:2].double(), slow_kl(student, teacher, MASK, torch.ones(3, 3))[:2], atol=0.02, rtol=0.02)


def test_no_gradient_reaches_teacher_masked_tokens_or_completions_without_tokens():
    student, teacher = (z.clone().requires_grad_() for z in draw(2, 3, 3, 5))
    token_kl(student, teacher, MASK).nansum().backward()
    assert teacher.grad is None
    assert (student.grad[~MASK] == 0).all()
    assert student.grad.isfinite().all()
    assert (student.grad[0, 0] != 0).all()


def test_ruled_out_tokens_and_missing_values():
    student = torch.tensor([[[0.0, -INF]], [[0.0, 0.0]], [[NAN, 0.0]], [[0.0, 0.0]]], requires_grad=True)
    teacher = torch.tensor([[[0.0, -INF]], [[0.0, -INF]], [[0.0, 0.0]], [[0.0, 0.0]]])
    mask = torch.ones(4, 1, dtype=torch.bool)
    losses = token_kl(student, teacher, mask, weight=torch.tensor([[1.0], [1.0], [1.0], [NAN]]))
    assert_close(losses, torch.tensor([0.0, INF, NAN, NAN]), equal_nan=True)
    finite = torch.tensor([0, 2, 3])
    token_kl(student[finite], teacher[finite], mask[finite]).nansum().backward()
    assert (student.grad == 0).all()


def test_what_does_not_fit_is_refused():
    z, mask = torch.zeros(2, 3, 5), torch.ones(2, 3)
    with pytest.raises(ValueError, match="extrapolated_logits: arguments must share one shape"):
        extrapolated_logits(z, z[..., :4], 1.0)
    with pytest.raises(ValueError, match=r"extrapolated_logits: alpha must have shape \(2, 3\), got \(2,\)"):
        extrapolated_logits(z, z, torch.ones(2))
    with pytest.raises(ValueError, match="tv_strength: arguments must share one shape"):
        tv_strength(z, z[:1])
    with pytest.raises(ValueError, match=r"tv_strength: k is -1.0, outside"):
        tv_strength(z, z, k=-1.0)
    with pytest.raises(ValueError, match=r"tv_strength: least is -1.0, outside"):
        tv_strength(z, z, least=-1.0)
    with pytest.raises(ValueError, match="token_kl: arguments must share one shape"):
        token_kl(z, z[:, :2], mask)
    with pytest.raises(ValueError, match=r"token_kl: mask must have shape \(2, 3\), got \(2, 2\)"):
        token_kl(z, z, mask[:, :2])
    with pytest.raises(ValueError, match="token_kl: arguments must share one shape"):
        token_kl(z, z, mask, weight=torch.ones(2))
