import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rewardsmith.data import Row
from rewardsmith.errors import RewardsmithError, TargetError
from rewardsmith.scoring import Scorer, rewards_of, score
from rewardsmith.scoring.work import Scored


def numbered(n: int, **columns: object) -> list[Row]:
    return [Row(f"prompt {i}", str(i), {"answer": str(i % 3), **columns}) for i in range(n)]


def with_completions(*completions: str) -> list[Row]:
    return [Row("prompt", completion, {"answer": "a"}) for completion in completions]


def noting(path: Path, delay: float = 0.0):
    """A TRL reward that appends each completion it is asked about to `path`, and pays its length."""

    def reward(completions, **columns):
        import os
        import time

        for completion in completions:
            time.sleep(delay)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, completion.encode() + b"\n")
            os.close(descriptor)
        return [float(len(completion)) for completion in completions]

    return reward


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_rewards_come_back_in_the_order_of_the_rows(workers):
    rows = numbered(53)
    scored = score(lambda completions, **c: [float(x) for x in completions], rows, workers=workers, batch_size=4)
    assert rewards_of(scored) == [float(i) for i in range(53)]
    assert all(result.reason is None and not result.split for result in scored)


@pytest.mark.parametrize(
    ("returned", "reward", "reason"),
    [
        (None, None, "none"),
        (float("nan"), None, "nan"),
        (float("inf"), None, "inf"),
        (-float("inf"), None, "inf"),
        (10**400, None, "inf"),
        ("1.0", None, "type"),
        ([1.0], None, "type"),
        (1j, None, "type"),
        (np.array([1.0, 2.0]), None, "type"),
        (True, 1.0, None),
        (3, 3.0, None),
        (np.float32(0.5), 0.5, None),
        (np.int64(2), 2.0, None),
        (np.array([0.25]), 0.25, None),
    ],
)
def test_what_is_no_finite_number_is_unscored_with_its_reason(returned, reward, reason):
    [scored] = score(lambda completions: [returned], with_completions("a"), workers=0)
    assert (scored.reward, scored.reason) == (reward, reason)


@pytest.mark.slow
def test_reasons_come_back_from_a_worker():
    values = [None, float("nan"), float("inf"), "1.0", np.float32(0.5)]
    scored = score(lambda completions: list(values), numbered(5), workers=1)
    assert [result.reason for result in scored] == ["none", "nan", "inf", "type", None]


def test_torch_scalars_and_whole_tensors_are_numbers():
    import torch

    rows = numbered(4)
    assert rewards_of(score(lambda completions: [torch.tensor(0.5)] * len(completions), rows, workers=0)) == [0.5] * 4
    assert rewards_of(score(lambda completions: torch.arange(4.0), rows, workers=0)) == [0.0, 1.0, 2.0, 3.0]
    assert rewards_of(score(lambda completions: np.arange(4), rows, workers=0)) == [0.0, 1.0, 2.0, 3.0]


def test_a_wrong_type_shows_its_value_on_one_short_line():
    [scored] = score(lambda completions: ["no\nnumber" * 100], with_completions("a"), workers=0)
    assert scored.detail.startswith("str: 'no\\nnumber")
    assert len(scored.detail) == 300
    [scored] = score(lambda completions: 1 / 0, with_completions("a"), workers=0)
    assert scored.detail == "ZeroDivisionError: division by zero"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_one_raising_row_is_isolated_and_the_others_keep_their_rewards(workers):
    def fragile(completions):
        return [float(int(completion)) for completion in completions]

    rows = numbered(16)
    rows[5] = Row("prompt", "five", {"answer": "2"})
    with Scorer(fragile, workers=workers) as scorer:
        scored = scorer.score(rows)
    assert rewards_of(scored) == [None if i == 5 else float(i) for i in range(16)]
    assert scored[5].reason == "exception"
    assert scored[5].detail == "ValueError: invalid literal for int() with base 10: 'five'"
    assert all(result.split for result in scored)
    assert scorer.unscored == Counter(exception=1)
    assert scorer.calls == 16  # rows, not attempts


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_reward_that_drops_a_row_leaves_its_batch_unscored_and_is_asked_once(workers, tmp_path):
    note = tmp_path / "asked"

    def dropping(completions):
        with open(note, "a") as stream:
            stream.write("".join(completions) + "\n")
        return [1.0 for completion in completions if completion != "x"]

    scored = score(dropping, with_completions("a", "b", "x", "c", "d"), workers=workers, batch_size=4)
    assert [(s.reason, s.detail) for s in scored] == [("length", "3 rewards for 4 rows")] * 4 + [(None, "")]
    assert note.read_text().split() == ["abxc", "d"]


