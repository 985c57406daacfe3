"""Judges that compare, called as rewards: orders, lists, principles, wrong numbers of verdicts, silent servers."""

import urllib.error
from typing import NamedTuple

import httpx
import pytest

from rewardsmith.data import Row
from rewardsmith.rewards.judges.wire import JudgeError
from rewardsmith.scoring import Scorer, as_target
from rewardsmith.scoring.calling import Unscored
from rewardsmith.scoring.comparing import Compared, probability, way_of


class ListVerdict(NamedTuple):
    scores: tuple
    order: tuple = ()
    reasoning: tuple = ()


class FirstBias:
    def compare(self, prompts, firsts, seconds):
        return [0.7 if len(a) == len(b) else float(len(a) > len(b)) for a, b in zip(firsts, seconds, strict=True)]


class Ranker:
    """Prefers the longer answer, and the shorter one under "short"."""

    async def ranked(self, principle, prompt, responses):
        return ListVerdict(tuple((-1) ** ("short" in principle) * len(text) for text in responses))


class Principled:
    def judged_by(self, principle, prompts, responses):
        return [[float(len(text)) for text in own] for own in responses]


async def compare_them(prompts, firsts, seconds):
    return [float(a > b) for a, b in zip(firsts, seconds, strict=True)]


def scored(judge, completion, reference, **columns):
    row = Row("p", completion, {"reference": reference, **columns})
    target = as_target(judge) if not callable(judge) else as_target(Compared(judge, way_of(judge)))
    with Scorer(target, workers=0) as scorer:
        return scorer.score([row])[0]


def test_the_completion_stands_where_the_row_says():
    assert scored(FirstBias(), "ab", "cd").reward == pytest.approx(0.7)
    assert scored(FirstBias(), "ab", "cd", placed="second").reward == pytest.approx(0.3)
    assert scored(FirstBias(), "abc", "d", placed="second").reward == 1.0


def test_lists_principles_and_functions_compare_too():
    assert scored(Ranker(), "abc", "d").reward == 1.0
    assert scored(Ranker(), "abc", "d", principle="Be short.").reward == 0.0
    assert scored(Ranker(), "a", "d").reward == 0.5
    assert scored(Principled(), "a", "dd").reward == 0.0
    assert scored(compare_them, "b", "a").reward == 1.0


class Says(FirstBias):
    def __init__(self, found):
        self.found = found

    def compare(self, prompts, firsts, seconds):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    ("found", "reason", "detail"),
    [
        ([1.0, 0.0], "length", "2 rewards for 1 rows"),
        ([3.2], "none", "3.2 is not a probability"),
        (["A"], "none", "'A' is not a probability"),
        ([None], "none", "no verdict"),
        ([[1.0, None]], "none", "no verdict"),
        ([Unscored("busy", "endpoint")], "endpoint", "busy"),
        (ValueError("odd"), "exception", "ValueError: odd"),
    ],
)
def test_what_is_no_verdict_has_its_reason(found, reason, detail):
    if reason == "endpoint":
        assert probability(found[0]).reason == "endpoint"
        return
    score = scored(Says(found), "a", "b")
    assert (score.reward, score.reason, score.detail) == (None, reason, detail)


def test_what_compares_is_told_from_what_scores():
    def scores(prompts, completions):
        return [1.0]

    class Rubric:
        def judged(self, prompts, completions, criteria=None): ...

        __call__ = staticmethod(scores)

    class OfCalls:
        def compare(self, given, wanted): ...

        __call__ = staticmethod(scores)

    judges = (FirstBias(), Ranker(), Principled(), compare_them, scores, Rubric(), OfCalls())
    assert [way_of(one) for one in judges] == [
        "compare",
        "ranked",
        "judged_by",
        "__call__",
        "",
        "",
        "",
    ]


class ClientError(Exception):
    """Stands in for the base of openai's errors."""

    def __init__(self, status_code=None):
        self.status_code = status_code


ClientError.__module__, ClientError.__name__ = "openai._exceptions", "APIError"
NO_ROUTE = httpx.Request("POST", "http://localhost")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(), "endpoint"),
        (BrokenPipeError(), "exception"),  # a program's
        (TimeoutError(), "exception"),  # such as a program that took too long
        (ValueError("the server said no"), "exception"),
        (httpx.ReadTimeout("late"), "endpoint"),
        (urllib.error.URLError("no route"), "endpoint"),
        (ClientError(), "endpoint"),
        (ClientError(401), "endpoint"),
        (ClientError(422), "exception"),
        (httpx.HTTPStatusError("", request=NO_ROUTE, response=httpx.Response(503)), "endpoint"),
        (httpx.HTTPStatusError("", request=NO_ROUTE, response=httpx.Response(400)), "exception"),
        (JudgeError("it answered 401"), "endpoint"),
        (JudgeError("it refused this question alone", "none"), "exception"),
    ],
)
def test_the_type_of_an_exception_says_whether_a_server_failed(error, reason):
    def asks(completions):
        if completions == ["x"]:
            raise error
        return [1.0]

    with Scorer(asks, workers=0, batch_size=1) as scorer:
        assert [score.reason for score in scorer.score([Row("p", "a"), Row("p", "x")])] == [None, reason]
