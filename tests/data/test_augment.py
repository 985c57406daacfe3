"""Truncated negatives: what is added, what is kept, what is never used."""

from __future__ import annotations

import math

import pytest
import torch

from rewardsmith.data import HELD_OUT_KEYS, MASTER_KEYS, Row, add_truncated_negatives
from rewardsmith.data.augment import first_sentence
from rewardsmith.data.stated_values import states

PAPER_KEYS = {
    *(" ", ".", ",", ":"),
    *("Thought process:", "Let's solve this problem step by step.", "Solution"),
    *("解", "かいせつ", "Respuesta"),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labeled(n: int) -> list[Row]:
    return [
        Row(f"What is {i} + 1?", f"We count on from {i}. That is {i + 1}.", {"answer": str(i + 1), "label": i % 2 == 0})
        for i in range(n)
    ]


def test_the_registry_holds_the_ten_keys_of_the_paper_each_exactly_as_sent():
    assert {key for keys in MASTER_KEYS.values() for key in keys} >= PAPER_KEYS


def test_no_key_is_listed_twice_and_every_family_holds_out_half():
    keys = [key for family in MASTER_KEYS.values() for key in family]
    assert len(keys) == len(set(keys))
    for family, held_out in HELD_OUT_KEYS.items():
        assert set(held_out) <= set(MASTER_KEYS[family])
        assert len(held_out) == len(MASTER_KEYS[family]) // 2


@pytest.mark.parametrize(("n", "frac"), [(800, 0.11), (100, 0.0), (30, 0.25), (90, 0.1)])
def test_the_new_rows_are_the_asked_share_of_the_result(n, frac):
    result = add_truncated_negatives(labeled(n), generator=generator(), frac=frac)
    added = len(result) - n
    assert abs(added / len(result) - frac) <= 1 / len(result)  # the nearest whole number of rows


def test_the_paper_s_sizes_follow_from_its_share():
    # 20k openers beside 160k rows are 20/180 = 11.1 % of the result.
    rows = [Row("q", f"We try {i}. It is {i}.", {"answer": "1"}) for i in range(1600)]
    assert len(add_truncated_negatives(rows, generator=generator(), frac=20 / 180)) == 1800


def test_an_added_row_is_an_opener_labeled_negative_with_prompt_and_reference_kept():
    rows = labeled(40)
    result = add_truncated_negatives(rows, generator=generator(), frac=0.2)
    assert result[:40] == rows
    by_prompt = {row.prompt: row for row in rows}
    for row in result[40:]:
        source = by_prompt[row.prompt]
        assert row.text == source.text.split(". ")[0] + "."
        assert row.columns == {"answer": source.columns["answer"], "label": False}


def test_the_rows_given_are_not_changed_and_no_row_is_cut_twice():
    rows = labeled(20)
    before = [(row.text, dict(row.columns)) for row in rows]
    result = add_truncated_negatives(rows, generator=generator(), frac=0.5)
    assert [(row.text, dict(row.columns)) for row in rows] == before
    assert len({row.prompt for row in result[20:]}) == 20


def test_conversational_rows_stay_conversational():
    row = Row([{"role": "user", "content": "2 + 2?"}], "We add. It is 4.", {"answer": "4"}).conversational()
    added = add_truncated_negatives([row], generator=generator(), frac=0.5)[1]
    assert added.completion == [{"role": "assistant", "content": "We add."}]


def test_an_evaluation_key_is_never_trained_on_in_any_spelling():
    openers = ["Solution.", "SOLUTION", "Thought process:\n", " Let's solve this problem step by step.", "解。", ":"]
    keyed = [Row("q", f"{opener} \nIt is 4.", {"answer": "4"}) for opener in openers]
    fine = [Row("q", "We start with two. It is 4.", {"answer": "4"})]
    with pytest.raises(ValueError, match="only 1 of 7 completions"):
        add_truncated_negatives(keyed + fine, generator=generator(), frac=0.5)


def test_a_row_whose_opener_is_its_whole_answer_is_never_labeled_negative():
    rows = [Row("q", "The answer is 4.", {"answer": "4"}), Row("q", "", {"answer": "4"})]
    with pytest.raises(ValueError, match=r"1 negatives are wanted for frac=0\.3.*Lower frac, or pass a splitter\."):
        add_truncated_negatives(rows, generator=generator(), frac=0.3)


@pytest.mark.parametrize("answer", ["4", "Paris", "2 + 2 = 4\n#### 4"])
def test_an_opener_that_states_the_answer_is_never_labeled_negative(answer):
    early = Row("q", "It is 4 in Paris. We check: 2 + 2.", {"answer": answer})
    with pytest.raises(ValueError, match=r"only 0 of 1 completions .* not excluded and does not state the answer"):
        add_truncated_negatives([early], generator=generator(), frac=0.5)
    other = Row("q", "It is 14 in Parish. We check.", {"answer": answer})
    assert len(add_truncated_negatives([other], generator=generator(), frac=0.5)) == 2


STATED = [
    ("It is 0.5.", "1/2"),
    ("The answer is 1,000.", "1000"),
    (r"So x = \frac{1}{2}.", "1/2"),
    (r"So x = \dfrac12.", "0.5"),
    ("It is 1½.", "3/2"),
    ("It is 1 1/2.", "1.5"),
    ("It is 50%.", "1/2"),
    ("It is 50%.", "50"),
    ("It is 0,5.", "1/2"),
    (r"It is 1{,}000.", "1 000"),
    (r"It is 1.2 \times 10^3.", "1200"),
    ("It is 1.20e3.", "1200"),
    ("It is forty-two.", "42"),
    ("It is two and a half.", "5/2"),
    ("It is three hundred and five.", "305"),
    ("It is ２.", "2"),
    ("The pair is (2,11).", "$(2, 11)$"),
    (r"It is \dfrac{\sqrt{3}}{2}.", r"\frac{\sqrt3}{2}"),
    ("It is minus 5.", "-5"),
]
NOT_STATED = [
    ("It is 2.5.", "5"),
    ("It is 3.25.", "25"),
    ("It is 1/2.", "2.5"),
    ("It is 12.", "1"),
    ("We take one.", "2"),
    ("It is Paris.", "Par"),
    ("It is 2.", "(2, 11)"),
]


@pytest.mark.parametrize(("opener", "answer"), STATED)
def test_an_opener_that_states_the_value_of_the_answer_is_never_labeled_negative(opener, answer):
    with pytest.raises(ValueError, match=r"only 0 of 1 completions"):
        add_truncated_negatives([Row("q", f"{opener} We check.", {"answer": answer})], generator=generator(), frac=0.5)


@pytest.mark.parametrize(("opener", "answer"), NOT_STATED)
def test_an_opener_that_states_another_value_is_used(opener, answer):
    rows = add_truncated_negatives(
        [Row("q", f"{opener} We check.", {"answer": answer})], generator=generator(), frac=0.5
    )
    assert rows[1].text == opener


@pytest.mark.slow
@pytest.mark.parametrize("opener", ["1," * 20_000, "9" * 40_000, "one " * 20_000, "1/" * 20_000, "\\frac" * 10_000])
def test_a_hostile_opener_is_read_in_linear_time(opener):
    assert not states(opener, "7/3")


def test_the_label_and_the_splitter_are_the_caller_s():
    rows = [Row("q", "so a b c d", {"answer": "d", "right": "YES"})]
    result = add_truncated_negatives(
        rows, generator=generator(), frac=0.5, splitter=lambda text: text[:4], label="right", negative="NO"
    )
    assert (result[1].text, result[1].columns["right"]) == ("so a", "NO")


def test_the_same_generator_state_draws_the_same_rows():
    rows = labeled(50)
    first, again, other = (add_truncated_negatives(rows, generator=generator(seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("frac", [-0.1, 1.0, math.nan])
def test_a_share_that_is_none_is_refused(frac):
    with pytest.raises(ValueError, match="add_truncated_negatives: frac is"):
        add_truncated_negatives(labeled(3), generator=generator(), frac=frac)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("We have 3.5 apples. Then two.", "We have 3.5 apples."),
        ("Really?! Yes.", "Really?!"),
        ("Thought process:\nFirst, 2.", "Thought process:"),
        ("まず足します。答えは4。", "まず足します。"),
        ("no mark at all", "no mark at all"),
        ("  padded. more ", "padded."),
        ("", ""),
    ],
)
def test_the_first_sentence_ends_at_its_mark_or_line(text, sentence):
    assert first_sentence(text) == sentence
