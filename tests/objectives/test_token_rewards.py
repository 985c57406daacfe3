"""Token rewards and their regularizer against loops, enumeration and finite differences."""

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from rewardsmith.objectives import token_log_ratio, token_reward_regularizer

NAN = math.nan


def draw(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_log_ratio_is_scaled_and_squashed_as_its_equation():
    a, b = draw(2, 3, 4)
    odds = (a - b).exp()
    assert_close(token_log_ratio(a, b, beta=0.3), 0.3 * odds.log())
    assert_close(token_log_ratio(a, b, squash="sigmoid-0.5"), odds / (1 + odds) - 0.5)
    assert token_log_ratio(a.half(), b.half()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"token_log_ratio: squash is 'tanh', which is not one of 'sigmoid-0.5', None"):
        token_log_ratio(a, b, squash="tanh")
    with pytest.raises(ValueError, match="token_log_ratio: arguments must share one shape"):
        token_log_ratio(a, b[:, :2])


def test_partial_sums_are_the_soft_values_of_prefixes_under_the_reference():
    """q_t = β log E_ref[exp(r(y)/β) | prefix], over all sequences of three tokens (Yuan et al. 2024, Prop. 1)."""
    beta, length, vocabulary = 0.7, 3, 3
    sequences = list(itertools.product(range(vocabulary), repeat=length))
    prefixes = {s[:t] for s in sequences for t in range(length)}
    tables = [
        {p: draw(vocabulary, seed=7 * len(p) + sum(p) + 100 * k).log_softmax(0) for p in prefixes} for k in (0, 1)
    ]
    policy, ref = (
        torch.stack([torch.stack([table[s[:t]][s[t]] for t in range(length)]) for s in sequences]) for table in tables
    )
    values = token_log_ratio(policy, ref, beta=beta).cumsum(dim=-1)
    outcome = values[:, -1]
    for row, sequence in enumerate(sequences):
        for t in range(length):
            same = [i for i, s in enumerate(sequences) if s[: t + 1] == sequence[: t + 1]]
            mass = ref[same].sum(dim=-1).softmax(dim=0)  # of the reference, given the prefix
            assert_close(values[row, t], beta * (mass * (outcome[same] / beta).exp()).sum().log())


MASK = torch.tensor([[True, True, False], [False, True, True], [False, False, False]])


def slow(logps, ref, rewards, mask, form, beta):
    found = []
    for row in range(len(mask)):
        terms = [0.0]
        for t in range(mask.shape[1]):
            if mask[row, t]:
                p, q, r = (float(x[row, t]) for x in (logps, ref, rewards))
                terms.append(-r * p if form == "linear" else (beta * (p - q) - r) ** 2)
        found.append(math.fsum(terms))
    return column(*found)


@pytest.mark.parametrize("form", ["linear", "squared"])
def test_the_regularizer_is_the_sum_over_the_completion_s_tokens(form):
    logps, ref, rewards = draw(3, 3, 3)
    expected = slow(logps, ref, rewards, MASK, form, 0.4)
    assert_close(token_reward_regularizer(logps, ref, rewards, MASK, form=form, beta=0.4), expected)
    weight = column(0.5, 2.0, 1.0)
    weighted = token_reward_regularizer(logps, ref, rewards, MASK.long(), form=form, beta=0.4, weight=weight)
    assert_close(weighted, weight * expected)
    assert weighted[2] == 0.0  # an empty completion
    at = logps.clone().requires_grad_()
    assert gradcheck(lambda x: token_reward_regularizer(x, ref, rewards, MASK, form=form, weight=weight), [at])
    half = token_reward_regularizer(logps.half(), ref.half(), rewards.half(), MASK, form=form, beta=0.4)
    assert half.dtype == torch.float32
    assert_close(half.double(), expected, atol=2e-2, rtol=1e-2)


@pytest.mark.parametrize("form", ["linear", "squared"])
def test_a_step_moves_each_token_toward_its_reward_and_no_gradient_reaches_the_data(form):
    logps, rewards = torch.zeros(1, 3, dtype=torch.float64), column(0.4, -0.4, 0.4)[None]
    rows = [tensor.clone().requires_grad_() for tensor in (logps, rewards, column(1.0))]
    mask = torch.tensor([[True, True, False]])
    token_reward_regularizer(rows[0], logps, rows[1], mask, form=form, weight=rows[2]).sum().backward()
    assert (-rows[0].grad).sign().tolist() == [[1.0, -1.0, 0.0]]
    assert rows[1].grad is None
    assert rows[2].grad is None


@pytest.mark.parametrize("form", ["linear", "squared"])
def test_only_an_unscored_token_that_counts_leaves_its_completion_out(form):
    logps, ref, rewards = draw(3, 3, 3)
    rewards[0, 0], rewards[1, 0], logps[0, 2] = NAN, NAN, NAN  # the last two do not count
    at = logps.clone().requires_grad_()
    losses = token_reward_regularizer(at, ref, rewards, MASK, form=form)
    assert losses.isnan().tolist() == [True, False, False]
    losses.nansum().backward()
    assert (at.grad[0] == 0).all()
    assert at.grad.isfinite().all()


def test_the_regularizer_refuses_what_it_does_not_know():
    zeros = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="token_reward_regularizer: form is 'cubic', which is not one of 'linear', 's"):
        token_reward_regularizer(zeros, zeros, zeros, zeros, form="cubic")
    with pytest.raises(ValueError, match="token_reward_regularizer: arguments must share one shape"):
        token_reward_regularizer(zeros, zeros, zeros[:1], zeros, form="linear")
    with pytest.raises(ValueError, match="token_reward_regularizer: arguments must share one shape"):
        token_reward_regularizer(zeros, zeros, zeros, zeros, form="linear", weight=torch.ones(3))
