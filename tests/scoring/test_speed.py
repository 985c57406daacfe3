import time

import pytest

from rewardsmith.data import Row
from rewardsmith.scoring import Scorer, rewards_of
from rewardsmith.scoring.speed import measure

ROWS = [Row(f"p{k}", str(k)) for k in range(40)]


def waits(prompt, completion):
    time.sleep(0.05)
    return float(completion)


def waits_in_batches(completions):
    time.sleep(0.03 * len(completions))
    return [float(completion) for completion in completions]


def computes(prompt, completion):
    end = time.process_time() + 0.03
    while time.process_time() < end:
        pass
    return float(completion)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("reward", [waits, waits_in_batches])
def test_a_reward_that_waits_works_on_several_rows_at_once(reward, workers):
    with Scorer(reward, workers=workers, concurrency=8, batch_size=4) as scorer:
        speed = measure(scorer, ROWS)
        assert speed.at_once == 8
        assert scorer.calls == 20  # ten rows one by one, and again at once
        begun = time.monotonic()
        assert rewards_of(scorer.score(ROWS)) == [float(k) for k in range(40)]
        # One at a time: 1.5 s or 1.2 s at least. Eight rows, or eight batches of four, at once: 0.2 s.
        assert time.monotonic() - begun < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_reward_that_computes_keeps_one_call_at_a_time(workers):
    with Scorer(computes, workers=workers, concurrency=8) as scorer:
        assert measure(scorer, ROWS).at_once == 1
        assert scorer.calls == 10


@pytest.mark.slow
def test_a_first_import_is_not_part_of_the_speed():
    loaded = []

    def loads(prompt, completion):
        end = time.process_time() + 0.5 * (not loaded)
        while time.process_time() < end:
            pass
        loaded.append(1)
        return waits(prompt, completion)

    with Scorer(loads, workers=1, concurrency=8) as scorer:
        speed = measure(scorer, ROWS)
    assert speed.at_once == 8
    assert 0.05 <= speed.seconds < 0.5


def unsafe(prompt, completion):
    """Keep the text in a variable that all threads share while it waits."""
    unsafe.text = completion
    time.sleep(0.03)
    return float(unsafe.text)


def random(prompt, completion):
    time.sleep(0.03)
    return __import__("random").random()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("reward", "at_once"), [(unsafe, 1), (random, 8)])
def test_threads_that_change_results_are_given_up_unless_the_reward_is_random(reward, at_once, workers):
    with Scorer(reward, workers=workers, concurrency=8) as scorer:
        assert measure(scorer, ROWS).at_once == at_once
        assert scorer.calls == 30
        if reward is unsafe:
            assert rewards_of(scorer.score(ROWS)) == [float(k) for k in range(40)]


@pytest.mark.slow
def test_a_resumed_job_decides_as_before_and_counts_the_same(tmp_path):
    calls = []
    for _ in range(2):
        with Scorer(waits, concurrency=8, journal=tmp_path / "j") as scorer:
            assert measure(scorer, ROWS).at_once == 8
            calls.append((scorer.calls, scorer.seconds))
    assert calls[0] == calls[1]
    assert not scorer.engine.busy  # nothing was sent again


@pytest.mark.slow
def test_a_call_in_threads_keeps_order_within_a_whole_call_and_its_time_limit():
    seen = []

    def slow(prompt, completion):
        seen.append(completion)
        time.sleep(30 if completion == "late" else 0.03)
        return float(len(seen))

    with Scorer(slow, workers=0, concurrency=8, timeout=0.3) as scorer:
        scorer.in_threads(True)
        assert rewards_of(scorer.score([Row("p", text) for text in "abc"], whole=True)) == [1.0, 2.0, 3.0]
        assert seen == ["a", "b", "c"]
        late, fine = scorer.score([Row("p", "late"), Row("p", "fine")])
    assert (late.reason, fine.reason) == ("timeout", None)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("threads", [False, True])
def test_no_more_rows_are_sent_than_allowed_and_the_same_with_any_number_of_workers(workers, threads, tmp_path):
    log = tmp_path / "log"

    def logs(completions):
        with log.open("a") as file:
            file.write("x" * len(completions))
        if "7" in completions and len(completions) > 1:
            raise ValueError("a bad batch")
        return [float(completion) for completion in completions]

    with Scorer(logs, workers=workers, batch_size=4, most_calls=30) as scorer:
        scorer.in_threads(threads)
        found = scorer.score(ROWS)
        assert {result.reason for result in found} == {None, "unasked"}
        assert "largest number of calls" in found[-1].detail
        scorer.score([Row("p", "1")], nonce="again", whole=True)
        scorer.score(ROWS[::-1])
    assert len(log.read_text()) == 30  # the rows of the bad batch were sent again within the limit


@pytest.mark.slow
@pytest.mark.parametrize("in_batches", [False, True])
def test_a_reward_that_hangs_on_half_its_rows_is_known_within_four_limits(in_batches, monkeypatch):
    """At the default limit of 30 s these are two minutes, as a first call has then 30 s more."""
    limit = 3.0
    monkeypatch.setattr("rewardsmith.scoring.pool.MOST_EXTRA", limit)

    def hangs(text):
        time.sleep(600 if text[-1] in "02468" else 0)
        return 1.0

    def by_row(prompt, completion):
        return hangs(completion)

    def by_batch(completions):
        return [hangs(completion) for completion in completions]

    begun = time.monotonic()
    with Scorer(by_batch if in_batches else by_row, timeout=limit, most_timeouts=5) as scorer:
        measure(scorer, ROWS)
        scorer.score([*ROWS, *(Row("q", str(k)) for k in range(300))])
        assert scorer.unscored["timeout"] >= 5
    assert time.monotonic() - begun < 4 * limit
