"""Stated confidence as a source, and rewards that do not see it."""

import asyncio
import pickle

import pytest

from rewardsmith.data import Row
from rewardsmith.rewards import WithoutConfidence, stated_confidence
from rewardsmith.scoring import contract_of, rewards_of, score, to_trl
from rewardsmith.scoring.contracts import is_async

ANSWERED = "4\n\n<confidence>0.7</confidence>"


def likes_confidence(*, prompts, completions, bonus, **columns):
    """Paid by the row's bonus where the completion states a high confidence: the flaw that stripping removes."""
    return [b if "0.9" in text else 0.0 for text, b in zip(completions, bonus, strict=True)]


def seen(*, prompts, completions, **columns):
    return [(prompt, completion, sorted(columns)) for prompt, completion in zip(prompts, completions, strict=True)]


async def seen_async(*, prompts, completions, **columns):
    return seen(prompts=prompts, completions=completions, **columns)


def needs_ids(*, prompts, completions, completion_ids):
    return [0.0] * len(completions)


def test_the_stated_confidence_is_a_number_or_unscored():
    said = [ANSWERED, "4", "<confidence>2</confidence>", [{"role": "assistant", "content": "Confidence: 0.3"}]]
    assert stated_confidence(said) == [0.7, None, None, 0.3]
    assert stated_confidence(["Confidence: 7"], scale=10) == [0.7]
    assert contract_of(stated_confidence) == "trl"
    assert rewards_of(score(stated_confidence, [Row("2+2?", ANSWERED), Row("2+2?", "4")], workers=0)) == [0.7, None]


def test_the_reward_sees_the_completion_without_its_confidence():
    messages = [{"role": "assistant", "content": ANSWERED}]
    result = WithoutConfidence(seen)(prompts=["p", "q"], completions=[ANSWERED, messages], answer=["4", "4"])
    assert result == [("p", "4", ["answer"]), ("q", [{"role": "assistant", "content": "4"}], ["answer"])]
    assert messages[0]["content"] == ANSWERED


def test_a_liking_for_confidence_is_gone():
    rows = {"prompts": ["p"] * 2, "completions": ["a Confidence: 0.9", "a Confidence: 0.1"], "bonus": [1.0, 1.0]}
    assert likes_confidence(**rows) == [1.0, 0.0]
    assert WithoutConfidence(likes_confidence)(**rows) == [0.0, 0.0]


def test_an_async_reward_stays_async():
    guarded = WithoutConfidence(seen_async)
    assert is_async(guarded)
    assert not is_async(WithoutConfidence(seen))
    assert asyncio.run(guarded(prompts=["p"], completions=[ANSWERED], x=[1])) == [("p", "4", ["x"])]


def test_token_ids_that_still_hold_the_confidence_are_not_passed_on():
    assert WithoutConfidence(seen)(prompts=["p"], completions=[ANSWERED], completion_ids=[[1]]) == [("p", "4", [])]
    with pytest.raises(TypeError, match="completion_ids"):
        WithoutConfidence(needs_ids)(prompts=["p"], completions=[ANSWERED], completion_ids=[[1]])


def test_it_pickles_and_names_itself_apart():
    guarded = pickle.loads(pickle.dumps(WithoutConfidence(likes_confidence)))
    assert guarded == WithoutConfidence(likes_confidence)
    assert guarded.__name__ == "likes_confidence_without_confidence"
    assert contract_of(guarded) == "trl"
    assert to_trl(guarded).__name__ == "likes_confidence_without_confidence"
