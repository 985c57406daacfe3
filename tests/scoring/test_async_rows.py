"""Async rewards: row by row, so many at once, each under its own limit, each on disk as it ends; and dead endpoints."""

import asyncio
import json
import threading
from functools import partial

import pytest

from rewardsmith.data import Row
from rewardsmith.errors import EndpointError
from rewardsmith.scoring import Scorer, as_target, rewards_of, score
from rewardsmith.scoring.calling import Unscored, is_model, own_concurrency, row_limit


def numbered(n: int) -> list[Row]:
    return [Row(f"prompt {i}", str(i)) for i in range(n)]


class Judge:
    """Answers through `slots` at a time, and counts its requests, those under way, and those that had to wait."""

    def __init__(self, slots: int = 8) -> None:
        self.concurrency = slots
        self.asked: list[str] = []
        self.running = self.most = self.waited = 0

    async def __call__(self, *, completions, **columns):
        self.asked += completions
        self.waited += self.running >= self.concurrency
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.002)
        self.running -= 1
        return [float(len(completion)) for completion in completions]


def test_no_question_waits_for_a_slot_and_none_is_asked_twice():
    judge = Judge(slots=8)
    scored = score(judge, numbered(256), workers=0, timeout=30.0)
    assert len(judge.asked) == len(set(judge.asked)) == 256
    assert rewards_of(scored) == [float(len(str(i))) for i in range(256)]
    assert (judge.most, judge.waited) == (8, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "most"), [({"workers": 0, "concurrency": 5}, 5), ({"workers": 0}, 16), ({"workers": 1}, 16)]
)
def test_without_a_word_of_the_reward_the_scorer_says_how_many_rows_at_once(options, most):
    running: list[int] = []

    async def counting(prompt, completion):
        import asyncio

        running.append(1)
        under_way = len(running)
        await asyncio.sleep(0.05)
        running.pop()
        return float(under_way)

    assert max(rewards_of(score(counting, numbered(64), **options))) == most


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_the_rows_that_may_be_under_way(workers, tmp_path):
    log = tmp_path / "log"

    async def noting(completions):
        import asyncio
        import os

        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b"+")
        await asyncio.sleep(0.02)
        os.write(descriptor, b"-")
        os.close(descriptor)
        return [1.0]

    assert rewards_of(score(noting, numbered(30), workers=workers, concurrency=6)) == [1.0] * 30
    text = log.read_text()
    depths = [text[:i].count("+") - text[:i].count("-") for i in range(len(text) + 1)]
    assert len(text) == 60
    assert 2 <= max(depths) <= 6


