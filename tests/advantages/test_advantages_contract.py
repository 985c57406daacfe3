"""What everything in the advantages room promises, asked of each name that it exports."""

import inspect
import math
import pickle
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith import advantages as room
from rewardsmith.advantages import aspects, filters, group, outliers, steps, tokens

NAN = math.nan
GROUP, PROMPTS = 4, 6
ROWS = GROUP * PROMPTS


def scattered(step_rewards, step_mask, step_ends):
    return tokens.scatter_steps(step_rewards, step_ends, step_mask, n_tokens=5)


def lengths(step_rewards, step_mask, step_ends, completion_mask):
    return tokens.step_lengths(step_ends, step_mask, completion_mask).to(step_rewards)


def baselined(step_rewards, step_mask, step_ends, completion_mask):
    counts = tokens.step_lengths(step_ends, step_mask, completion_mask)
    return steps.token_leave_one_out(step_rewards, step_mask, counts, group_size=GROUP)


def credit(step_rewards, step_mask, step_ends, completion_mask):
    return room.step_credit(
        step_rewards[:, 0],
        step_rewards=step_rewards,
        step_mask=step_mask,
        step_ends=step_ends,
        completion_mask=completion_mask,
        group_size=GROUP,
        returns=room.softmin_returns,
        outcome_weight=1.0,
    )


def combined(step_rewards, step_mask, step_ends):
    aspect = room.Aspect(step_rewards, step_ends, step_mask)
    return room.combine_aspects({"a": aspect}, n_tokens=5, weights={"a": 0.5})


CASES = {
    "advantage_filter": partial(room.advantage_filter, k=1.0, mode="winsor"),
    "batch_scaled": partial(room.batch_scaled, group_size=GROUP),
    "combine_aspects": combined,
    "drop_dead_groups": partial(room.drop_dead_groups, group_size=GROUP),
    "drop_unscored": room.drop_unscored,
    "filtered": partial(room.filtered, k=1.0, group_size=GROUP),
    "gated_format": partial(room.gated_format, malformed=-1.0, group_size=GROUP),
    "group_centered": partial(room.group_centered, group_size=GROUP),
    "group_zscore": partial(room.group_zscore, group_size=GROUP),
    "leave_one_out": partial(room.leave_one_out, group_size=GROUP),
    "max_returns": steps.max_returns,
    "mean_returns": steps.mean_returns,
    "middle_filter": partial(filters.middle_filter, group_size=GROUP),
    "min_form_weights": steps.min_form_weights,
    "min_returns": room.min_returns,
    "power_filter": partial(room.power_filter, group_size=GROUP),
    "rank_filter": partial(room.rank_filter, group_size=GROUP),
    "scatter_steps": scattered,
    "softmin_returns": room.softmin_returns,
    "step_credit": credit,
    "step_lengths": lengths,
    "step_returns": room.step_returns,
    "token_leave_one_out": baselined,
}
STEPS = {
    "combine_aspects": 3,
    "max_returns": 2,
    "mean_returns": 2,
    "min_form_weights": 2,
    "min_returns": 2,
    "softmin_returns": 2,
    "scatter_steps": 3,
    "step_credit": 4,
    "step_lengths": 4,
    "step_returns": 2,
    "token_leave_one_out": 4,
}
"""How many of step rewards, step mask, step ends and completion mask each function of steps takes."""
FILES = (aspects, filters, group, outliers, steps, tokens)
ESTIMATORS = [name for name in CASES if hasattr(getattr(group, name, None), "__removes__")]
each_function = pytest.mark.parametrize("name", CASES)
each_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def inputs(name, *, dtype=torch.float64, rows=None):
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(ROWS, generator=generator, dtype=torch.float64).to(dtype)
    mask = torch.rand(ROWS, 5, generator=generator) < 0.7
    order = torch.arange(ROWS) if rows is None else rows
    if name in STEPS:
        steps = torch.randn(ROWS, 3, generator=generator, dtype=torch.float64).to(dtype)
        ends = torch.tensor([0, 2, 3]).expand(ROWS, 3)
        return tuple(tensor[order] for tensor in (steps, torch.ones(ROWS, 3).bool(), ends, mask)[: STEPS[name]])
    return (rewards[order],)


def test_every_function_of_rewards_is_under_contract():
    public = {
        name
        for file in FILES
        for name, value in inspect.getmembers(file, inspect.isfunction)
        if value.__module__ == file.__name__ and not name.startswith("_")
    }
    assert public - {"in_groups", "removes", "spread", "step_of_token"} == set(CASES)
    assert set(room.__all__) <= public | {"Aspect"}
    assert sorted(room.__all__) == list(room.__all__)
    assert len(ESTIMATORS) == 4


@each_function
def test_it_does_not_mutate_its_inputs(name):
    tensors = inputs(name)
    before = [tensor.clone() for tensor in tensors]
    CASES[name](*tensors)
    assert all(torch.equal(now, then) for now, then in zip(tensors, before, strict=True))


@each_function
def test_permuting_prompts_permutes_its_output(name):
    order = torch.randperm(PROMPTS, generator=torch.Generator().manual_seed(1))
    rows = torch.arange(ROWS).view(PROMPTS, GROUP)[order].flatten()
    assert_close(CASES[name](*inputs(name, rows=rows)), CASES[name](*inputs(name))[rows])


@each_function
def test_it_pickles(name):
    copied = pickle.loads(pickle.dumps(CASES[name]))
    assert_close(copied(*inputs(name)), CASES[name](*inputs(name)))


@each_function
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_it_returns_the_dtype_it_was_given_at_that_precision(name, dtype):
    tensors = inputs(name, dtype=dtype)
    got = CASES[name](*tensors)
    exact = CASES[name](tensors[0].double(), *tensors[1:])
    assert got.dtype == dtype
    assert_close(got, exact.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)


@each_estimator
def test_unscored_rows_get_zero_and_leave_the_baseline(name):
    (rewards,) = inputs(name)
    rewards[[1, 2]] = NAN
    first = CASES[name](rewards)
    rewards[1] = math.inf
    assert_close(CASES[name](rewards), first)
    assert first.isfinite().all()
    assert first[[1, 2]].tolist() == [0.0, 0.0]
    assert_close(first[0], -first[3])  # two scored rows are left, opposite whatever the scale


@each_estimator
def test_advantages_of_a_group_sum_to_zero(name):
    assert_close(CASES[name](*inputs(name)).view(PROMPTS, GROUP).sum(dim=1), torch.zeros(PROMPTS, dtype=torch.float64))


@each_estimator
def test_its_gradient_is_finite_under_extreme_rewards(name):
    (rewards,) = inputs(name, dtype=torch.float32)
    rewards[:8] = torch.tensor([1e30, -1e30, 0.0, 1e-30, 3e38, 3e38, -3e38, 0.0])
    rewards[8:12] = 0.1  # a dead group
    rewards[12:16] = torch.tensor([0.0, 1e-30, 0.0, 0.0])  # its squares underflow
    rewards[17] = NAN
    rewards.requires_grad_()
    (CASES[name](rewards) * torch.linspace(0, 1, ROWS)).sum().backward()
    assert rewards.grad.isfinite().all()
