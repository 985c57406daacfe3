"""Guards: refused rows never reach the reward, and everything else is as if the guard were not there."""

from __future__ import annotations

import asyncio
import pickle
import re
from functools import partial

import pytest
from tests.installed import part_of

from rewardsmith.data import MASTER_KEYS
from rewardsmith.rewards import RequireAnswer, exact_number

SEEN: list[dict] = []
BOXED = r"\\boxed\{.+\}"


def credulous(*, prompts, completions, **columns):
    SEEN.append({"prompts": prompts, "completions": completions, **columns})
    return [1.0 for _ in completions]


async def credulous_async(*, prompts, completions, **columns):
    await asyncio.sleep(0)
    return [1.0 for _ in completions]


def offset(*, prompts, completions, by, **columns):
    return [None if text == "skip me please" else by for text in completions]


def short(*, prompts, completions, **columns):
    return [1.0]


def call(reward, completions, **columns):
    return reward(prompts=["q"] * len(completions), completions=completions, **columns)


def test_every_master_key_earns_nothing_behind_a_guard_that_wants_a_box():
    keys = [key for family in MASTER_KEYS.values() for key in family]
    guarded = RequireAnswer(credulous, pattern=BOXED)
    assert call(credulous, keys) == [1.0] * len(keys)  # the judge's own weakness, still visible
    assert call(guarded, keys) == [0.0] * len(keys)
    assert call(guarded, ["so \\boxed{4}"]) == [1.0]


def test_refused_rows_are_never_sent_and_columns_stay_with_their_completions():
    SEEN.clear()
    guarded = RequireAnswer(credulous, min_tokens=2)
    call(guarded, ["", "it is 4", ".", "it is 5"], answer=["a", "b", "c", "d"], trainer_state="state")
    assert SEEN == [
        {
            "prompts": ["q", "q"],
            "completions": ["it is 4", "it is 5"],
            "answer": ["b", "d"],
            "trainer_state": "state",
        }
    ]


def test_a_reward_is_not_called_when_nothing_is_left():
    SEEN.clear()
    assert call(RequireAnswer(credulous), ["", " ", ":", "。"]) == [0.0] * 4
    assert SEEN == []


def test_unscored_stays_unscored_and_otherwise_is_the_caller_s():
    guarded = RequireAnswer(partial(offset, by=0.5), min_tokens=3, otherwise=-1.0)
    assert call(guarded, ["skip me please", "one two three", "one two"]) == [None, 0.5, -1.0]
    assert call(RequireAnswer(credulous, otherwise=None), [""]) == [None]


def test_it_wraps_our_verifiers_and_conversational_completions():
    guarded = RequireAnswer(exact_number, pattern=r"\d")
    chat = [[{"role": "assistant", "content": "4"}], [{"role": "assistant", "content": "four"}]]
    assert call(guarded, chat, answer=["4", "4"]) == [1.0, 0.0]


def test_an_async_reward_stays_async_in_the_way_trl_tells():
    from inspect import iscoroutinefunction

    guarded = RequireAnswer(partial(credulous_async), pattern="4")
    assert iscoroutinefunction(type(guarded).__call__)
    assert not iscoroutinefunction(type(RequireAnswer(credulous)).__call__)
    assert asyncio.run(call(guarded, ["", "it is 4"])) == [0.0, 1.0]
    assert asyncio.run(call(guarded, [""])) == [0.0]


@pytest.mark.slow
def test_trl_itself_takes_both_kinds_for_what_they_are():
    utils = part_of("trl", "trl.trainer.utils")
    assert utils.is_async_callable(RequireAnswer(credulous_async))
    assert not utils.is_async_callable(RequireAnswer(credulous))
    assert utils.get_callable_name(RequireAnswer(credulous)) == "credulous_if_answered"


@pytest.mark.parametrize("reward", [credulous, credulous_async, partial(offset, by=1.0)])
def test_a_guard_pickles_and_still_guards(reward):
    guarded = pickle.loads(pickle.dumps(RequireAnswer(reward, min_tokens=2, pattern="4")))
    assert isinstance(guarded, RequireAnswer)
    assert not guarded.admits("4")
    assert guarded.admits("it is 4")


def test_guards_compose():
    both = RequireAnswer(RequireAnswer(credulous, min_tokens=3), pattern="4")
    assert call(both, ["it is 4", "4", "it is five"]) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "n"),
    [("", 0), (" \n", 0), ("... !!", 0), ("it is 4", 3), ("解", 1), ("答案是四", 4), ("a_b", 2), ("3.5", 2)],
)
def test_tokens_are_words_with_a_letter_or_digit(text, n):
    assert RequireAnswer(credulous, min_tokens=n, pattern="").admits(text)
    assert not RequireAnswer(credulous, min_tokens=n + 1).admits(text)


def test_a_gate_that_admits_everything_is_refused():
    with pytest.raises(ValueError, match="min_tokens=0 and no pattern admit every completion"):
        RequireAnswer(credulous, min_tokens=0)


def test_a_broken_pattern_is_refused():
    with pytest.raises(ValueError, match=re.escape("pattern '(' is no regular expression")):
        RequireAnswer(credulous, pattern="(")


def test_a_reward_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="short returned 1 values for 2 rows"):
        call(RequireAnswer(short), ["a", "b"])