def test_a_result_that_is_no_list_is_unscored_for_every_row():
    scored = score(lambda completions: 1.0, numbered(3), workers=0)
    assert [(result.reason, result.detail) for result in scored] == [("type", "float: 1.0")] * 3


@pytest.mark.slow
def test_a_hung_row_is_killed_alone():
    def hanging(completions):
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while "hang" in completions:
            pass
        return [1.0] * len(completions)

    with Scorer(hanging, workers=1, timeout=0.4) as scorer:
        scored = scorer.score(with_completions("a", "hang", "b"))
        again = scorer.score(with_completions("c"))
    assert rewards_of(scored + again) == [1.0, None, 1.0, 1.0]
    assert (scored[1].reason, scored[1].detail) == ("timeout", "no result within 0.4 s")
    assert scored[1].seconds >= 0.4
    assert scorer.seconds >= 0.8  # the batch, then the row


@pytest.mark.slow
def test_a_catastrophic_regular_expression_holds_the_interpreter_and_still_dies():
    def matching(prompt, completion):
        import re

        return float(re.match(r"(a+)+$", completion) is not None)

    scored = score(matching, with_completions("aaa", "a" * 60 + "!", "ab"), workers=1, timeout=0.5)
    assert rewards_of(scored) == [1.0, None, 0.0]
    assert scored[1].reason == "timeout"
    assert not any(result.split for result in scored)  # a row contract reports row by row


@pytest.mark.slow
def test_a_slow_batch_of_quick_rows_is_no_timeout():
    def slow(completions):
        import time

        time.sleep(0.15 * len(completions))
        return [1.0] * len(completions)

    assert rewards_of(score(slow, numbered(4), workers=1, timeout=0.4)) == [1.0] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "detail"),
    [
        ("os._exit(3)", "its process ended: exit status 3"),
        ("os.kill(os.getpid(), 11)", "its process ended: killed by SIGSEGV"),
        (
            "raise_(KeyboardInterrupt())",
            "its process ended: killed by SIGINT; its standard error ends: .*KeyboardInterrupt",
        ),
    ],
)
def test_a_row_that_ends_the_process_is_a_crash_of_that_row_alone(how, detail):
    def crashing(completions, **columns):
        import os

        def raise_(error):
            raise error

        if "x" in completions:
            eval(how, {"os": os, "raise_": raise_})
        return [1.0] * len(completions)

    scored = score(crashing, with_completions("a", "x", "b"), workers=1)
    assert rewards_of(scored) == [1.0, None, 1.0]
    assert scored[1].reason == "crash"
    assert re.fullmatch(detail, scored[1].detail)


@pytest.mark.slow
@pytest.mark.parametrize("error", [SystemExit(2), MemoryError("too much"), RecursionError("too deep")])
def test_exits_and_exhaustion_that_python_can_catch_are_exceptions(error):
    def exiting(completions):
        raise error

    [scored] = score(exiting, with_completions("a"), workers=1)
    assert scored.reason == "exception"
    assert scored.detail.startswith(type(error).__name__)


