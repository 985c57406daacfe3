"""The shared loops: AdamW as torch alone takes its steps, and a policy's gradient as autograd has it."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.training import adam_steps, logit_gradient, table_gradient


def normal(*shape):
    return Streams([0]).randn(*shape)[0]


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_steps_are_those_of_torch_s_adamw(maximize, decay):
    ours, theirs = (torch.ones(3, dtype=torch.float64).requires_grad_() for _ in range(2))
    optimizer = torch.optim.AdamW([theirs], lr=0.1, weight_decay=decay, maximize=maximize)
    for step in adam_steps([ours], 7, learning_rate=0.1, weight_decay=decay, maximize=maximize):
        for x in (ours, theirs):
            x.grad = None
            torch.autograd.backward(((x - step) ** 2).sum())
        optimizer.step()
    assert_close(ours, theirs)


def test_without_decay_they_are_those_of_adam():
    ours, theirs = (normal(4).requires_grad_() for _ in range(2))
    optimizer = torch.optim.Adam([theirs], lr=0.05)
    for _ in adam_steps([ours], 5, learning_rate=0.05):
        optimizer.zero_grad()
        torch.autograd.backward((ours**4).sum() + (theirs**4).sum())
        optimizer.step()
    assert_close(ours, theirs)


@pytest.mark.parametrize(("warm_up", "first"), [(2, 0.5), (1, 1.0), (0, 1.0)])
def test_each_group_s_rate_rises_and_falls(warm_up, first):
    x = [torch.zeros(1, dtype=torch.float64) for _ in range(2)]
    places = []
    for _ in adam_steps([{"params": x[:1], "lr": 0.1}, {"params": x[1:]}], 10, learning_rate=1.0, warm_up=warm_up):
        places.append(torch.cat(x).clone())
        for value in x:
            value.grad = -torch.ones_like(value)  # Adam's step is then the rate itself
    moved = torch.stack([*places, torch.cat(x)]).diff(dim=0)
    rates = torch.tensor([first, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], dtype=torch.float64)  # 1 − step/10
    assert_close(moved, rates[:, None] * torch.tensor([0.1, 1.0], dtype=torch.float64), rtol=1e-6, atol=0)


def test_the_gradient_of_a_softmax_policy_is_that_of_autograd():
    logits, credit = normal(2, 3, 4).requires_grad_(), normal(2, 3, 6)
    drawn = Streams([1]).randint(4, 2, 3, 6)[0]
    (credit * logits.log_softmax(-1).gather(-1, drawn)).sum().backward()
    assert_close(logit_gradient(logits.detach().softmax(-1), drawn, credit), logits.grad)


def test_draws_that_name_their_row_of_the_table_add_to_it():
    logits, credit = normal(2, 3, 5, 4).requires_grad_(), normal(2, 3, 6)
    row, drawn = Streams([1]).randint(5, 2, 1, 6)[0], Streams([2]).randint(4, 2, 3, 6)[0]
    seed, arm = torch.arange(2)[:, None, None], torch.arange(3)[:, None]
    (credit * logits.log_softmax(-1)[seed, arm, row, drawn]).sum().backward()
    assert_close(table_gradient(logits.detach().softmax(-1), row, drawn, credit), logits.grad)
