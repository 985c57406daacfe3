"""Contexts in prompts, reversals of preferences, and splits that keep rows together."""

import random

import pytest

from rewardsmith.data import PreferenceRow, held_out, in_context, read_preferences
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


def reversals(records, **options):
    return read_preferences(records, schema="rpr", **options).rows


def test_a_record_becomes_two_rows_with_the_preference_reversed():
    first, second = (row.standard() for row in reversals([RECORD]))
    assert (first.chosen, first.rejected, first.context) == ("short", "long and full", "brief")
    assert (second.chosen, second.rejected, second.context) == ("long and full", "short", "thorough")
    assert first.contextual().prompt == "Explain {x}.\n\nJudge by this: brief"  # braces of the prompt stay
    assert first.key == second.key
    assert len({row.key for row in reversals([RECORD, RECORD | {"prompt": "Explain y."}])}) == 2


def test_scenarios_are_taken_on_request_and_the_prompt_left_alone():
    rows = [row.standard() for row in reversals([RECORD], form="scenario")]
    assert [row.context for row in rows] == ["I am in a hurry.", "I write a thesis."]
    assert {row.prompt for row in rows} == {"Explain {x}."}


def test_the_context_never_reaches_a_response():
    for row in (row.contextual().standard() for row in reversals([RECORD])):
        assert row.context not in row.chosen + row.rejected


def test_a_conversation_is_read_as_it_is():
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Why?"},
    ]
    assert [row.prompt for row in reversals([RECORD | {"prompt": talk}])] == [talk, talk]


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
    rows = [PreferenceRow(f"prompt {n}", "a", "b", prompt_id=f"tree {generator.randrange(9)}") for n in range(60)]
    train, test = held_out(rows, share=1 / 3, seed=1)
    groups = [{row.key for row in part} for part in (train, test)]
    assert not groups[0] & groups[1]
    assert len(groups[1]) == 3
    assert sorted(row.prompt for row in train + test) == sorted(row.prompt for row in rows)
    assert train == [row for row in rows if row in train]  # order is kept
    assert held_out(rows, share=1 / 3, seed=1) == (train, test)


def test_refusals():
    lacking = {name: value for name, value in RECORD.items() if name != "response_b"}
    with pytest.raises(RowsError, match=r"as rpr \(1 × `response_b` is missing, first in record 1"):
        reversals([lacking])
    for equal, why in (({"response_b": "short"}, "both answers are the same"), ({"criteria_y": "brief"}, "two equal")):
        with pytest.raises(RowsError, match=rf"as rpr \(. × {why}"):
            reversals([RECORD | equal])
    with pytest.raises(ValueError, match=r"read_preferences: form is 'profile', which is not one of"):
        reversals([RECORD], form="profile")
    with pytest.raises(ValueError, match=r"in_context: template 'x' must hold {prompt} and {context}"):
        in_context("Why?", "brief", template="x")
    with pytest.raises(ValueError, match=r"in_context: the conversation has no message of the user"):
        in_context([{"role": "system", "content": "Be kind."}], "brief")
