"""Rows of preferences: their forms, their keys, and splits that no prompt straddles."""

import random

import pytest

from rewardsmith.data import PreferenceRow, RatedRow, StepRow, held_out, to_dataset


def rows(n=600):
    return [PreferenceRow(f"prompt {k % (n // 3)}", f"a{k}", "b") for k in range(n)]


def test_no_prompt_is_on_both_sides_and_every_row_is_on_one():
    train, test = held_out(rows(), share=0.25, seed=1)
    assert len(train) + len(test) == 600
    assert not {row.key for row in train} & {row.key for row in test}
    assert len({row.key for row in test}) == 50  # of 200 prompts
    assert len(test) == 150


@pytest.mark.parametrize("share", [0.1, 0.25, 1 / 3, 0.5])
@pytest.mark.parametrize("n_prompts", [1, 3, 10, 40])
def test_the_share_that_was_asked_is_held_out_for_every_seed(share, n_prompts):
    given = [PreferenceRow(f"p{k % n_prompts}", "a", "b") for k in range(2 * n_prompts)]
    sizes = {len({row.key for row in held_out(given, share=share, seed=seed)[1]}) for seed in range(5)}
    assert sizes == {round(share * n_prompts)}


def test_a_prompt_stays_on_its_side_in_any_order_and_few_change_it_when_others_are_dropped():
    given = rows()
    _, test = held_out(given, share=0.25)
    _, again = held_out(random.Random(0).sample(given, len(given)), share=0.25)
    assert {row.key for row in again} == {row.key for row in test}
    dropped = [row for row in given if int(row.key.split()[1]) >= 4]  # 4 of 200 prompts are gone
    _, fewer = held_out(dropped, share=0.25)
    still = {row.key for row in test} & {row.key for row in dropped}
    assert len({row.key for row in fewer} ^ still) <= 4
    assert {row.key for row in held_out(given, share=0.25, seed=1)[1]} != {row.key for row in test}
    assert held_out(given, share=0.0)[1] == []
    assert held_out(given, share=1.0)[0] == []


def test_rows_of_one_key_go_together_though_their_prompts_differ():
    pairs = [PreferenceRow(f"p{k}", "a", "b", context="z", prompt_id=str(k // 2)).contextual() for k in range(200)]
    train, test = held_out(pairs, share=0.5)
    assert all(len([row for row in test if row.key == key]) == 2 for key in {row.key for row in test})
    assert train


def test_shares_outside_0_to_1_are_refused():
    with pytest.raises(ValueError, match=r"held_out: share is 2.0, outside \[0.0, 1.0\]. Pass"):
        held_out(rows(3), share=2.0)


def test_rated_rows_and_step_rows_are_records():
    row = RatedRow("p", "c", {"help": 3.0})
    assert row.conversational().standard() == row
    assert row.record() == {"prompt": "p", "completion": "c", "ratings": {"help": 3.0}}
    assert StepRow("p", ("a",), (True,)).record() == {"prompt": "p", "completions": ["a"], "labels": [1.0]}
    assert to_dataset([row, RatedRow("p", "d", {"tact": 1.0})])[0]["ratings"] == {"help": 3.0, "tact": None}


def test_no_rows_make_no_dataset():
    with pytest.raises(ValueError, match=r"to_dataset: there are no rows. Read some"):
        to_dataset([])