@pytest.mark.slow
def test_a_crash_in_a_row_contract_keeps_the_finished_rows(tmp_path):
    note = tmp_path / "asked"

    def crashing(prompt, completion):
        import os

        with open(note, "a") as stream:
            stream.write(completion)
        if completion == "x":
            os._exit(1)
        return 1.0

    scored = score(crashing, with_completions("a", "b", "x", "c"), workers=1)
    assert rewards_of(scored) == [1.0, 1.0, None, 1.0]
    assert note.read_text() == "abxc"  # each row asked exactly once


@pytest.mark.slow
def test_prints_do_not_reach_the_channel_or_standard_output(capfd):
    def chatty(completions):
        import os
        import sys

        print("x" * 10_000)
        sys.stdout.flush()
        os.write(1, b"raw bytes")
        os.system("echo from a child")
        return [1.0] * len(completions)

    assert rewards_of(score(chatty, numbered(8), workers=1, batch_size=2)) == [1.0] * 8
    assert capfd.readouterr().out == ""
    assert rewards_of(score(lambda completions: [print("hello") or 1.0], numbered(1), workers=0)) == [1.0]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_async_row_over_the_limit_times_out_alone(workers):
    async def judged(completions):
        import asyncio

        await asyncio.sleep(60 if "slow" in completions else 0)
        if "odd" in completions:
            raise TimeoutError("the judge's own")
        return [1.0] * len(completions)

    rows = with_completions("a", "slow", "b", "odd")
    scored = score(judged, rows, workers=workers, timeout=0.3)
    assert rewards_of(scored) == [1.0, None, 1.0, None]
    assert [result.reason for result in scored] == [None, "timeout", None, "exception"]


@pytest.mark.slow
def test_an_async_reward_that_blocks_its_loop_is_killed_and_the_rest_scored():
    async def judged(prompt, completion):
        while completion == "hang":
            pass
        return 1.0

    scored = score(judged, with_completions("a", "hang", "b"), workers=1, timeout=0.3)
    assert rewards_of(scored) == [1.0, None, 1.0]
    assert scored[1].reason == "timeout"


@pytest.mark.slow
def test_an_async_crash_is_pinned_on_its_row_among_many_batches_in_flight():
    async def judged(completions):
        import asyncio
        import os

        await asyncio.sleep(0.01)
        if "x" in completions:
            os._exit(1)
        return [1.0] * len(completions)

    rows = numbered(12)
    rows[5] = Row("prompt", "x", {"answer": "a"})
    scored = score(judged, rows, workers=1, batch_size=2)
    assert [i for i, result in enumerate(scored) if result.reason] == [5]
    assert scored[5].reason == "crash"


def test_a_sync_function_that_returns_a_coroutine_is_awaited():
    async def inner(completions):
        return [0.5] * len(completions)

    assert rewards_of(score(lambda completions, **columns: inner(completions), numbered(2), workers=0)) == [0.5, 0.5]
    assert rewards_of(score(lambda prompt, completion: inner([completion]), numbered(1), workers=0)) == [0.5]


