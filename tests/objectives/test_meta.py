"""The MetaRM step against the derivative of quadratic losses by hand."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rewardsmith.objectives import meta_rm_step


def test_the_gradient_is_that_at_the_moved_parameters_and_they_are_restored():
    theta = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    frozen = torch.tensor([3.0], dtype=torch.float64)
    step = meta_rm_step([theta, frozen], lambda: theta.square().sum(), lambda: theta.pow(3).sum(), step_size=0.1)
    moved = torch.tensor([0.8, -1.6], dtype=torch.float64)  # θ − 0.1·2θ
    assert theta.tolist() == [1.0, -2.0]
    assert_close(theta.grad, 3 * moved**2)
    assert_close(step.pair_loss, (moved**3).sum())
    assert step.spread_loss.item() == 5.0
    assert not step.pair_loss.requires_grad


def test_without_an_inner_step_it_is_the_ordinary_gradient_and_it_accumulates():
    model = nn.Linear(3, 1)
    x = torch.randn(5, 3)
    model(x).square().mean().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    meta_rm_step(model.parameters(), lambda: model(x).std(), lambda: model(x).square().mean(), step_size=0.0)
    for parameter, once in zip(model.parameters(), expected, strict=True):
        assert_close(parameter.grad, 2 * once)


def test_parameters_that_a_loss_does_not_read_are_left_alone():
    read, unread = (torch.ones(1, requires_grad=True) for _ in range(2))
    meta_rm_step([read, unread], read.sum, lambda: read.square().sum(), step_size=0.5)
    assert read.grad.item() == 1.0  # 2·(1 − ½)
    assert unread.grad is None


def test_parameters_are_restored_where_a_loss_raises():
    theta = torch.ones(1, requires_grad=True)

    def fails():
        raise RuntimeError("no batch")

    with pytest.raises(RuntimeError, match="no batch"):
        meta_rm_step([theta], theta.sum, fails, step_size=0.5)
    assert theta.item() == 1.0
    assert theta.grad is None


def test_what_cannot_be_meant_is_refused():
    theta = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match=r"meta_rm_step: step_size is -1.0, outside \[0.0, inf\]"):
        meta_rm_step([theta], theta.sum, theta.sum, step_size=-1.0)
    with pytest.raises(ValueError, match="meta_rm_step: no parameter requires a gradient"):
        meta_rm_step([theta.detach()], theta.sum, theta.sum)
