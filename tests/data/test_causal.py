"""Causal and neutral augmentation by hand, and ties against the loss that they should come to."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from torch.testing import assert_close

from rewardsmith.data import (
    PreferenceRow,
    causal_augment,
    informative_filter,
    neutral_augment,
    ties_as_pairs,
)
from rewardsmith.objectives import bt_loss, tie_loss

ROW = PreferenceRow("2+2?", "It is 4.", "It is 5, I think.", margin=2.0, strength=3.0, columns={"id": 7})


def rubric(prompt):
    return ["right", "clear"]


def editor(prompt, answer, attribute, direction):
    return f"{answer} [{attribute} {direction}]"


def test_every_attribute_gives_one_degraded_and_one_upgraded_pair():
    done = causal_augment([ROW], rubric, editor)
    assert [(row.chosen, row.rejected) for row in done.rows] == [
        ("It is 4.", "It is 4. [right degrade]"),
        ("It is 5, I think. [right upgrade]", "It is 5, I think."),
        ("It is 4.", "It is 4. [clear degrade]"),
        ("It is 5, I think. [clear upgrade]", "It is 5, I think."),
    ]
    assert [row.columns["kind"] for row in done.rows] == ["degrade", "upgrade"] * 2
    assert [row.columns["attribute"] for row in done.rows] == ["right", "right", "clear", "clear"]
    assert all(row.prompt == "2+2?" and row.key == ROW.key and not row.is_tie for row in done.rows)
    assert all(row.columns["id"] == 7 for row in done.rows)
    assert all(row.margin is None and row.strength is None for row in done.rows)  # those spoke of the old label
    assert done.refused == 0


def test_the_planted_length_cue_is_reported_with_its_error():
    def shortens(prompt, answer, attribute, direction):
        return answer[:-4] if direction == "degrade" else answer + "!"

    rows = [ROW, replace(ROW, prompt="3+3?")]
    done = causal_augment(rows, lambda prompt: ["right"], shortens)
    differences = [4.0, 1.0, 4.0, 1.0]
    assert done.length_difference == pytest.approx(np.mean(differences))
    assert done.length_error == pytest.approx(np.std(differences, ddof=1) / 2)


def test_what_the_editor_refuses_or_leaves_as_it_is_makes_no_row():
    def stubborn(prompt, answer, attribute, direction):
        return None if direction == "degrade" else answer

    done = causal_augment([ROW], rubric, stubborn)
    assert done.rows == []
    assert done.refused == 4
    assert np.isnan(done.length_difference)


def test_ties_are_not_edited():
    done = causal_augment([replace(ROW, is_tie=True)], rubric, editor)
    assert (done.rows, done.refused) == ([], 0)
    assert np.isnan(done.length_difference)


def test_a_neutral_row_is_a_tie_under_another_prompt_with_its_origin_s_key():
    (row,) = neutral_augment([ROW], lambda prompt: "Who wrote Emma?")
    assert (row.prompt, row.chosen, row.rejected) == ("Who wrote Emma?", ROW.chosen, ROW.rejected)
    assert row.is_tie
    assert row.key == "2+2?"
    assert row.columns["kind"] == "neutral"
    assert row.margin is None


def test_prompts_that_are_too_alike_make_no_tie():
    vectors = {"2+2?": [1.0, 0.0], "2+3?": [1.0, 0.5], "Emma?": [0.0, 2.0], "void": [0.0, 0.0]}
    others = {"2+2?": "2+3?", "2+3?": "Emma?", "Emma?": "Emma?", "void": "Emma?"}
    rows = [replace(ROW, prompt=prompt) for prompt in vectors]
    assert cosine(vectors["2+3?"], vectors["Emma?"]) == pytest.approx(1 - 0.4472, abs=1e-4)
    kept = neutral_augment(rows, others.__getitem__, embed=lambda texts: [vectors[text] for text in texts])
    assert [row.key for row in kept] == ["2+3?"]  # 2+2? is too alike, Emma? is the same, void cannot be checked
    tight = neutral_augment(
        rows, others.__getitem__, embed=lambda texts: [vectors[text] for text in texts], most_similar=0.4
    )
    assert tight == []


def test_a_sampler_that_always_gives_the_prompt_back_is_refused():
    with pytest.raises(ValueError, match=r"neutral_augment: unrelated returned the same prompt for all 1 rows.* Draw"):
        neutral_augment([ROW], lambda prompt: prompt)
    with pytest.raises(ValueError, match=r"neutral_augment: most_similar is 2.0, outside \[-1.0, 1.0\]"):
        neutral_augment([ROW], lambda prompt: "x", most_similar=2.0)


def test_a_tie_as_two_rows_costs_twice_the_tie_loss_whichever_way_it_is_written():
    tie = replace(ROW, is_tie=True)
    both = ties_as_pairs([tie, ROW])
    assert [(row.chosen, row.rejected, row.is_tie) for row in both] == [
        (ROW.chosen, ROW.rejected, False),
        (ROW.rejected, ROW.chosen, False),
        (ROW.chosen, ROW.rejected, False),
    ]
    scores = {ROW.chosen: torch.tensor([0.7], dtype=torch.float64), ROW.rejected: torch.zeros(1, dtype=torch.float64)}
    strict = sum(bt_loss(scores[row.chosen], scores[row.rejected]) for row in both[:2])
    tied = tie_loss(scores[tie.chosen], scores[tie.rejected])
    assert_close(strict, 2 * tied)


def test_only_rows_on_which_the_baseline_is_unsure_or_wrong_are_kept():
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    generator = np.random.default_rng(0)
    margins = [*generator.normal(0, 3, 50), 1000.0, -1000.0]
    strict = [replace(ROW, prompt=str(k)) for k in range(52)]
    kept = informative_filter(strict, margins, max_prob=0.7)
    assert [row.prompt for row in kept] == [*(str(k) for k, m in enumerate(margins[:-2]) if sigmoid(m) <= 0.7), "51"]
    ties = [replace(row, is_tie=True) for row in strict]
    kept = informative_filter(ties, margins, tie_prob=0.9)
    sure = [str(k) for k, m in enumerate(margins[:-2]) if max(sigmoid(m), sigmoid(-m)) >= 0.9]
    assert [row.prompt for row in kept] == [*sure, "50", "51"]


def test_a_row_without_a_margin_is_kept_and_bad_arguments_are_refused():
    assert informative_filter([ROW, ROW], [None, float("nan")]) == [ROW, ROW]
    with pytest.raises(ValueError, match=r"informative_filter: 1 rows have 2 margins. Give one per row"):
        informative_filter([ROW], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"informative_filter: tie_prob is 0.2, outside \[0.5, 1.0\]"):
        informative_filter([ROW], [0.0], tie_prob=0.2)
