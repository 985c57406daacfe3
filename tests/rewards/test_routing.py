"""RoutedReward: every row to its own reward, once, and to nobody else's."""

from __future__ import annotations

import asyncio
import pickle
from functools import partial
from inspect import iscoroutinefunction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.installed import part_of

from rewardsmith.rewards import RoutedReward, exact_number, exact_text
from rewardsmith.scoring import as_target, contract_of
from rewardsmith.scoring.contracts import is_async

SEEN: list[tuple[str, dict]] = []


def noted(*, prompts, completions, mark, value=1.0, **columns):
    SEEN.append((mark, {"prompts": prompts, "completions": completions, **columns}))
    return [None if text == "?" else value for text in completions]


async def noted_async(*, prompts, completions, mark, value=1.0, **columns):
    await asyncio.sleep(0)
    return noted(prompts=prompts, completions=completions, mark=mark, value=value, **columns)


def not_a_number(*, prompts, completions, **columns):
    return [float("nan")] * len(completions)


def short(*, prompts, completions, **columns):
    return [1.0]


async def short_async(*, prompts, completions, **columns):
    return [1.0]


def call(reward, completions, tasks, **columns):
    prompts = [f"q{i}" for i in range(len(completions))]
    result = reward(prompts=prompts, completions=completions, task=tasks, **columns)
    return asyncio.run(result) if is_async(reward) else result


def arms(kind, **values):
    return {name: partial(kind, mark=name, value=value) for name, value in values.items()}


KINDS = pytest.mark.parametrize("kind", [noted, noted_async])


@KINDS
def test_each_reward_is_called_once_with_its_own_rows_and_columns(kind):
    SEEN.clear()
    routed = RoutedReward(arms(kind, a=1.0, b=2.0, unused=3.0))
    state = {"trainer_state": "s"}  # no column
    scores = call(routed, ["w", "x", "y", "z"], ["a", "b", "a", "c"], answer=[1, 2, 3, 4], **state)
    assert scores == [1.0, 2.0, 1.0, None]
    assert sorted(SEEN, key=str) == [
        ("a", {"prompts": ["q0", "q2"], "completions": ["w", "y"], "task": ["a", "a"], "answer": [1, 3], **state}),
        ("b", {"prompts": ["q1"], "completions": ["x"], "task": ["b"], "answer": [2], **state}),
    ]


@KINDS
def test_the_default_takes_unknown_tasks_and_unparsed_rows_only_if_asked(kind):
    rows = (["x", "?", "x", "x"], ["a", "a", "other", None])
    default = partial(kind, mark="default", value=0.5)
    assert call(RoutedReward(arms(kind, a=1.0)), *rows) == [1.0, None, None, None]
    assert call(RoutedReward(arms(kind, a=1.0), default=default), *rows) == [1.0, None, 0.5, 0.5]
    SEEN.clear()
    fallback = RoutedReward({"a": not_a_number}, default=default, on_unparsed="default")
    assert call(fallback, ["x", "?", "x"], ["a", "a", "b"]) == [0.5, None, 0.5]
    assert [mark for mark, _ in SEEN] == ["default"]  # once, for both reasons


def test_nan_is_none():
    assert call(RoutedReward({"a": not_a_number}), ["x"], ["a"]) == [None]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow])  # by the clock, so a busy machine would fail it
@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12), st.randoms())
def test_routing_agrees_with_scoring_row_by_row_in_any_order(tasks, rng):
    values = {"a": 1.0, "b": 2.0}
    routed = RoutedReward(arms(noted, **values), default=partial(noted, mark="d", value=9.0))
    order = list(range(len(tasks)))
    rng.shuffle(order)
    shuffled = call(routed, ["x"] * len(tasks), [tasks[i] for i in order])
    assert shuffled == [values.get(tasks[i], 9.0) for i in order]


def test_only_what_awaits_is_async_in_the_way_trl_tells():
    plain = RoutedReward(arms(noted, a=1.0))
    routes = [
        RoutedReward(arms(noted_async, a=1.0)),
        RoutedReward(arms(noted, a=1.0), default=partial(noted_async, mark="d")),
        RoutedReward({"a": RoutedReward(arms(noted_async, a=1.0))}),
    ]
    assert not iscoroutinefunction(type(plain).__call__)
    for reward in routes:
        assert iscoroutinefunction(type(reward).__call__)
        assert call(reward, ["x", "x"], ["a", None])[0] == 1.0
    assert plain.__name__ == "routed_by_task"


@KINDS
def test_it_pickles_and_routes_by_the_column_named(kind):
    routed = pickle.loads(pickle.dumps(RoutedReward(arms(kind, a=1.0), by="kind")))
    assert type(routed) is type(RoutedReward(arms(kind, a=1.0)))
    result = routed(prompts=["q"] * 2, completions=["x"] * 2, kind=["a", "b"])
    assert (asyncio.run(result) if kind is noted_async else result) == [1.0, None]


def test_our_verifiers_route():
    routed = RoutedReward({"math": exact_number, "names": exact_text})
    assert contract_of(routed) == "trl"
    assert as_target(routed) is not None
    scores = routed(
        prompts=["q"] * 4,
        completions=["4", "Paris", "5", "Rome"],
        answer=["4", "Paris", "4", "Paris"],
        task=["math", "names", "math", "names"],
    )
    assert scores == [1.0, 1.0, 0.0, 0.0]


def test_no_rows_no_calls():
    SEEN.clear()
    assert call(RoutedReward(arms(noted, a=1.0)), [], []) == []
    assert SEEN == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"routes": {}}, "routes is empty, so nothing is routed. Map at least one task"),
        ({"by": "completions"}, "by='completions' is written by the policy, so it could choose its own judge. Route"),
        ({"on_unparsed": "default"}, 'on_unparsed="default" needs a default reward. Pass one'),
        ({"on_unparsed": "zero"}, "on_unparsed is 'zero', which is not one of 'none', 'default'"),
    ],
)
def test_a_router_that_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=f"RoutedReward: {message}"):
        RoutedReward(**{"routes": {"a": noted}, **options})


def test_rows_without_the_column_are_refused():
    with pytest.raises(ValueError, match=r"no column 'task', which names their task \(columns: completions, prompts\)"):
        RoutedReward({"a": noted})(prompts=["q"], completions=["x"])


@pytest.mark.parametrize("reward", [short, short_async])
def test_a_reward_of_the_wrong_length_is_refused(reward):
    with pytest.raises(ValueError, match=rf"{reward.__name__} returned 1 values for 2 rows. A reward must return one"):
        call(RoutedReward({"a": reward}), ["x", "y"], ["a", "a"])


@pytest.mark.slow
def test_trl_itself_takes_both_kinds_for_what_they_are():
    utils = part_of("trl", "trl.trainer.utils")
    assert utils.is_async_callable(RoutedReward(arms(noted_async, a=1.0)))
    assert not utils.is_async_callable(RoutedReward(arms(noted, a=1.0)))
    assert utils.get_callable_name(RoutedReward(arms(noted, a=1.0))) == "routed_by_task"
