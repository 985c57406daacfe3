"""Pairs of scored completions are keyed by prompt; goal-conditioned pairs swap the responses."""

import math
from dataclasses import replace

import pytest

from rewardsmith.data import GoalTemplate, PreferenceRow, best_worst_pairs, reward_augmented, with_goal
from rewardsmith.errors import RowsError


def scored(prompt, **scores):
    return [{"prompt": prompt, "completion": text, "score": score} for text, score in scores.items()]


def found(rows, **options):
    return [(pair.prompt, pair.chosen, pair.rejected) for pair in best_worst_pairs(rows, **options)]


def test_a_prompt_that_is_left_out_shifts_no_column_of_another():
    """The published code of CREAM zips a filtered list with all keys; here the columns travel with their rows."""
    rows = [{**row, "target": 0.9} for row in scored("a", x=1.0, y=1.0, z=1.0)]  # no best one
    rows += [{**row, "target": 0.6} for row in scored("b", x=0.0, y=2.0, z=1.0)]
    (pair,) = best_worst_pairs(rows)
    assert (pair.prompt_id, pair.chosen, pair.rejected) == ("b", "y", "x")
    assert pair.record() == {
        "target": 0.6, "prompt": "b", "chosen": "y", "rejected": "x", "prompt_id": "b",
        "ratings": {"score": [2.0, 0.0]},
    }  # fmt: skip


def test_equal_texts_are_one_completion_with_their_mean_score():
    rows = [*scored("a", x=3.0, y=2.0, z=0.0), *scored("a", x=0.0)]  # x has mean 1.5
    assert found(rows) == [("a", "y", "z")]
    assert found([*scored("a", x=3.0, y=2.0), *scored("a", x=1.0)]) == []  # two different texts
    assert found([*scored("a", x=3.0, y=2.0)], least_distinct=2) == [("a", "x", "y")]


@pytest.mark.parametrize("missing", [None, math.nan])
def test_an_unscored_completion_is_neither_best_nor_worst_and_does_not_count(missing):
    assert found(scored("a", x=1.0, y=missing, z=0.0), least_distinct=2) == [("a", "x", "z")]
    assert found(scored("a", x=1.0, y=missing, z=0.0)) == []


def test_rows_of_one_id_belong_together_whatever_their_order():
    rows = [{**row, "prompt_id": n} for n in (7, 8) for row in scored("same prompt", x=1.0 * n, y=2.0, z=3.0)]
    assert found(rows[::2] + rows[1::2]) == [("same prompt", "x", "y")] * 2
    assert [pair.prompt_id for pair in best_worst_pairs(rows)] == ["7", "8"]


def test_the_gap_and_the_least_chosen_score_are_inclusive():
    rows = scored("a", x=5.0, y=4.0, z=3.0)
    assert found(rows, gap=2.0, least_chosen=5.0) == [("a", "x", "z")]
    assert found(rows, gap=2.1) == []
    assert found(rows, least_chosen=5.1) == []


def test_a_teacher_may_lose_win_or_stay_out():
    teacher = [{**row, "teacher": True} for row in scored("a", worst=0.0)]
    rows = [*scored("a", x=3.0, y=1.0, z=2.0), *teacher]
    assert found(rows) == [("a", "x", "worst")]
    assert found(rows, allow_teacher="chosen") == [("a", "x", "y")]
    teacher[0]["score"] = 4.0
    assert found(rows, allow_teacher="chosen") == [("a", "worst", "y")]
    assert found(rows, allow_teacher="neither") == [("a", "x", "y")]
    with pytest.raises(ValueError, match="allow_teacher is 'never'"):
        found(rows, allow_teacher="never")


def rated(high, low, **fields):
    return PreferenceRow("p", "good", "bad", ratings={"score": (high, low)}, **fields)


def test_in_the_second_copy_the_chosen_text_is_the_one_that_was_rejected():
    template = GoalTemplate("[{goal}] ")
    first, second = reward_augmented([rated(9.0, 2.5)], template=template)
    assert (first.prompt, first.chosen, first.rejected) == ("[9] p", "good", "bad")
    assert (second.prompt, second.chosen, second.rejected) == ("[2.5] p", "bad", "good")
    assert first.key == second.key == "p"  # both stay on one side of a split
    assert second.ratings == {"score": (2.5, 9.0)}


def test_ties_and_labels_against_the_score_are_left_out():
    rows = [rated(3.0, 3.0), rated(2.0, 4.0)]
    assert reward_augmented(rows) == []
    soft = reward_augmented(rows, ties="soft")
    assert [(pair.chosen, pair.columns) for pair in soft] == [("good", {"target": 0.5}), ("bad", {"target": 0.5})]


def test_a_pair_without_scores_is_refused():
    with pytest.raises(RowsError, match=r"pair 2 has no rating 'score' \(it has: none\)"):
        reward_augmented([rated(2.0, 1.0), replace(rated(2.0, 1.0), ratings={})])


def test_a_goal_goes_into_the_system_message_or_before_the_question():
    user = {"role": "user", "content": "Why?"}
    system, same = with_goal([user])
    assert (system["role"], same) == ("system", user)
    assert "is 10 on a scale" in system["content"]
    (told, _) = with_goal([{"role": "system", "content": "Be kind."}, user], 3)
    assert told["content"].startswith("Write a response whose overall quality is 3 ")
    assert told["content"].endswith("\n\nBe kind.")
    (asked,) = with_goal([user], 8.5, template=GoalTemplate("Aim at {goal}.", place="prefix"))
    assert asked == {"role": "user", "content": "Aim at 8.5.\n\nWhy?"}
    assert user == {"role": "user", "content": "Why?"}  # not changed in place


def test_a_goal_outside_the_scale_and_a_template_without_a_place_for_it_are_refused():
    with pytest.raises(ValueError, match=r"with_goal: goal is 11, outside \[1.0, 10.0\]"):
        with_goal("p", 11)
    with pytest.raises(ValueError, match=r"must hold \{goal\} once"):
        GoalTemplate("Do well.")


@pytest.mark.parametrize("name", ["prompt", "completion"])
def test_a_row_without_its_texts_is_refused(name):
    row = {"prompt": "?", "completion": "a", "score": 1.0}
    del row[name]
    with pytest.raises(RowsError, match=f"best_worst_pairs: a row has no {name} .it has .*score.. Pass one row per"):
        best_worst_pairs([row])


def test_a_message_without_role_or_content_is_refused():
    for turn in ({"content": "Why?"}, {"role": "user"}):
        with pytest.raises(ValueError, match=r"with_goal: a message is .*. Give each a role and a content"):
            with_goal([turn])
