"""Judges inside guards, routes and process rewards: reason and concurrency come through."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from rewardsmith.rewards import (
    AskedCritiques,
    CritiqueReward,
    PrincipleJudge,
    ReferenceJudge,
    RequireAnswer,
    RoutedReward,
    WithoutConfidence,
    exact_number,
)
from rewardsmith.rewards.judges.wire import JudgeError
from rewardsmith.scoring import as_target
from rewardsmith.scoring.calling import Caller, Unscored, own_concurrency
from rewardsmith.scoring.process import process_target

DOWN = Unscored("server down", "endpoint")
UNREAD = Unscored("no verdict in the judge's reply 'perhaps'")


class Backend:
    """Goes down for a completion that holds "down", else says perhaps."""

    concurrency = 3

    async def __call__(self, messages):
        if "down" in messages[1]["content"]:
            raise JudgeError("server down")
        return "perhaps"


JUDGE = ReferenceJudge(Backend())


@pytest.mark.parametrize(
    "wrapped",
    [
        JUDGE,
        partial(JUDGE, extra=1),
        RequireAnswer(JUDGE),
        WithoutConfidence(RequireAnswer(JUDGE)),
        RoutedReward({"math": JUDGE}),
        RoutedReward({"chat": exact_number}, default=RequireAnswer(JUDGE)),
    ],
)
def test_reasons_and_concurrency_come_through(wrapped):
    caller = Caller(wrapped)
    rows = {"prompts": ["q"] * 2, "completions": ["down", "up"], "answer": ["4"] * 2, "task": ["math"] * 2}
    assert caller.is_async
    assert asyncio.run(caller.call(**rows)) == [DOWN, UNREAD]
    assert asyncio.run(wrapped(**rows)) == [None, None]
    assert own_concurrency(wrapped) == 3


def test_a_route_whose_endpoint_is_down_is_not_replaced_by_the_default():
    routed = RoutedReward({"math": JUDGE}, default=exact_number, on_unparsed="default")
    rows = {"prompts": ["q"] * 2, "completions": ["4 down", "4"], "answer": ["4"] * 2, "task": ["math"] * 2}
    assert asyncio.run(routed.reasoned(**rows)) == [DOWN, 1.0]
    assert own_concurrency(RoutedReward({"math": exact_number})) is None


def test_a_judge_of_steps_is_asked_row_by_row_with_its_reasons():
    target = process_target(as_target(PrincipleJudge(Backend())))
    caller = Caller(target.reward)
    rows = {"prompts": ["q"] * 2, "completions": ["-"] * 2, "steps": [["a", "down"], ["a", "b"]], "step_index": [1, 0]}
    assert caller.is_async
    assert asyncio.run(caller.call(**rows)) == [DOWN, UNREAD]
    assert own_concurrency(target.reward) == 3


def test_a_critique_that_cannot_be_had_says_why():
    def length(prompts, completions, **columns):
        return [float(len(text)) for text in completions]

    reward = CritiqueReward(length, AskedCritiques(Backend()))
    rows = {"prompts": ["q", "q"], "completions": ["down", "up"]}
    assert asyncio.run(reward.reasoned(**rows)) == [DOWN, float(len("up\n\nCritique: perhaps"))]
    assert own_concurrency(reward) == 3