def test_an_async_reward_scores_in_process_inside_a_running_loop():
    async def judged(prompt, completion):
        return 1.0

    async def notebook():
        return score(judged, numbered(2), workers=0)

    assert rewards_of(asyncio.run(notebook())) == [1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "mutating",
    [
        lambda completions, tags: [tags[0].append("seen") or 1.0, *[1.0] * (len(tags) - 1)],
        lambda completions, tags: [tags.pop() and 1.0] * len(completions),
        lambda completion, tags: float(tags.append("seen") is None),
    ],
)
def test_mutated_inputs_are_seen_and_never_reach_the_caller(workers, mutating):
    rows = [Row("p", "a", {"tags": ["t"], "x": float("nan")}), Row("p", "b", {"tags": ["t"], "x": float("nan")})]
    with Scorer(mutating, workers=workers) as scorer:
        assert scorer.score(rows, check_mutation=True)[0].mutated
    assert rows[0].columns["tags"] == ["t"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_reward_that_changes_nothing_is_not_accused(workers):
    rows = [Row("p", "a", {"tags": ["t"], "x": float("nan"), "array": np.zeros(2)})]
    with Scorer(lambda completions, **columns: [1.0], workers=workers) as scorer:
        assert not scorer.score(rows, check_mutation=True)[0].mutated


def test_equal_rows_are_scored_once_within_and_across_calls(tmp_path):
    note = tmp_path / "asked"
    with Scorer(noting(note), workers=0) as scorer:
        first = scorer.score(with_completions("a", "bb", "a"))
        second = scorer.score(with_completions("bb", "ccc"))
        assert scorer.calls == 3
        third = scorer.score(with_completions("a"), nonce="again")
    assert rewards_of(first + second + third) == [1.0, 2.0, 1.0, 2.0, 3.0, 1.0]
    assert note.read_text().split() == ["a", "bb", "ccc", "a"]


def test_any_difference_in_prompt_form_or_columns_is_another_row():
    rows = [
        Row("p", "a"),
        Row("q", "a"),
        Row("p", "a", {"answer": "1"}),
        Row("p", "a", {"answer": 1}),
        Row("p", [{"role": "assistant", "content": "a"}]),
        Row("p", "a", {"answer": {1, 2}}),
        Row("p", "\ud800", {}),
    ]
    with Scorer(lambda completions, **columns: [1.0] * len(completions), workers=0, batch_size=1) as scorer:
        scorer.score(rows + rows)
        assert scorer.calls == len(rows)


@pytest.mark.slow
def test_a_whole_call_is_one_call_in_order_with_its_duplicates(tmp_path):
    calls = tmp_path / "calls"

    def recording(completions):
        with open(calls, "a") as stream:
            stream.write("".join(completions) + "\n")
        return [float(i) for i in range(len(completions))]

    rows = with_completions(*"abcabc")
    with Scorer(recording, workers=1, batch_size=2) as scorer:
        assert rewards_of(scorer.score(rows, whole=True)) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        scorer.score(rows, whole=True)
        scorer.score(rows[::-1], whole=True)
        scorer.score(rows, whole=True, nonce="again")
        assert scorer.calls == 18
    assert calls.read_text().split() == ["abcabc", "cbacba", "abcabc"]


def test_a_whole_call_that_fails_is_not_taken_apart():
    def fragile(completions):
        return [float(int(completion)) for completion in completions]

    with Scorer(fragile, workers=0) as scorer:
        scored = scorer.score(with_completions("1", "x"), whole=True)
    assert [result.reason for result in scored] == ["exception", "exception"]
    assert not any(result.split for result in scored)


@pytest.mark.slow
def test_two_workers_give_what_none_gives():
    def fragile(completions, answer, **columns):
        return [None if c == "4" else float(int(c) == int(a)) for c, a in zip(completions, answer, strict=True)]

    rows = numbered(40)
    rows[11] = Row("prompt", "eleven", {"answer": "1"})
    outcome = {}
    for workers in (0, 2):
        with Scorer(fragile, workers=workers, batch_size=5) as scorer:
            scored = scorer.score(rows)
            outcome[workers] = [(r.reward, r.reason, r.detail, r.split) for r in scored], scorer.calls, scorer.unscored
    assert outcome[0] == outcome[2]


@pytest.mark.slow
def test_the_limit_of_a_whole_call_grows_with_its_batches():
    def slow(completions):
        import time

        time.sleep(0.1 * len(completions))
        return [1.0] * len(completions)

    with Scorer(slow, workers=1, timeout=0.5, batch_size=2) as scorer:
        assert rewards_of(scorer.score(numbered(8), whole=True)) == [1.0] * 8  # 0.8 s of 4 × 0.5 s


def test_no_rows_are_no_work():
    with Scorer(lambda completions: [], workers=1) as scorer:
        assert scorer.score([]) == []
        assert (scorer.calls, scorer.seconds) == (0, 0.0)


def test_trl_extras_reach_the_rewards_that_name_them():
    def curious(completions, completion_ids, trainer_state, log_extra, log_metric, prompts):
        log_extra("note", ["x"])
        log_metric("name", 1.0)
        assert (trainer_state.global_step, trainer_state.max_steps) == (500, 1000)
        return [float(len(ids)) for ids in completion_ids]

    rows = [Row("p", "The answer is 4."), Row("p", "")]
    assert rewards_of(score(curious, rows, workers=0)) == [5.0, 0.0]
    given = [Row("p", "x", {"completion_ids": [7, 8, 9]})]
    assert rewards_of(score(curious, given, workers=0)) == [3.0]


def test_stand_ins_for_token_ids_reach_whoever_can_look_at_them():
    def ignoring(completions, **columns):
        return [1.0] * len(completions)

    def naming(completions, **columns):
        return [float(len(ids)) for ids in columns["completion_ids"]]

    def locally(completions, **columns):
        return [float(len(ids)) for ids in locals()["columns"]["completion_ids"]]

    def later(completions, *, shift=0.0, **columns):
        length = lambda place: shift + len(columns["completion_ids"][place])  # noqa: E731 — a closure over columns
        return [length(place) for place in range(len(completions))]

    def forwarding(*args, **columns):
        return naming(*args, **columns)

    rows = [Row("p", "The answer is 4."), Row("p", "")]
    assert rewards_of(score(ignoring, rows, workers=0)) == [1.0, 1.0]
    for reward in (naming, locally, later, forwarding, partial(later, shift=0.0)):
        assert rewards_of(score(reward, rows, workers=0)) == [5.0, 0.0]


def test_a_column_that_only_some_rows_have_is_none_in_the_others():
    rows = [Row("p", "a", {"hint": "h"}), Row("p", "b")]
    assert rewards_of(score(lambda completions, hint: [float(h is None) for h in hint], rows, workers=0)) == [0.0, 1.0]


def test_positional_only_and_narrow_signatures_get_what_they_take():
    def narrow(completions, /):
        return [1.0] * len(completions)

    assert rewards_of(score(narrow, numbered(2), workers=0)) == [1.0, 1.0]


def test_a_progress_bar_leaves_standard_output_alone(capfd):
    score(lambda completions: [1.0] * len(completions), numbered(20), workers=0, progress=True)
    assert capfd.readouterr().out == ""


JOB = """
import sys, time, os
from pathlib import Path
from rewardsmith.data import Row
from rewardsmith.scoring import Scorer

folder = Path(sys.argv[1])

def reward(completions, **columns):
    for completion in completions:
        time.sleep(0.004)
        note = os.open(folder / "asked", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(note, (completion + "\\n").encode())
        os.close(note)
    return [None if completion == "77" else int(completion) / 7 for completion in completions]

rows = [Row("p", str(i)) for i in range(300)]
with Scorer(reward, workers=2, batch_size=4, journal=folder / "journal.jsonl", journal_header={"seed": 0}) as scorer:
    first = scorer.score(rows[:200])
    second = scorer.score(rows)
    print([r.reward for r in first + second], scorer.calls, dict(scorer.unscored), round(scorer.seconds, 6))
"""


@pytest.mark.slow
def test_a_job_killed_with_sigkill_resumes_and_scores_nothing_twice(tmp_path):
    (tmp_path / "job.py").write_text(JOB)
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path)]
    journal, asked = tmp_path / "journal.jsonl", tmp_path / "asked"
    for lines in (10, 40):  # killed twice: in the first call, then later
        done_before_last = journal.read_bytes().count(b'"results"') if journal.exists() else 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as job:
            while not journal.exists() or journal.read_bytes().count(b'"results"') < lines:
                assert job.poll() is None
                time.sleep(0.005)
            os.kill(job.pid, signal.SIGKILL)
        time.sleep(0.1)  # its workers die with it
        before = journal.read_bytes().count(b'"results"')
        sent = re.findall(r'"sent":(\d+),"first":(true|false)', journal.read_text())
        tally = asked.read_text().count("\n")
        assert tally <= 4 * (before + 2 * 2 * (1 if lines == 10 else 2))  # at most two batches per worker and kill
    resumed = subprocess.run(command, capture_output=True, text=True, check=True)
    last_run = sent[max(place for place, (_, first) in enumerate(sent) if first == "true") :]
    said = re.search(
        r"continues\. (\d+) rows that the last run sent have no result on disk\. They are scored again", resumed.stderr
    )
    under_way = sum(int(n) for n, _ in last_run) - 4 * (before - done_before_last)
    assert (int(said[1]) if said else 0) == under_way <= 4 * 2 * 2
    printed_again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed_again == resumed.stdout
    rewards = [None if i == 77 else i / 7 for i in range(300)]
    assert resumed.stdout.startswith(f"{rewards[:200] + rewards} 300 {{'none': 1}} ")
    tally = Counter(asked.read_text().split())
    assert set(tally) == {str(i) for i in range(300)}
    twice = sum(count - 1 for count in tally.values())
    assert twice <= 4 * 2 * 2 * 2  # rows in flight (batch of 4, two per worker, two workers) at each of two kills
    journaled = [key for line in journal.read_text().splitlines()[1:] for key in json.loads(line).get("keys", ())]
    assert len(journaled) == len(set(journaled)) == 300


