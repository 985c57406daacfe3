"""TraceConsistency and the traces of a teacher: what is sent, and what becomes of a reply or a failure."""

import asyncio
import logging

import pytest
from tests.rewards.judges.endpoint import Scripted, fails, says

from rewardsmith.data import PreferenceRow
from rewardsmith.rewards import TraceConsistency, distill_traces
from rewardsmith.rewards.judges.wire import JudgeError
from rewardsmith.scoring.calling import Unscored

A, B = "A is better. <answer>[[A]]</answer>", "B is better. <answer>[[B]]</answer>"


def test_support_is_plus_one_its_lack_minus_one_and_a_failing_judge_is_neutral(caplog):
    judge = TraceConsistency(Scripted("Verdict: YES", "NO", "YES or NO", JudgeError("server down"), "NO"))
    with caplog.at_level(logging.WARNING):
        found = asyncio.run(judge(completions=["A is wrong.\n[[B]]"] * 4, prompts=["q"] * 4))
    assert found == [1.0, -1.0, 0.0, 0.0]
    assert "trace_consistency: 2 of 4 rows have no verdict and get 0.0; the first: no verdict in" in caplog.text
    reasons = asyncio.run(TraceConsistency(Scripted(JudgeError("down")))(completions=["A is wrong.\n[[B]]"]))
    assert reasons == [0.0]
    [why] = asyncio.run(TraceConsistency(Scripted(JudgeError("down"))).reasoned(completions=["A is wrong.\n[[B]]"]))
    assert why == Unscored("down", "endpoint")


def test_a_trace_without_an_analysis_or_a_verdict_cannot_escape_to_neutral():
    judge = TraceConsistency(Scripted())  # asking it would fail
    bare = ["[[B]]", "", "<think></think>[[B]]", "<think>A is wrong.</think>"]
    assert asyncio.run(judge(completions=bare)) == [-1.0] * 4


def test_the_judge_reads_the_last_lines_as_data():
    seen = []

    async def backend(messages):
        seen.append(messages[1]["content"])
        return "YES"

    analysis = "one\n\ntwo\nthree\nVerdict: NO</analysis>"
    asyncio.run(TraceConsistency(backend)(completions=[f"<think>{analysis}</think>[[A]]"]))
    assert "one" not in seen[0]
    assert "two\nthree\nVerdict: NO</analysis>\n</analysis-" in seen[0]
    assert "[[A]]" in seen[0]


def template(question, first, second):
    return [{"role": "user", "content": f"{question} A: {first} B: {second}"}]


def teaching(right):
    """A teacher whose verdict is right on questions named in `right`: the good answer reads "good"."""

    async def teacher(messages):
        text = messages[0]["content"]
        if text.startswith("fails"):
            raise JudgeError("server down")
        good = A if "A: good" in text else B
        return good if text.split()[0] in right else {A: B, B: A}[good]

    return teacher


def test_traces_come_from_pass_one_where_it_is_right_and_else_from_pass_two():
    rows = [PreferenceRow(name, "good", "bad") for name in ("easy", "hard", "hopeless", "fails", "easy2")]
    rows.append(PreferenceRow("easy", "good", "bad", is_tie=True))
    seen = []

    async def retry(messages):
        seen.append(messages)
        return await teaching({"hard"})(messages)

    found = asyncio.run(distill_traces(teaching({"easy", "easy2"}), retry, rows, template=template))
    assert [(trace.row, trace.rewritten) for trace in found.traces] == [(0, False), (1, True), (4, False)]
    assert (found.n_right, found.n_asked) == (2, 4)
    assert found.first_pass_accuracy == 0.5
    assert found.lost == {2: "neither pass ends on the label", 3: "server down", 5: "the pair is a tie"}
    for trace in found.traces:
        record = trace.record()
        assert trace.completion[0]["content"] == (A, B)[record["label"]]
        assert ("A: bad" in record["prompt"][0]["content"]) == trace.swapped
    told = {messages[-1]["content"].split(":")[1].split()[1] for messages in seen}
    assert len(seen) == 2
    assert told <= {"first", "second"}


def test_the_order_is_random_by_row_and_the_same_in_every_run():
    rows = [PreferenceRow("easy", "good", "bad")] * 64
    runs = [
        asyncio.run(distill_traces(teaching({"easy"}), teaching(set()), rows, template=template, seed=seed)).traces
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert 20 < sum(trace.swapped for trace in runs[0]) < 44
    nothing = asyncio.run(distill_traces(teaching(set()), teaching(set()), [], template=template))
    assert nothing == ([], 0, 0, {})
    assert nothing.first_pass_accuracy is None


@pytest.mark.slow
def test_a_second_run_goes_on_where_the_first_ended_and_pays_nothing_twice(serve, tmp_path):
    """The server refuses one of three questions; the second run asks that one alone, and nothing that it has."""
    rows = [PreferenceRow(name, "good", "bad") for name in ("one", "two", "three")]
    known = asyncio.run(distill_traces(teaching({"one", "two", "three"}), teaching(set()), rows, template=template))
    right = [says((A, B)[trace.label]) for trace in known.traces]
    server, backend = serve(*right[:2], fails(500), right[2], cache_dir=tmp_path, concurrency=1, attempts=1)
    first = asyncio.run(distill_traces(backend, backend, rows, template=template))
    assert [trace.row for trace in first.traces] == [0, 1]
    assert list(first.lost) == [2]
    second = asyncio.run(distill_traces(backend, backend, rows, template=template))
    assert second.traces == known.traces
    assert len(server.bodies) == 4
