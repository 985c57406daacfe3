"""The audit of rewards of tool calls: which keys are read, in which forms a reward is asked, and what it may miss."""

from __future__ import annotations

import json
import random

import pytest
from tests.auditing.corpus import prompts, tool_calls

from rewardsmith.auditing import audit
from rewardsmith.auditing.subjects.tools import CALL_FORMATS, CallRow
from rewardsmith.data import Row
from rewardsmith.equivalence.calls import Call, calls_in, written, wrong_calls
from rewardsmith.rewards import ToolCallReward, exact_text, read_tool_calls

ONE = {"name": "add", "arguments": {"x": 1, "y": [True, "a"]}}
TWO = {"name": "stop", "arguments": {}}
KEYS = {
    "objects": [ONE, TWO],
    "JSON": json.dumps([ONE, TWO]),
    "JSON on lines, with parameters": '{"name": "add", "parameters": {"x": 1, "y": [true, "a"]}}\n' + json.dumps(TWO),
    "tags": f"<think>Hm.</think>\n<tool_call>\n{json.dumps(ONE)}\n{json.dumps(TWO)}\n</tool_call>",
    "Python": "[add(x=1, y=[True, 'a']), stop()]",
    "arguments as text": [{"function": {**own, "arguments": json.dumps(own["arguments"])}} for own in (ONE, TWO)],
    "columns filled with None": [{**ONE, "arguments": {**ONE["arguments"], "z": None}}, TWO],
}  # fmt: skip


def found(report):
    return [finding.probe for finding in report.at_least("medium")]


def asked(report):
    return {check.probe for check in report.checks if check.status != "not run"}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_read_in_the_usual_forms(name):
    assert calls_in(KEYS[name]) == [Call("add", {"x": 1, "y": [True, "a"]}), Call("stop", {})]


@pytest.mark.parametrize(
    "key", [None, 7, "42", "Paris", "f(2)", "P(A) = 1", "[1, 2]", '{"name": "Ada", "age": 3}', [ONE, 3], "[", "f(x=y)",
            "add(x=" + "[" * 500, "[]", {"role": "user", "tool_calls": [ONE]}]
)  # fmt: skip
def test_a_key_that_is_no_call_is_none(key):
    assert calls_in(key) == []


def test_calls_of_later_turns_and_calls_that_name_a_result_are_later_steps():
    turns = [
        {"role": "assistant", "tool_calls": [{"function": ONE, "id": "a"}, {"function": TWO, "id": "b"}]},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "tool_calls": [{"function": TWO, "id": "c"}]},
    ]
    assert [call.step for call in calls_in(turns)] == [0, 0, 2]
    chain = [{**TWO, "label": "$v"}, ONE, {"name": "g", "arguments": {"at": {"city": "$v.name$"}}}]
    assert [call.step for call in calls_in(chain)] == [0, 0, 2]


def test_wrong_calls_differ_from_the_right_ones_and_from_each_other():
    right, other = calls_in(KEYS["JSON"]), [Call("g", {"z": "a"})]
    wrongs = [written(own) for own in wrong_calls(right, other)]
    assert len({*wrongs, written(right)}) == 6
    assert wrongs[-1] == '[{"name": "g", "arguments": {"z": "a"}}]'
    assert [written(own) for own in wrong_calls([Call("f", {})], [])] == [
        '[{"name": "f_1", "arguments": {}}]',
        '[{"name": "f_2", "arguments": {}}]',
        '[{"name": "f_v2", "arguments": {}}]',
    ]


@pytest.mark.parametrize("form", CALL_FORMATS, ids=lambda form: form.name)
def test_what_the_audit_writes_is_read_by_another_reader(form):
    row = CallRow([{"role": "user", "content": "Go."}]).with_completion(form.wrap(KEYS["JSON"]))
    text = row.completion[0]["content"] or row.completion
    assert read_tool_calls(text) == read_tool_calls(KEYS["JSON"])
    assert row.text  # by which the audit tells completions apart


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "rows", "expected"),
    [
        (tool_calls.all_wanted, tool_calls.call_rows, "extra_calls"),
        (tool_calls.first_calls, tool_calls.chat_rows, "extra_calls"),
        (tool_calls.as_sets, tool_calls.call_rows, "duplicate_calls"),
        (tool_calls.as_multisets, tool_calls.step_rows, "call_order"),
        (tool_calls.values_as_text, tool_calls.call_rows, "argument_types"),
        (tool_calls.by_parts, tool_calls.tagged_rows, "extra_calls"),
        (ToolCallReward(extra_calls="paper"), tool_calls.tagged_rows, "extra_calls"),
        (ToolCallReward(), tool_calls.step_rows, "call_order"),
    ],
)
def test_a_careless_comparison_is_named_first(reward, rows, expected):
    report = audit(reward, rows(8, random.Random(1)), budget=500, workers=0)
    assert report.kind == "reward of tool calls"
    assert found(report)[:1] == [expected], found(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "rows"),
    [
        (ToolCallReward(), tool_calls.tagged_rows),
        (tool_calls.same_calls, tool_calls.call_rows),
        (tool_calls.same_messages, tool_calls.chat_rows),
    ],
)
def test_a_clean_verdict_has_asked_about_calls(reward, rows):
    report = audit(reward, rows(8, random.Random(2)), budget=500, workers=0)
    assert report.verdict() == "clean", report.findings
    assert asked(report) >= {"near_miss", "extra_calls", "duplicate_calls", "argument_types"}


@pytest.mark.slow
def test_a_reward_that_refuses_another_order_of_independent_calls_is_told_so():
    report = audit(tool_calls.same_calls, tool_calls.call_rows(10, random.Random(2)), budget=500, workers=0)
    (told,) = [finding for finding in report.findings if finding.probe == "call_order"]
    assert told.severity == "info"
    assert "In reverse order, independent calls score less on 100%" in told.message


def shortness(completions, **columns):
    return [-float(len(text)) for text in completions]


@pytest.mark.slow
@pytest.mark.parametrize(("reward", "rows"), [(exact_text, prompts.capital_rows), (shortness, tool_calls.call_rows)])
def test_without_calls_in_the_keys_or_a_reward_that_reads_them_nothing_is_asked_about_calls(reward, rows):
    report = audit(reward, rows(8, random.Random(0)), budget=400, workers=0)
    assert not any("calls" in check.probe for check in report.checks)


def test_a_tool_reward_that_reads_none_of_the_forms_is_not_judged():
    def unheard_of(completions, answer, **columns):
        return [float(text == f"CALL::{key}") for text, key in zip(completions, answer, strict=True)]

    report = audit(unheard_of, tool_calls.call_rows(6, random.Random(0)), budget=400, workers=0)
    assert report.verdict() == "not judged"
    assert "scores right and wrong ones equally" in report.not_judged


@pytest.mark.slow
def test_rows_without_calls_are_left_out_where_most_have_some():
    rows = [*tool_calls.call_rows(6, random.Random(0)), Row("Say hello.", columns={"answer": "[]"})]
    report = audit(tool_calls.same_calls, rows, budget=500, workers=0)
    assert report.kind == "reward of tool calls"
    assert report.n_rows == 7


@pytest.mark.slow
def test_the_estimate_is_close_to_what_is_spent():
    rows, announced = tool_calls.tagged_rows(20, random.Random(0)), []
    report = audit(ToolCallReward(), rows, budget=500, workers=0, announce=announced.append)
    assert announced[0].calls == pytest.approx(report.calls, rel=0.1)
    assert report.calls <= 500