def test_a_resumed_job_keeps_its_batches(tmp_path):
    calls = tmp_path / "calls"

    def recording(completions):
        with open(calls, "a") as stream:
            stream.write("".join(completions) + "\n")
        return [1.0] * len(completions)

    rows = with_completions(*"abcdefghij")
    journal = tmp_path / "journal.jsonl"
    with Scorer(recording, workers=0, batch_size=4, journal=journal) as scorer:
        scorer.score(rows)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[4] + lines[6][:20])  # only the second batch reached the disk, the third cut
    calls.unlink()
    with Scorer(recording, workers=0, batch_size=4, journal=journal) as scorer:
        assert rewards_of(scorer.score(rows)) == [1.0] * 10
        assert scorer.calls == 10
    assert calls.read_text().split() == ["abcd", "ij"]


def test_a_resumed_job_knows_whole_calls_failures_and_mutations_again(tmp_path):
    def moody(completions, tags):
        tags[0].append("seen")
        return ["x" if c == "bad" else 0.1 for c in completions]

    rows = [Row("p", c, {"tags": ["t"]}) for c in ("a", "bad")]

    def job() -> list[list[Scored]]:
        with Scorer(moody, workers=0, journal=tmp_path / "j") as scorer:
            results = [scorer.score(rows), scorer.score(rows, check_mutation=True), scorer.score(rows, whole=True)]
            return [*results, scorer.calls, scorer.unscored, scorer.seconds]

    assert job() == job()


