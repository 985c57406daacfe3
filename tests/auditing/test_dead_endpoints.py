"""An endpoint that does not answer says nothing of the reward: an audit ends with its error, never with a finding."""

from __future__ import annotations

import json
from collections import Counter
from zlib import crc32

import httpx
import pytest
from tests.auditing.small_baselines import integer_rows
from tests.rewards.judges.endpoint import FakeServer, drips, fails, garbage
from typer.testing import CliRunner

from rewardsmith.auditing import audit
from rewardsmith.cli import app
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.errors import EndpointError
from rewardsmith.rewards import ChatBackend, Criterion, PairwiseJudge, Rubric
from rewardsmith.scoring.calling import Unscored

DOWN = Unscored("ChatBackend: http://localhost:9/v1 refused the connection. Check base_url and the server.", "endpoint")


class Asking:
    """A reward that asks somewhere: 1.0 where the completion holds the answer; `mute` decides what stays unanswered."""

    def __init__(self, mute):
        self.mute, self.asked = mute, Counter()

    def __call__(self, completions, answer=None, **columns):
        return [None if isinstance(value, Unscored) else value for value in self.reasoned(completions, answer)]

    def reasoned(self, completions, answer=None, **columns):
        self.asked.update(completions)
        pairs = zip(completions, answer or completions, strict=True)
        return [DOWN if self.mute(text, self.asked[text]) else float(text == str(key)) for text, key in pairs]


def dead(text, times):
    return True


def grouped_rows():
    return [Row(f"p{i}", text, {"answer": "x y"}) for i in range(12) for text in ("x y", "x", "y z", "z")]


@pytest.mark.parametrize(
    ("target", "rows"),
    [
        (Asking(dead), integer_rows(8)),
        (
            {"length": lambda completions, **c: [float(len(c)) for c in completions], "judge": Asking(dead)},
            grouped_rows(),
        ),
    ],
)
def test_a_reward_whose_endpoint_never_answers_is_not_judged(target, rows):
    message = r"^Scorer: .* got no usable answer from its endpoint for \d rows in a row\. ChatBackend: .* the server\.$"
    with pytest.raises(EndpointError, match=message):
        audit(target, rows, workers=0, budget=1200)


def preferences(n=8):
    return [PreferenceRow(f"p{i}", f"good {i}", f"bad {i}") for i in range(n)]


def test_a_judge_of_pairs_whose_endpoint_never_answers_is_not_judged():
    with pytest.raises(EndpointError, match=r"^Scorer: .* for \d rows in a row\. ChatBackend: .* the server\.$"):
        audit(Asking(dead), preferences(), workers=0)


def pairwise(backend):
    return PairwiseJudge(backend)


def pointwise(backend):
    return Rubric([Criterion("good", "Is it good?")], backend)


FAILURES = {
    "refused": (None, "could not be reached .Connection refused"),
    "401": (fails(401), "answered 401"),
    "garbage": (garbage, "could not be reached"),
    "dripping": (drips, "gave no complete answer within 0.05 s"),
}


@pytest.fixture
def url(monkeypatch):
    """A function that starts a server that answers so, or none, and returns its address."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    servers = []

    def start(entry):
        servers.append(FakeServer(entry))
        if entry is None:
            servers.pop().close()
            return "http://127.0.0.1:9/v1"
        return servers[-1].url

    yield start
    for server in servers:
        server.close()


@pytest.mark.slow
@pytest.mark.parametrize("judge", [pairwise, pointwise])
@pytest.mark.parametrize("failure", FAILURES)
def test_our_judge_on_pairs_ends_with_the_error_of_its_server(judge, failure, url):
    entry, said = FAILURES[failure]
    backend = ChatBackend("tiny", base_url=url(entry), attempts=1, timeout=0.05 if failure == "dripping" else 10)
    try:
        with pytest.raises(
            EndpointError, match=rf"no usable answer from its endpoint for \d+ rows in a row\. .*{said}"
        ):
            audit(judge(backend), preferences(), workers=0)
    finally:
        backend.close()


class Client:
    """A judge of somebody else, on a client of its own."""

    def __init__(self, url):
        self.url, self.client = url, httpx.Client(timeout=0.05, verify=False, trust_env=False)

    def ask(self):
        return float(self.client.post(self.url, json={}).raise_for_status().text)


class ComparesByClient(Client):
    def compare(self, prompts, firsts, seconds):
        return [self.ask() for _ in prompts]


class ScoresByClient(Client):
    async def __call__(self, prompts, completions, **columns):
        return [self.ask() for _ in completions]


@pytest.mark.parametrize("judge", [ComparesByClient, ScoresByClient])
@pytest.mark.parametrize(
    ("entry", "said"),
    [(None, "ConnectError"), (fails(401), "HTTPStatusError: .*401"), (garbage, "RemoteProtocolError")],
)
def test_the_judge_of_somebody_else_ends_with_the_exception_of_its_client(judge, entry, said, url):
    with pytest.raises(EndpointError, match=rf"no usable answer from its endpoint for \d+ rows in a row\. {said}"):
        audit(judge(url(entry)), preferences(), workers=0)


def test_a_reward_on_answers_ends_in_the_same_way():
    def asks(completions, answer):
        raise ConnectionRefusedError("no route")

    with pytest.raises(EndpointError, match=r"rows in a row\. ConnectionRefusedError: no route\.$"):
        audit(asks, integer_rows(8), workers=0, budget=400)


def test_the_command_ends_with_2_where_the_server_of_a_judge_is_dead(tmp_path):
    source = "class Judge:\n    def compare(self, prompts, firsts, seconds):\n        raise ConnectionError('down')\n"
    (tmp_path / "dead.py").write_text(source)
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row.record()) for row in preferences()))
    arguments = ["audit", f"{tmp_path / 'dead.py'}:Judge", str(tmp_path / "pairs.jsonl"), "--workers", "0"]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, "ConnectionError: down" in result.output) == (2, True)


@pytest.mark.slow
def test_an_answer_that_fails_to_come_once_is_no_difference_between_two_calls():
    plain = audit(Asking(lambda text, times: False), integer_rows(8), workers=0, budget=1200)
    report = audit(
        Asking(lambda text, times: times == 3 and crc32(text.encode()) % 5 == 0),
        integer_rows(8),
        workers=0,
        budget=1200,
    )
    assert report.unscored["endpoint"] > 0
    assert {f.probe for f in report.findings} == {f.probe for f in plain.findings}


def test_completions_without_an_answer_are_no_missing_source():
    words = Asking(lambda text, times: False)
    flaky = Asking(lambda text, times: text == "z")
    report = audit({"words": words, "judge": flaky}, grouped_rows(), workers=0)
    assert report.unscored == {"endpoint": 12}
    assert not [f for f in report.findings if f.probe == "missing_source"]


def test_sources_of_which_no_group_has_its_answers_are_not_judged():
    muted = Asking(lambda text, times: text != "x y")
    with pytest.raises(EndpointError, match=r"endpoint"):
        audit({"words": Asking(lambda text, times: False), "judge": muted}, grouped_rows(), workers=0)
