"""Every row of every judge is accounted for by a server that fails in all ways, and no answer is asked for twice."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter

import pytest
from tests.rewards.judges.endpoint import drips, fails, garbage, says

import rewardsmith as rs
from rewardsmith.rewards import (
    AnthropicBackend,
    BranchRethinkJudge,
    EntailmentJudge,
    ListJudge,
    PairwiseJudge,
    ReferenceJudge,
)

PASSING = {"down", "limited", "drips", "garbage", "moved", "html", "foreign"}
"""Failures of the server, which may answer the same row later; the others are the row's."""
JUDGES = {
    "reference": ReferenceJudge,
    "pairwise": PairwiseJudge,
    "branching": BranchRethinkJudge,
    "list": lambda backend: ListJudge(backend, principle="Be brief."),
    "entailment": lambda backend: EntailmentJudge(backend, principle="Be brief."),
}


def answer(body):
    """An honest reply in the form that the question asks for; of two answers, the one named good is better."""
    system = body["messages"][0]["content"] if "system" not in body else body["system"]
    text = body["messages"][-1]["content"]
    if "Verdict: YES" in system:
        return "Verdict: YES"
    if "second turn" in text:
        return r"\boxed{1}"
    if "first: choose" in system:
        return "<criteria>logic</criteria>"
    if "best-to-worst" in system:
        return json.dumps({"scores": {"answer-1": 4}, "best-to-worst": ["answer-1"]})
    return "Yes" if "Principle:" in text else "<answer>[[A]]</answer>"


def with_probabilities(text):
    status, body, headers = says(text)
    body["choices"][0]["logprobs"] = {"content": [{"token": text, "logprob": -0.01, "top_logprobs": []}]}
    return status, body, headers


TROUBLE = {
    "refused": fails(400),
    "down": fails(503),
    "limited": fails(429),
    "drips": drips,
    "garbage": garbage,
    "moved": fails(307, Location="/v1/chat/completions"),
    "html": (200, "<html>Please log in</html>", {}),
    "foreign": (200, {"content": [{"type": "text", "text": "<answer>[[A]]</answer>"}]}, {}),
    "cut": says("Let me", finish_reason="length"),
    "mute": says(None, finish_reason="content_filter"),
}
WAYS = ["good", *TROUBLE, "evasive"]


class Troubled:
    """A server that treats a row as its completion says, until it is well; counts each question that it answered."""

    def __init__(self):
        self.well, self.answered = False, Counter()

    def __call__(self, request):
        way = re.search(r"way-(\w+)", json.dumps(request.body))
        kind = "good" if way is None else way[1]
        if not self.well and kind in TROUBLE:
            found = TROUBLE[kind]
            return found(request) if callable(found) else found
        if way is not None:
            self.answered[json.dumps(request.body, sort_keys=True)] += 1
        return says("It depends.") if kind == "evasive" else with_probabilities(answer(request.body))