def test_a_journal_of_another_job_is_refused(tmp_path):
    def reward(completions):
        return [1.0] * len(completions)

    Scorer(reward, workers=0, journal=tmp_path / "j", journal_header={"seed": 0}).close()
    with pytest.raises(RewardsmithError, match=r"belongs to another job \(seed was 0, now 1\)\. Delete it"):
        Scorer(reward, workers=0, journal=tmp_path / "j", journal_header={"seed": 1})


def test_after_an_edit_of_the_reward_all_rows_are_scored_anew(tmp_path):
    from rewardsmith.scoring import load_target

    file = tmp_path / "mine.py"
    for paid in (1.0, 22.0):  # of another length: Python tells compiled files apart by their seconds and lengths
        file.write_text(f"def reward(completions):\n    return [{paid}] * len(completions)\n")
        for _ in range(2):
            with Scorer(load_target(f"{file}:reward"), workers=0, journal=tmp_path / "j") as scorer:
                assert rewards_of(scorer.score(numbered(3))) == [paid] * 3


@pytest.mark.parametrize("options", [{"workers": -1}, {"batch_size": 0}, {"timeout": 0.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=r"^Scorer: (workers|batch_size|timeout) is .*\. Pass workers"):
        Scorer(lambda completions: [], **options)


def test_a_parameter_that_no_column_fills_is_named():
    with (
        Scorer(lambda completions, rubric: [], workers=1) as scorer,
        pytest.raises(
            TargetError,
            match=r"requires `rubric`, but no column has that name \(columns: prompt, completion, answer\)\. Add the",
        ),
    ):
        scorer.score(numbered(1))


def test_a_reward_that_cannot_be_sent_says_how_else():
    import threading

    lock = threading.Lock()
    with pytest.raises(
        TargetError, match=r"cannot be sent to a worker process \(TypeError.*load_target, or score with"
    ):
        Scorer(lambda completions: [lock], workers=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('only once')", r"loads here but not in a worker process \(.*only once.*\)\. Give it as"),
        ("os._exit(9)", r"could not load .*it died: exit status 9\)\. Check that"),
    ],
)
def test_a_reward_that_a_worker_cannot_load_is_an_error_not_a_crash_of_rows(tmp_path, body, message):
    from rewardsmith.scoring import load_target

    file = tmp_path / "shy.py"
    file.write_text(
        textwrap.dedent(f"""
        import os
        if os.environ.get("PYTEST_CURRENT_TEST") and os.getpid() != {os.getpid()}:
            {body}
        def reward(completions):
            return [1.0] * len(completions)
        """)
    )
    with Scorer(load_target(f"{file}:reward"), workers=1) as scorer, pytest.raises(TargetError, match=message):
        scorer.score(numbered(1))


@pytest.mark.slow
def test_after_too_many_timeouts_no_further_row_is_sent(tmp_path):
    rows = [Row("p", str(i)) for i in range(40)]
    journal = tmp_path / "journal.jsonl"

    def hang(prompt, completion):
        while int(completion) >= 8:
            pass
        return 1.0

    with Scorer(hang, timeout=0.2, batch_size=4, most_timeouts=2, journal=journal) as scorer:
        scored = scorer.score(rows)
        assert {s.reason for s in scorer.score(rows[:1], nonce="again")} == {"unasked"}
    reasons = [s.reason for s in scored]
    assert reasons[:8] == [None] * 8
    assert 2 <= reasons.count("timeout") <= 8  # batches in flight are finished or dropped whole
    assert reasons.count("timeout") + reasons.count("unasked") == 32
    assert "unasked" not in scorer.unscored
    with Scorer(hang, timeout=0.2, batch_size=4, most_timeouts=2, journal=journal) as again:
        assert [s.reason for s in again.score(rows)] == reasons


def test_a_notebook_shows_scores_as_a_table_beside_their_rows_and_they_stay_a_list():
    def told(completions, answer, **columns):
        return [None if text == "?" else float(text == key) for text, key in zip(completions, answer, strict=True)]

    found = score(told, with_completions("a", "<b>\u202ex</b>", "?"), workers=0)
    assert isinstance(found, list)
    assert found == list(found)
    assert json.loads(json.dumps(rewards_of(found))) == [1.0, 0.0, None]
    table = found._repr_html_()
    assert table.startswith("<p>2 of 3 rows scored, 1 none, mean 0.5</p><table>")
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]
    assert rows == [
        ["", "prompt", "completion", "reward", "why unscored"],
        ["0", "prompt", "a", "1", ""],
        ["1", "prompt", "&lt;b&gt;U+202Ex&lt;/b&gt;", "0", ""],
        ["2", "prompt", "?", "", "none"],
    ]


def test_a_table_of_many_scores_is_cut_and_says_so():
    found = score(lambda completions, **columns: [1.0] * len(completions), numbered(50), workers=0)
    assert found._repr_html_().count("<tr>") == 22  # heading, twenty rows, and what is left out
    assert "30 more rows" in found._repr_html_()
    assert score(lambda completions, **columns: [], [], workers=0)._repr_html_().count("<tr>") == 1