@pytest.mark.slow
def test_a_row_that_timed_out_is_not_asked_again_and_takes_no_neighbor_with_it():
    asked: list[str] = []

    async def judged(completions):
        asked.extend(completions)
        await asyncio.sleep(60 if "7" in completions else 0)
        return [1.0] * len(completions)

    scored = score(judged, numbered(20), workers=0, timeout=0.2)
    assert [i for i, result in enumerate(scored) if result.reason] == [7]
    assert (scored[7].reason, scored[7].detail) == ("timeout", "no result within 0.2 s")
    assert sorted(asked, key=int) == [str(i) for i in range(20)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_each_async_row_is_on_disk_by_itself(workers, tmp_path):
    async def judged(completions):
        return [float(completion) for completion in completions]

    with Scorer(judged, workers=workers, journal=tmp_path / "j") as scorer:
        scorer.score(numbered(20))
    lines = (tmp_path / "j").read_text().splitlines()[1:]
    records = [record for line in lines if "keys" in (record := json.loads(line))]
    assert len(records) == 20
    assert all(len(record["keys"]) == 1 for record in records)


def test_a_whole_call_of_an_async_reward_stays_one_call():
    calls: list[int] = []

    async def judged(completions):
        calls.append(len(completions))
        return [1.0] * len(completions)

    with Scorer(judged, workers=0) as scorer:
        assert rewards_of(scorer.score(numbered(20), whole=True)) == [1.0] * 20
    assert calls == [20]


def test_the_default_limit_is_30_seconds_and_none_for_a_reward_that_limits_its_own_requests():
    class Model:
        def plan(self):
            return []

    judge = Judge(slots=3)
    guard = partial(judge, note="bound")
    assert (row_limit(numbered, None), row_limit(Model(), None), row_limit(guard, None)) == (30.0, None, None)
    assert (row_limit(judge, 5.0), row_limit(numbered, float("inf"))) == (5.0, None)
    assert (own_concurrency(guard), own_concurrency(numbered)) == (3, None)


class Asking:
    """A sync reward that says why: `replies` maps a completion to what it gives, 1.0 where there is nothing."""

    def __init__(self, replies=None, default=1.0):
        self.replies, self.default, self.asked = replies or {}, default, []

    def __call__(self, completions, **columns):
        return [None if isinstance(value, Unscored) else value for value in self.reasoned(completions, **columns)]

    def reasoned(self, completions, **columns):
        self.asked += completions
        return [self.replies.get(completion, self.default) for completion in completions]


DOWN = Unscored("ChatBackend: http://localhost:9/v1 could not be reached (ConnectError).", "endpoint")
MUTE = Unscored("the reply holds no verdict")


def test_a_reward_says_why_a_row_is_unscored_also_through_partial():
    reward = partial(Asking({"0": MUTE, "1": None, "2": DOWN}), note="bound")
    scored = score(reward, numbered(4), workers=0)
    assert [(s.reward, s.reason, s.detail) for s in scored] == [
        (None, "none", MUTE.why),
        (None, "none", ""),
        (None, "endpoint", DOWN.why),
        (1.0, None, ""),
    ]


def test_eight_rows_in_a_row_without_an_answer_end_the_job_and_it_resumes(tmp_path):
    reward = Asking({str(i): DOWN for i in range(20, 60)})
    options = {"workers": 0, "batch_size": 4, "journal": tmp_path / "j"}
    message = (
        r"^Scorer: Asking got no usable answer from its endpoint for 8 rows in a row\. ChatBackend: .* \(ConnectError\)"
        r"\. Scored rows are kept, and the same command continues\.$"
    )
    with Scorer(reward, **options) as scorer, pytest.raises(EndpointError, match=message):
        scorer.score(numbered(60))
    assert len(reward.asked) == 28
    with Scorer(Asking({}), **options) as scorer:
        assert rewards_of(scorer.score(numbered(60))) == [1.0] * 60
        assert scorer.caller.reward.asked == [str(i) for i in range(20, 60)]


def test_a_row_without_an_answer_is_asked_again_by_the_next_call_and_by_a_resumed_job(tmp_path):
    reward = Asking({"5": DOWN})
    with Scorer(reward, workers=0, journal=tmp_path / "j") as scorer:
        assert [s.reason for s in scorer.score(numbered(8))][4:7] == [None, "endpoint", None]
        reward.replies = {}
        assert scorer.score(numbered(8))[5].reward == 1.0
        assert reward.asked.count("5") == 2
    reward = Asking({"5": DOWN})
    with Scorer(reward, workers=0, journal=tmp_path / "k") as scorer:
        scorer.score(numbered(8))
    again = Asking({})
    with Scorer(again, workers=0, journal=tmp_path / "k") as scorer:
        assert rewards_of(scorer.score(numbered(8))) == [1.0] * 8
    assert again.asked == ["5"]


@pytest.mark.parametrize("replies", [{"0": DOWN, "1": DOWN}, {"0": DOWN, "1": MUTE}])
def test_a_short_call_of_which_nothing_is_scored_for_want_of_an_answer_is_an_error(replies):
    with Scorer(Asking(replies), workers=0) as scorer:
        with pytest.raises(EndpointError, match=r"no usable answer from its endpoint for \d rows in a row\. Chat"):
            scorer.score(numbered(2))
        assert scorer.score(numbered(3))[2].reward == 1.0
        assert [s.reason for s in scorer.score(numbered(1), nonce="again")] == ["endpoint"]


def test_rows_that_are_not_sent_do_not_hide_a_dead_endpoint():
    reward = Asking({str(i): MUTE for i in range(0, 100, 3)}, default=DOWN)
    with pytest.raises(EndpointError, match="for 8 rows in a row"):
        score(reward, numbered(100), workers=0, batch_size=1)
    assert len(reward.asked) == 12


def test_a_whole_call_with_a_row_that_was_not_answered_is_made_again(tmp_path):
    reward = Asking({"1": DOWN})
    with Scorer(reward, workers=0, journal=tmp_path / "j") as scorer:
        assert [s.reason for s in scorer.score(numbered(3), whole=True)] == [None, "endpoint", None]
        reward.replies = {}
        assert rewards_of(scorer.score(numbered(3), whole=True)) == [1.0] * 3


def test_a_row_that_is_under_way_when_a_job_ends_is_canceled():
    canceled = threading.Event()

    class Judge:
        concurrency = 9

        async def __call__(self, completions):
            raise AssertionError

        async def reasoned(self, completions):
            if completions != ["8"]:
                return [Unscored("down", "endpoint")]
            try:
                await asyncio.sleep(600)
            finally:
                canceled.set()

    with pytest.raises(EndpointError, match="down"):
        score(Judge(), numbered(9), workers=0)
    assert canceled.wait(30)


def test_a_model_is_known_by_its_own_batches_or_its_weights_through_whatever_wraps_it():
    class Planner:
        def plan(self, completions, **columns):
            return [list(range(len(completions)))]

        def __call__(self, completions, **columns):
            return [0.0] * len(completions)

    class Weights:
        content_digest = "of the weights".format

        def __call__(self, completions, **columns):
            return [0.0] * len(completions)

    models = Planner(), Weights()
    assert all(is_model(found) for model in models for found in (model, partial(model), as_target(model)))
    assert [row_limit(model, None) for model in models] == [None, None]
    assert not is_model(as_target(lambda completions, **columns: [0.0] * len(completions)))