def asked(judge, ways):
    columns = {"answer": ["4"] * len(ways), "reference": ["the other"] * len(ways)}
    prompts, completions = [f"q {way}" for way in ways], [f"way-{way}" for way in ways]
    found = asyncio.run(judge.reasoned(prompts=prompts, completions=completions, **columns))
    return dict(zip(ways, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", JUDGES)
def test_each_row_has_its_reason_and_a_second_run_asks_only_for_what_is_missing(serve, name, tmp_path):
    troubled = Troubled()
    ways = [way for way in WAYS if way != "drips" or name == "pairwise"]  # two time-outs are enough
    options = {"attempts": 2, "timeout": 1.0 if "drips" in ways else 60.0, "concurrency": 32}
    _, backend = serve(troubled, cache_dir=tmp_path, **options)
    judge = JUDGES[name](backend)
    found = asked(judge, ways)
    assert isinstance(found["good"], float)
    for way in ways[1:]:
        assert found[way].reason == ("endpoint" if way in PASSING else "none"), (way, found[way])
        assert found[way].why
    words = {
        "refused": "refused this question alone (400)",
        "down": "tried 2 times, answered 503",
        "limited": "answered 429",
        "drips": "gave no complete answer within 1 s",
        "garbage": "could not be reached",
        "moved": "answered 307",
        "html": "without choices[0].message.content",
        "foreign": "without choices[0].message.content",
        "cut": "cut its reply off at max_tokens",
        "mute": "answered without a text",
        "evasive": "in the judge's reply 'It depends.'",
    }
    assert [way for way in ways[1:] if words[way] not in found[way].why] == []
    troubled.well = True
    again = asked(judge, ways)
    assert again["good"] == found["good"]
    assert [way for way in ways if not isinstance(again[way], float)] == ["evasive"]  # it was answered, and is kept
    assert set(troubled.answered.values()) == {1}


@pytest.mark.slow
def test_a_row_whose_second_order_failed_goes_on_from_the_first(serve, tmp_path):
    good = says("<answer>[[A]]</answer>")
    server, backend = serve(good, fails(503), good, cache_dir=tmp_path, attempts=1, concurrency=1)
    judge = PairwiseJudge(backend)
    rows = {"prompts": ["q"], "completions": ["x"], "reference": ["y"]}
    [first] = asyncio.run(judge.reasoned(**rows))
    assert first.reason == "endpoint"
    assert asyncio.run(judge.reasoned(**rows)) == [0.5]
    assert server.bodies[1] == server.bodies[2] != server.bodies[0]
    assert (backend.usage.requests, backend.usage.cached) == (3, 1)


@pytest.mark.slow
def test_a_second_turn_that_failed_goes_on_from_the_first_turn(serve, tmp_path):
    script = (says("<criteria>logic</criteria>"), fails(503), says(r"\boxed{1}"))
    server, backend = serve(*script, cache_dir=tmp_path, attempts=1)
    judge = BranchRethinkJudge(backend, swap=False)
    rows = {"prompts": ["q"], "completions": ["x"], "reference": ["y"]}
    assert asyncio.run(judge.reasoned(**rows))[0].reason == "endpoint"
    assert asyncio.run(judge.reasoned(**rows)) == [1.0]
    assert len(server.bodies) == 3


def test_a_scorer_accounts_for_the_rows_of_a_comparing_judge(serve):
    fine = says("<answer>[[A]]</answer>")
    _, backend = serve(lambda request: fails(404) if "\nz\n" in request.body["messages"][1]["content"] else fine)
    rows = [{"prompt": "q", "completion": text, "reference": "y"} for text in ("x", "z")]
    first, found = rs.score(PairwiseJudge(backend), rows, workers=0)
    assert first.reward == 0.5
    assert (found.reward, found.reason) == (None, "endpoint")
    assert "answered 404" in found.detail


@pytest.mark.parametrize("name", JUDGES)
def test_an_exception_of_the_judge_is_no_reward(name):
    """Official code has paths on which an exception scores 1.0."""

    async def backend(messages):
        raise RuntimeError("out of memory")

    rows = [{"prompt": "q", "completion": text, "reference": "y", "answer": "4"} for text in "ab"]
    found = rs.score(JUDGES[name](backend), rows, workers=0)
    assert [(one.reward, one.reason) for one in found] == [(None, "exception")] * 2
    assert "RuntimeError: out of memory" in found[0].detail


def test_the_server_of_another_provider_is_named(endpoint, key):
    server = endpoint(says("<answer>[[A]]</answer>"))
    backend = AnthropicBackend("small", base_url=server.url, api_key_env="TEST_JUDGE_KEY")
    [verdict] = asyncio.run(PairwiseJudge(backend).judged(["q"], ["x"], ["y"]))
    assert verdict.why.reason == "endpoint"
    assert "Check that the endpoint speaks Anthropic's Messages format" in verdict.why.why
    backend.close()
