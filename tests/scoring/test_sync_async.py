"""One method serves sync and async rewards, and Python's own `inspect` tells the two apart."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from rewardsmith.scoring.contracts import is_async
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, finished, sync_or_async


def double(values):
    return [2 * value for value in values]


async def double_later(values):
    await asyncio.sleep(0)
    return double(values)


@dataclass(frozen=True)
class Twice(SyncOrAsync):
    """Calls its function on the values, then on what came of them."""

    function: Any

    def __post_init__(self) -> None:
        self.become(is_async=is_async(self.function))

    @sync_or_async
    def __call__(self, values: list[float], *, n: int = 1) -> Calls:
        """Return the values, doubled twice, n times over."""
        once = yield [partial(self.function, values)] * n
        assert all(result == once[0] for result in once)
        [again] = yield [partial(self.function, once[0])]
        return again


def test_one_class_is_sync_or_async_as_its_function_is():
    plain, later = Twice(double), Twice(double_later)
    assert plain([1, 2], n=2) == asyncio.run(later([1, 2], n=2)) == [4, 8]
    for reward, awaits in ((plain, False), (later, True)):
        assert isinstance(reward, Twice)
        assert (
            inspect.iscoroutinefunction(type(reward).__call__) is inspect.iscoroutinefunction(reward.__call__) is awaits
        )
        assert inspect.signature(reward).parameters.keys() == {"values", "n"}
        back = pickle.loads(pickle.dumps(reward))
        assert type(back) is type(reward)
        assert back == reward


def test_another_function_makes_it_what_that_one_is():
    assert is_async(replace(Twice(double), function=double_later))
    assert not is_async(replace(Twice(double_later), function=double))


def test_calls_of_one_yield_run_concurrently_and_those_of_two_in_turn():
    running, most = 0, []

    async def counted(values):
        nonlocal running
        running += 1
        await asyncio.sleep(0)
        most.append(running)
        running -= 1
        return values

    assert asyncio.run(Twice(counted)([1.0], n=3)) == [1.0]
    assert most == [3, 2, 1, 1]


@pytest.mark.parametrize("error", [StopIteration("gone"), ValueError("gone")])
def test_what_a_call_raises_is_not_taken_for_the_end(error):
    def broken(values):
        raise error

    with pytest.raises(type(error), match="gone"):
        Twice(broken)([1.0])


def test_results_that_have_to_be_awaited_are_awaited_side_by_side_and_the_others_stay():
    both = asyncio.Barrier(2)

    async def waits(value):
        await both.wait()  # for the other one
        return value

    assert finished({"a": waits(1), "b": 2, "c": waits(3)}) == {"a": 1, "b": 2, "c": 3}
    assert finished({"b": 2}, run=None) == {"b": 2}  # without a loop
