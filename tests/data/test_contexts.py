"""Contexts in prompts, reversals of preferences, and splits that keep rows together."""

import random

import pytest

from rewardsmith.data import in_context, reversal_pairs, split_whole
from rewardsmith.data.contexts import NO_CONTEXT
from rewardsmith.errors import RowsError

RECORD = {
    "prompt": "Explain {x}.",
    "response_a": "short",
    "response_b": "long and full",
    "criteria_x": "brief",
    "criteria_y": "thorough",
    "scenario_x": "I am in a hurry.",
    "scenario_y": "I write a thesis.",
    "id": 7,
}


def test_a_record_becomes_two_rows_with_the_preference_reversed():
    first, second = reversal_pairs([RECORD])
    assert (first["chosen"], first["rejected"], first["context"]) == ("short", "long and full", "brief")
    assert (second["chosen"], second["rejected"], second["context"]) == ("long and full", "short", "thorough")
    assert first["prompt"] == "Explain {x}.\n\nJudge by this: brief"  # braces of the prompt stay
    assert first["pair"] == second["pair"] == 0
    assert {row["pair"] for row in reversal_pairs([RECORD, RECORD])} == {0, 1}


def test_scenarios_are_taken_on_request_and_the_prompt_left_alone():
    rows = reversal_pairs([RECORD], form="scenario", template=None)
    assert [row["context"] for row in rows] == ["I am in a hurry.", "I write a thesis."]
    assert {row["prompt"] for row in rows} == {"Explain {x}."}


def test_the_context_never_reaches_a_response():
    for row in reversal_pairs([RECORD]):
        assert row["context"] not in row["chosen"] + row["rejected"]


def test_without_a_context_the_prompt_says_so():
    for nothing in (None, "", "  "):
        assert in_context("Why?", nothing, template="{context}: {prompt}") == f"{NO_CONTEXT}: Why?"


def test_in_a_conversation_the_last_message_of_the_user_gets_it():
    talk = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Why?"},
    ]
    got = in_context(talk, "brief", template="{prompt} [{context}]")
    assert got[:3] == talk[:3]
    assert got[3] == {"role": "user", "content": "Why? [brief]"}
    assert talk[3]["content"] == "Why?"


def test_braces_in_a_context_are_text():
    assert in_context("a {context}", "{prompt}", template="{prompt}|{context}") == "a {context}|{prompt}"


def test_a_split_keeps_every_group_on_one_side_and_loses_nothing():
    generator = random.Random(0)
    rows = [{"pair": generator.randrange(9), "n": n} for n in range(60)]
    train, test = split_whole(rows, "pair", share=1 / 3, generator=random.Random(1))
    groups = [{row["pair"] for row in part} for part in (train, test)]
    assert not groups[0] & groups[1]
    assert len(groups[1]) == 3
    assert sorted(row["n"] for row in train + test) == list(range(60))
    assert [row["n"] for row in train] == sorted(row["n"] for row in train)  # order is kept
    again = split_whole(rows, "pair", share=1 / 3, generator=random.Random(1))
    assert again == (train, test)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_neither_side_of_a_split_is_empty(share):
    parts = split_whole([{"pair": k} for k in range(4)], "pair", share=share, generator=random.Random(0))
    assert sorted(map(len, parts)) == [1, 3]


def test_refusals():
    with pytest.raises(RowsError, match=r"reversal_pairs: record 1 has no `response_b` \(fields: prompt, response_a"):
        reversal_pairs([{name: value for name, value in RECORD.items() if name != "response_b"}])
    with pytest.raises(RowsError, match=r"reversal_pairs: record 2 has two equal responses"):
        reversal_pairs([RECORD, RECORD | {"response_b": "short"}])
    with pytest.raises(RowsError, match=r"reversal_pairs: record 1 has two equal contexts"):
        reversal_pairs([RECORD | {"criteria_y": "brief"}])
    with pytest.raises(ValueError, match=r"reversal_pairs: form is 'profile', which is not one of"):
        reversal_pairs([RECORD], form="profile")
    with pytest.raises(ValueError, match=r"in_context: template 'x' must hold {prompt} and {context}"):
        in_context("Why?", "brief", template="x")
    with pytest.raises(ValueError, match=r"in_context: the conversation has no message of the user"):
        in_context([{"role": "system", "content": "Be kind."}], "brief")
    with pytest.raises(RowsError, match=r"split_whole: row 2 has no column `pair`"):
        split_whole([{"pair": 1}, {"tree": 1}], "pair", share=0.5, generator=random.Random(0))
    with pytest.raises(ValueError, match=r"split_whole: the rows hold 1 value\(s\) of `pair`, too few for two sides"):
        split_whole([{"pair": 1}] * 3, "pair", share=0.5, generator=random.Random(0))
    with pytest.raises(ValueError, match=r"split_whole: share is 2.0, outside"):
        split_whole([{"pair": 1}], "pair", share=2.0, generator=random.Random(0))
