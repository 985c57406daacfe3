"""AspectReward: pay per segment, whatever the steps, and what it refuses."""

import asyncio
import inspect
import pickle
from functools import partial

import pytest

from rewardsmith.data import Row, split_clauses
from rewardsmith.rewards import AspectReward
from rewardsmith.scoring import as_target as target_of
from rewardsmith.scoring import rewards_of, score
from rewardsmith.scoring.contracts import is_async
from rewardsmith.scoring.process import process_target

NAN = float("nan")


def clean(completions, steps, *, unknown="?", **columns):
    """1 for a segment without a digit, 0 with one, None where it holds `unknown`."""
    return [[None if unknown in s else float(not any(c.isdigit() for c in s)) for s in row] for row in steps]


def call(reward, steps):
    return reward(prompts=["q"] * len(steps), completions=["\n\n".join(row) for row in steps], steps=steps)


def test_a_step_gets_the_sum_of_its_segments_pay():
    reward = AspectReward(clean, positive=0.5, negative=-0.25, segmenter=split_clauses)
    got = call(reward, [["One, two, 3.", "four."], ["5."]])
    assert got == [[0.5 + 0.5 - 0.25, 0.5], [-0.25]]
    assert call(AspectReward(clean), [["One, two, 3.", "four."]]) == [[-0.3, 0.3]]


def test_the_mean_does_not_pay_for_more_segments():
    reward = AspectReward(clean, positive=1.0, negative=0.0, segmenter=split_clauses, reduction="mean")
    for n in (1, 2, 7):
        (row,) = call(reward, [["good, " * n + "good."] * 2])
        assert sum(row) == pytest.approx(1.0)
    summed = AspectReward(clean, positive=1.0, negative=0.0, segmenter=split_clauses)
    assert [sum(call(summed, [["good, " * n + "good."]])[0]) for n in (1, 2, 7)] == [2.0, 3.0, 8.0]


def test_unscored_segments_are_left_out_and_unscored_steps_none():
    reward = AspectReward(clean, positive=1.0, negative=-1.0, segmenter=split_clauses, reduction="mean")
    assert call(reward, [["a, b?, 1.", "?"]]) == [[0.0, None]]
    assert call(AspectReward(lambda steps, **columns: [None, [NAN, 1.0]]), [["a"], ["b", "c"]]) == [None, [None, 0.3]]
    assert call(AspectReward(clean, segmenter=lambda step: []), [["a"]]) == [[None]]  # a step of no segment has no pay


def test_a_score_at_the_threshold_is_an_error():
    reward = AspectReward(lambda steps, **columns: [[0.2, 0.9, 0.5]], threshold=0.5)
    assert call(reward, [["a", "b", "c"]]) == [[-0.3, 0.3, -0.3]]


def test_an_async_scorer_makes_an_async_reward():
    async def later(completions, steps, **columns):
        return clean(completions, steps)

    reward = AspectReward(later)
    assert isinstance(reward, AspectReward)
    assert is_async(reward)
    assert inspect.iscoroutinefunction(type(reward).__call__)
    assert asyncio.run(call(reward, [["a", "1"]])) == [[0.3, -0.3]]
    assert not is_async(AspectReward(clean))


def test_it_pickles_and_is_named_after_its_scorer():
    reward = AspectReward(clean, segmenter=split_clauses)
    assert pickle.loads(pickle.dumps(reward)) == reward
    assert reward.__name__ == "clean"
    assert AspectReward(partial(clean, unknown="!")).__name__ == "clean(unknown='!')"


def test_the_one_scoring_path_takes_it():
    target = process_target(target_of(AspectReward(clean)))
    rows = [Row("q", "a\n\n1", {"steps": ["a", "1"], "step_index": k}) for k in (0, 1)]
    assert rewards_of(score(target, rows, workers=0)) == [0.3, -0.3]


def test_refusals():
    with pytest.raises(ValueError, match=r"AspectReward: positive is -1.0 and negative 1.0, so errors are rewarded"):
        AspectReward(clean, positive=-1.0, negative=1.0)
    with pytest.raises(ValueError, match=r"AspectReward: reduction is 'max', which is not one of 'sum', 'mean'"):
        AspectReward(clean, reduction="max")
    with pytest.raises(ValueError, match=r"AspectReward: .* returned 0 rows for 1 completions"):
        call(AspectReward(lambda steps, **columns: []), [["a"]])
    with pytest.raises(ValueError, match=r"returned 1 scores for the 2 segments of row 0; a text cut at the model's"):
        call(AspectReward(lambda steps, **columns: [[1.0]]), [["a", "b"]])
