"""A factor that changes over training: the paper's schedules by hand, and where its step comes from."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import group_zscore
from rewardsmith.recipes import Recipe, source
from rewardsmith.transforms import reads, scheduled_scale
from rewardsmith.types import traits_of

STEPS = (0, 29, 30, 75, 149, 150, 400)
SMOOTH_FORMAT = {"start": 2.0, "end": 1.0, "until": 150}
TWO_STAGE = {"start": 1 / 3, "end": 1.0, "until": 30, "shape": "two_stage"}


@pytest.mark.parametrize(
    ("options", "factors"),
    # ToolRL, "smooth": format from 2 to 1 over 150 steps; "two-stage": correctness a third for 30 steps
    [(SMOOTH_FORMAT, (2, 2 - 29 / 150, 1.8, 1.5, 2 - 149 / 150, 1, 1)), (TWO_STAGE, (1 / 3, 1 / 3, 1, 1, 1, 1, 1))],
)
def test_the_papers_schedules_by_hand(options, factors):
    rewards = torch.tensor([1.0, -3.0, math.nan], dtype=torch.float64)
    for step, factor in zip(STEPS, factors, strict=True):
        assert_close(scheduled_scale(rewards, global_step=step, **options), rewards * factor, equal_nan=True)
        assert_close(scheduled_scale(rewards, global_step=torch.tensor(step), **options)[1].item(), -3.0 * factor)


def right(completions, **columns):
    return [float(text == "4") for text in completions]


def formatted(completions, **columns):
    return [1.0 for _ in completions]


def test_a_recipe_takes_the_step_from_the_trainers_state():
    share = reads(partial(scheduled_scale, start=2.0, end=3.0, until=0.5), global_step="progress")
    recipe = Recipe(source(formatted).then(scheduled_scale, **SMOOTH_FORMAT) + source(right).then(share))
    rows = {"prompts": ["p", "p"], "completions": ["4", "5"]}
    for step, wanted in ((0, [4.0, 2.0]), (75, [1.5 + 2.5, 1.5]), (300, [1.0 + 3.0, 1.0])):
        assert recipe(**rows, trainer_state=SimpleNamespace(global_step=step, max_steps=300)) == pytest.approx(wanted)
    with pytest.raises(TypeError, match="recipe: scheduled_scale needs global_step, and is offered formatted, right"):
        recipe(**rows)


def test_alone_it_is_canceled_by_a_z_score():
    (found,) = Recipe(source(right).then(scheduled_scale, **SMOOTH_FORMAT), advantage=group_zscore).canceled()
    assert "affine" in found.reason
    assert not traits_of(partial(scheduled_scale, start=1.0, end=0.0)).affine  # at the end nothing is left


def test_what_is_no_schedule_is_refused():
    ones = torch.ones(2)
    schedule = partial(scheduled_scale, start=1.0, end=2.0)
    with pytest.raises(ValueError, match=r"scheduled_scale: shape is 'cosine', which is not one of 'linear', 'two_st"):
        schedule(ones, global_step=1, until=2, shape="cosine")
    with pytest.raises(ValueError, match=r"scheduled_scale: global_step has shape \(2,\), but a batch has one step"):
        schedule(ones, global_step=torch.ones(2), until=2)
    with pytest.raises(ValueError, match=r"scheduled_scale: global_step is -1.0, outside"):
        schedule(ones, global_step=-1, until=2)
    with pytest.raises(ValueError, match=r"scheduled_scale: until is 0, outside"):
        schedule(ones, global_step=1, until=0)
