"""Rewards that break their worker, write into its channel, or return what cannot be read: their rows alone pay."""

import math
import pickle
import time

import pytest

from rewardsmith.data import Row
from rewardsmith.errors import RowsError
from rewardsmith.scoring import Scorer, rewards_of, score
from rewardsmith.scoring.channel import (
    LENGTH,
    Broken,
    CallDone,
    Ready,
    RowDone,
    decode,
    encode,
    frame,
    unframe,
    with_tail,
)
from rewardsmith.scoring.work import Reply, Scored


def rows_of(*completions: str) -> list[Row]:
    return [Row("p", completion) for completion in completions]


@pytest.mark.parametrize(
    "message",
    [
        Ready(),
        Broken("ImportError: \ud800"),
        RowDone(3, 0, Scored(-0.1, None, "", 0.25, True)),
        CallDone(4, Reply([Scored(None, "nan"), Scored(1.0, None)], "", "", 1.5)),
        CallDone(4, Reply([Scored(1.0, None, "", 0.5), Scored(0.1, None, "", 0.5, True)], "", "", 1.0)),
        CallDone(5, Reply(None, "exception", "ValueError: x", 0.0)),
    ],
)
def test_a_message_comes_out_as_it_went_in(message):
    [body] = unframe(bytearray(encode(message)))
    assert decode(body) == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        pickle.dumps("x"),
        b"[" * 100_000,
        b"1" * 5000,
        b'["Ready", 1]',
        b'["Shutdown"]',
        b'["RowDone", 0, 0, [NaN, null, "", 0.0, false]]',
        b'["RowDone", 0, 0, [1e999, null, "", 0.0, false]]',
        b'["RowDone", 0, 0, [1.0, "none", "", 0.0, false]]',
        b'["RowDone", 0, 0, [null, null, "", 0.0, false]]',
        b'["RowDone", 0, 0, [null, "made up", "", 0.0, false]]',
        b'["RowDone", 0, 0, [null, ["none"], "", 0.0, false]]',
        b'["RowDone", 0, 0, [1.0, null, "", -1.0, false]]',
        b'["RowDone", 0, 0, [1.0, null, 7, 0.0, false]]',
        b'["RowDone", -1, 0, [1.0, null, "", 0.0, false]]',
        b'["RowDone", true, 0, [1.0, null, "", 0.0, false]]',
        b'["CallDone", 0, [[[1.0]], [], 0.0, "", "", 0.0]]',
        b'["CallDone", 0, []]',
        b'["CallDone", 0, [[1.0], [], -1.0, "", "", 0.0]]',
        b'["CallDone", 0, [[NaN], [], 0.0, "", "", 0.0]]',
        b'["CallDone", 0, [[true], [], 0.0, "", "", 0.0]]',
        b'["CallDone", 0, [[null], [], 0.0, "", "", 0.0]]',
        b'["CallDone", 0, [[null], [[0, "made up", "", false]], 0.0, "", "", 0.0]]',
        b'["CallDone", 0, [[1.0], [[0, "none", "", false]], 0.0, "", "", 0.0]]',
        b'["CallDone", 0, [[1.0], [[1, null, "", true]], 0.0, "", "", 0.0]]',
        b'["CallDone", 0, [[1.0], [[0, null, ""]], 0.0, "", "", 0.0]]',
        b'["CallDone", 0, [[1.0], 7, 0.0, "", "", 0.0]]',
    ],
)
def test_anything_else_is_no_message(body):
    with pytest.raises(ValueError, match=r"^decode: (\w+ in a|a) worker's message.*\. It is damaged\.$"):
        decode(body)


def test_a_message_that_claims_to_be_huge_is_refused_before_it_is_there():
    with pytest.raises(ValueError, match=r"^unframe: a message has \d+ bytes\. The limit is 10\.$"):
        list(unframe(bytearray(LENGTH.pack(2**40)), longest=10))


class Exploit:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w').write('ran')",)


WRITTEN = {
    "noise": b"\xff" * 64,
    "a row that is not there": frame(b'["RowDone", 1, 17, [1.0, null, "", 0.0, false]]'),
    "a reply of another length": frame(b'["CallDone", 1, [[1.0], [], 0.0, "", "", 0.0]]'),
}


@pytest.mark.slow
def test_what_a_reward_writes_into_the_channel_is_a_crash_of_its_row_and_runs_nowhere(tmp_path):
    marker = tmp_path / "marker"
    data = {**WRITTEN, "a pickle": frame(pickle.dumps(Exploit(marker)))}

    def writing(prompt, completion):
        import contextlib
        import os
        import time

        if completion in data:
            for name in os.listdir("/proc/self/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                        os.write(int(name), data[completion])
            time.sleep(30)
        return 1.0

    scored = score(writing, rows_of("a", *data, "b"), workers=1)
    assert rewards_of(scored) == [1.0, *[None] * len(data), 1.0]
    detail = "its process ended: it wrote into its parent's channel"
    assert {(s.reason, s.detail) for s in scored[1:-1]} == {("crash", detail)}
    assert not marker.exists()


def failing(prompt, completion):
    import os
    import sys
    import time

    print(f"about to read {completion}", file=sys.stderr)
    os.write(2, b"\n  in its own words\n\n")
    if completion == "raise":
        raise ValueError("no number")
    if completion == "exit":
        os._exit(3)
    if completion == "hang":
        time.sleep(60)
    return 1.0


@pytest.mark.slow
def test_the_last_lines_of_standard_error_reach_the_detail_of_a_row_that_fails():
    scored = score(failing, rows_of("fine", "raise", "exit", "hang"), timeout=0.5)
    assert [s.detail for s in scored] == [
        "",
        "ValueError: no number; its standard error ends: about to read raise | in its own words",
        "its process ended: exit status 3; its standard error ends: about to read exit | in its own words",
        "no result within 0.5 s; its standard error ends: about to read hang | in its own words",
    ]


@pytest.mark.slow
def test_an_async_row_and_a_program_that_it_starts_are_heard_too():
    async def judged(completions):
        import subprocess

        subprocess.run(["sh", "-c", "echo from below >&2"], check=True)
        raise ValueError("no verdict")

    [scored] = score(judged, rows_of("a"), workers=1)
    assert scored.detail == "ValueError: no verdict; its standard error ends: from below"


@pytest.mark.slow
def test_a_reward_that_never_stops_writing_is_not_held_up_and_its_end_is_kept():
    def chatty(prompt, completion):
        import sys

        for number in range(50_000):
            print(f"line {number} of many, none of which anybody reads", file=sys.stderr)
        if completion == "bad":
            raise ValueError("bad")
        return 1.0

    fine, bad = score(chatty, rows_of("good", "bad"), workers=1)
    assert fine.reward == 1.0
    assert bad.detail.startswith("ValueError: bad; its standard error ends: …")
    assert bad.detail.endswith("line 49999 of many, none of which anybody reads")
    assert len(bad.detail) < 700


def test_a_tail_is_one_line_that_ends_as_the_output_did():
    assert with_tail("why", b"") == "why"
    assert with_tail("why", b"\xff a\n\n b \t c\n") == "why; its standard error ends: � a | b c"
    assert with_tail("why", b"x" * 5000 + b"end").endswith("…" + "x" * 596 + "end")


class Odd:
    """A result that raises when it is read, as a tensor on a lost device does."""

    def __init__(self, how):
        self.how = how

    def _raise(self, *_):
        raise SystemExit(3) if self.how == "exit" else RuntimeError("device lost")

    def item(self):
        return self._raise() if self.how == "item" else "text"

    @property
    def shape(self):
        return self._raise() if self.how == "shape" else ()

    @property
    def __class__(self):
        return float if self.how in ("float", "exit") else Odd

    def __repr__(self):
        return self._raise() if self.how == "repr" else "odd"

    __float__ = _raise


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("per_row", [True, False])
def test_a_result_that_raises_when_it_is_read_is_unscored_with_its_error(workers, per_row):
    async def later(completions):
        return [Odd(completion) if completion != "fine" else 1.0 for completion in completions]

    def by_row(prompt, completion):
        return Odd(completion) if completion != "fine" else 1.0

    def by_batch(completions):
        return [Odd(completion) if completion != "fine" else 1.0 for completion in completions]

    rows = rows_of("item", "shape", "float", "exit", "fine")
    expected = [("exception", "RuntimeError: device lost")] * 3 + [("exception", "SystemExit: 3"), (None, "")]
    for reward in (by_row,) if per_row else (by_batch, later):
        assert [(s.reason, s.detail) for s in score(reward, rows, workers=workers)] == expected
    assert score(by_row, rows_of("repr"), workers=workers)[0].reason == "type"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_async_row_that_exits_leaves_its_neighbors_alone(workers, error):
    async def judged(prompt, completion):
        import asyncio

        async def inner():
            await asyncio.sleep(0.01)
            raise error("bye")

        if completion == "itself":
            await inner()
        if completion == "in a task":
            await asyncio.gather(asyncio.sleep(0.05), inner())
        if completion == "cancelled":
            raise asyncio.CancelledError
        await asyncio.sleep(0.1)
        return 1.0

    rows = rows_of("a", "itself", "b", "in a task", "c", "cancelled")
    scored = score(judged, rows, workers=workers, timeout=20.0)
    assert rewards_of(scored) == [1.0, None, 1.0, None, 1.0, None]
    assert [s.detail for s in scored if s.reason] == [f"{error.__name__}: bye"] * 2 + ["CancelledError"]


def loading(hanging, seconds=0.6):
    """A reward that loads for a while when a process first calls it, and hangs on some rows."""
    loaded: list[bool] = []

    def reward(prompt, completion):
        import time

        if completion in hanging:
            time.sleep(60)
        if not loaded:
            time.sleep(seconds)
            loaded.append(True)
        return float(completion)

    return reward


@pytest.mark.slow
@pytest.mark.parametrize("hanging", [("3", "17"), ("0",)])
def test_a_slow_first_call_costs_no_row_and_a_row_that_hangs_still_ends(hanging):
    scored = score(loading(hanging), rows_of(*map(str, range(30))), timeout=0.4)
    assert [str(i) for i, s in enumerate(scored) if s.reason] == list(hanging)
    assert {s.reason for s in scored} == {None, "timeout"}
    assert {s.detail for s in scored if s.reason} == {"no result within 0.4 s"}


@pytest.mark.slow
def test_a_reward_that_hangs_on_every_row_is_given_up_row_by_row(tmp_path):
    note = tmp_path / "asked"

    def hanging(completions):
        import time

        with open(note, "a") as file:
            file.write(f"{len(completions)}\n")
        time.sleep(60)

    with Scorer(hanging, timeout=0.1, batch_size=16, most_timeouts=3, journal=tmp_path / "j") as scorer:
        scored = scorer.score(rows_of(*map(str, range(40))))
        assert scorer.unscored == {"timeout": 3}
    assert [s.reason for s in scored] == ["timeout"] * 3 + ["unasked"] * 37
    assert note.read_text().split() == ["16", *"111"]
    with Scorer(hanging, timeout=0.1, batch_size=16, most_timeouts=3, journal=tmp_path / "j") as again:
        assert [s.reason for s in again.score(rows_of(*map(str, range(40))))] == [s.reason for s in scored]
    assert len(note.read_text().split()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_row_that_takes_more_memory_than_it_may_is_unscored_and_says_the_limit(asynchronous):
    def hungry(prompt, completion):
        return float(len(bytearray(int(completion))) > 0)

    async def hungry_later(prompt, completion):
        return hungry(prompt, completion)

    rows = rows_of("1000", str(2 << 30), "2000")
    reward = hungry_later if asynchronous else hungry
    with Scorer(reward, workers=1, memory=1 << 30) as scorer:
        scored = scorer.score(rows)
    assert rewards_of(scored) == [1.0, None, 1.0]
    assert (scored[1].reason, scored[1].detail) == ("exception", "MemoryError (the limit is 1 GiB)")


def test_a_memory_limit_needs_a_worker():
    with pytest.raises(ValueError, match=r"^Scorer: memory limits worker processes, and workers is 0\. Pass workers ≥"):
        Scorer(failing, workers=0, memory=1 << 30)


@pytest.mark.slow
def test_a_limit_of_infinity_is_none():
    def slow(prompt, completion):
        time.sleep(0.01)
        return 1.0

    assert rewards_of(score(slow, rows_of("a"), workers=1, timeout=math.inf)) == [1.0]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("column", [(i for i in range(3)), [lambda: 0]])
def test_a_column_that_cannot_be_sent_is_named(workers, column):
    rows = [Row("p", "a", {"tags": ["x"]}), Row("p", "b", {"tags": column})]
    message = (
        r"^Scorer: `tags` of row 2 holds a (generator|list), which cannot be sent to a reward \(\w+: .*\)\. "
        r"Make it a plain value, such as a list, or leave the column out\.$"
    )
    with Scorer(lambda completions, tags: [1.0], workers=workers) as scorer, pytest.raises(RowsError, match=message):
        scorer.score(rows)


def test_the_detail_of_a_message_is_cut():
    [body] = unframe(bytearray(encode(Broken("x" * 10_000))))
    assert decode(body) == Broken("x" * 2000)


@pytest.mark.slow
def test_what_a_reward_does_to_its_process_stays_there():
    """In a worker each row is one call; a copy that a fork let return must not answer for its row or the next."""

    def meddling(prompt, completion):
        import os
        import sys
        import threading
        import time

        if completion == "moves":
            os.chdir("/")
            os.umask(0o777)
            os.environ.clear()
        if completion == "closes":
            for stream in (sys.stdin, sys.stdout, sys.stderr):
                stream.close()
            os.close(0)
            os.close(1)
        if completion == "stays":
            threading.Thread(target=time.sleep, args=(1000,)).start()
        if completion == "forks" and (child := os.fork()):
            os.waitpid(child, 0)
            return 1.0
        return 0.5 if completion == "forks" else 1.0

    completions = ["a", "moves", "closes", "stays", "forks", "z"]
    scored = score(meddling, rows_of(*completions), workers=1, batch_size=1)
    assert [(s.reward, s.reason) for s in scored] == [(1.0, None)] * len(completions)


@pytest.mark.slow
def test_a_worker_that_its_reward_cuts_off_or_stops_costs_that_row_alone():
    def breaking(prompt, completion):
        import os
        import signal

        if completion == "closes everything":
            os.closerange(3, 2**16)  # the channel may have a high number
        if completion == "stops":
            os.kill(os.getpid(), signal.SIGSTOP)
        return 1.0

    scored = score(breaking, rows_of("a", "closes everything", "b", "stops", "c"), workers=1, timeout=1.0)
    assert [s.reason for s in scored] == [None, "crash", None, "timeout", None]
