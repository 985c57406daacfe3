"""The readers of public sets, on files in the form those are published in."""

import gzip
import json
from collections import Counter

import pytest
from datasets import Dataset, DatasetDict
from tests.data import published

from rewardsmith.data import (
    BenchmarkRow,
    StepRow,
    read_benchmark,
    read_preferences,
    read_ratings,
    read_rows,
    read_steps,
    text_of,
    to_dataset,
)
from rewardsmith.data.readers.pairs import strength_from_annotators
from rewardsmith.errors import RowsError


def texts(rows):
    return [(text_of(row.prompt), text_of(row.chosen), text_of(row.rejected)) for row in rows]


def jsonl(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_ultrafeedback_grades_by_ratings_and_not_by_the_overall_score():
    rows, card = read_preferences(published.ULTRAFEEDBACK)
    # means 4.5, 1.5 and, of the one rating that is no "N/A", 1.0; the second prompt's answers have the same grade
    assert texts(rows) == [("Name a river.", "The Rhine.", "The Alps.")]
    assert rows[0].strength == 3.5
    assert rows[0].ratings == {"honesty": (4.0, 1.0)}
    assert card.schema == "ultrafeedback"
    assert card.dropped == {"all answers have the same grade": 1}


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ("best_worst", {("The Rhine.", "The Alps.")}),
        ("best_rest", {("The Rhine.", "The Alps."), ("The Rhine.", "Rhine")}),
        ("all", {("The Rhine.", "The Alps."), ("The Rhine.", "Rhine"), ("Rhine", "The Alps.")}),
    ],
)
@pytest.mark.parametrize("records", [published.ULTRAFEEDBACK[:1], published.NECTAR], ids=["ultrafeedback", "nectar"])
def test_several_answers_become_the_pairs_that_were_asked_for(records, pairs, expected):
    rows = read_preferences(records, pairs=pairs).rows
    assert {(text_of(row.chosen), text_of(row.rejected)) for row in rows} == expected


def test_nectar_reads_the_prompt_without_the_empty_turn():
    (row,) = read_preferences(published.NECTAR).rows
    assert row.prompt == [{"role": "user", "content": "A river?"}]
    assert (row.strength, row.source) == (2.0, "sharegpt")


def test_ultrafeedback_binarized_marks_equal_scores_as_ties():
    rows, card = read_preferences(published.BINARIZED)
    assert [(row.is_tie, row.strength, row.prompt_id) for row in rows] == [(False, 1.5, "f00"), (True, None, "f01")]
    assert (card.schema, card.tie_share) == ("ultrafeedback_binarized", 0.5)


def test_hh_rlhf_divides_transcripts_and_says_what_it_dropped():
    rows, card = read_preferences([*published.HH[:1] * 18, *published.HH[1:]])
    assert [message["content"] for message in rows[0].prompt] == ["Hi", "Hello", "A river?"]
    assert texts(rows)[0][1:] == ("The Rhine.", "The Alps.")
    assert card.dropped == {"an empty answer": 1, "the conversations differ before the last turn": 1}
    assert (card.n_records, card.n_rows) == (20, 18)


def test_helpsteer2_ratings_become_pairs_of_consecutive_records_and_rated_answers():
    rows, card = read_preferences(published.HELPSTEER2)
    assert texts(rows) == [("A river?", "The Rhine.", "The Alps.")]
    assert rows[0].strength == 3
    assert card.dropped == {"all answers have the same grade": 1}
    by_correctness = read_preferences(published.HELPSTEER2, attribute="correctness").rows
    assert [text_of(row.chosen) for row in by_correctness] == ["The Rhine.", "So long"]
    rated = read_ratings(published.HELPSTEER2).rows
    assert [row.ratings["correctness"] for row in rated] == [4, 0, 2, 3]
    assert [message["role"] for message in rated[2].prompt] == ["user", "assistant", "user"]


def test_helpsteer2_preference_reads_sign_strength_and_split():
    rows = read_preferences(published.HELPSTEER2_PREFERENCE).rows
    assert texts(rows) == [("A river?", "The Rhine.", "The Alps."), ("A hill?", "The Alps.", "The Rhine.")]
    assert [row.strength for row in rows] == [3, 1]
    train, card = read_preferences(published.HELPSTEER2_PREFERENCE, split="train")
    assert (len(train), card.dropped) == (1, {"of split validation": 1})
    _, agreed = read_preferences(published.HELPSTEER2_PREFERENCE, drop_if_range=1)
    assert agreed.dropped == {"the annotators disagree": 1}


def test_helpsteer3_reads_0_as_a_tie():
    rows, card = read_preferences(published.HELPSTEER3)
    assert texts(rows)[0] == ("A river?", "The Rhine.", "The Alps.")
    assert [(row.is_tie, row.strength, row.source) for row in rows] == [
        (False, 2, "general/english"),
        (True, None, "code/python"),
    ]
    assert card.strengths == {"2": 1}


def test_skywork_conversations_drop_pairs_of_equal_answers():
    rows, card = read_preferences(published.SKYWORK)
    assert (texts(rows), rows[0].source) == ([("1+1?", "2", "3")], "magpie_ultra")
    assert (card.schema, card.dropped) == ("conversations", {"both answers are the same": 1})


def test_rpr_gives_both_orders_with_their_contexts_and_one_key():
    rows = read_preferences(published.RPR).rows
    assert [(text_of(row.chosen), row.context) for row in rows] == [("Ulm", "small"), ("Rome", "old")]
    assert rows[0].key == rows[1].key == rows[0].contextual().key
    assert "small" in text_of(rows[0].contextual().prompt)
    assert next(r.context for r in read_preferences(published.RPR, form="scenario").rows) == "You need quiet."


def test_explicit_rows_keep_every_field_and_every_other_column():
    record = {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1.5, "weight": 2, "soft_label": 0.1,
              "is_tie": True, "strength": 3, "ratings": {"x": [4, 1]}, "mine": 7}  # fmt: skip
    (row,) = read_preferences([record]).rows
    assert row.record() == record | {"ratings": {"x": [4.0, 1.0]}}
    whole = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    repeated = {"prompt": whole[:1], "chosen": whole, "rejected": [whole[0], {"role": "assistant", "content": "c"}]}
    assert read_preferences([repeated]).rows[0].chosen == whole[1:]


def test_standard_and_conversational_forms_hold_the_same_words():
    (row,) = read_preferences(published.HH[:1]).rows
    assert row.standard().prompt == "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A river?\n\nAssistant: "
    assert row.standard().chosen == "The Rhine."
    (plain,) = read_preferences([{"prompt": "a", "chosen": "b", "rejected": "c"}]).rows
    assert plain.conversational().standard() == plain


def test_math_shepherd_reads_the_label_at_every_step_mark():
    rows, card = read_steps(published.MATH_SHEPHERD)
    assert rows == [StepRow("What is 1+2?", ["Step 1: 1+2=3.", "Step 2: The answer is: 4"], [1.0, 0.0], source="GSM8K")]
    assert card.dropped == {"input and label do not match": 1}
    assert read_steps(published.MATH_SHEPHERD, numbered=False).rows[0].completions[0] == "1+2=3."


def test_prm800k_gives_the_chosen_path_and_every_alternative():
    rows, card = read_steps(published.PRM800K)
    assert rows == [
        StepRow("1+2+3?", ["1+2=3", "Let us go on", "3+3=7"], [1.0, 1.0, 0.0]),
        StepRow("1+2+3?", ["1+2=4"], [0.0]),
        StepRow("2+2?", ["2+2=4"], [1.0]),
        StepRow("2+2?", ["2+2=5"], [0.0]),
    ]
    assert card.dropped == {"a quality-control or screening question": 1}
    assert card.labels == {"0": 3, "1": 3}


@pytest.mark.parametrize(("neutral", "label"), [("right", 1.0), ("wrong", 0.0), ("half", 0.5), ("drop", None)])
def test_prm800k_neutral_steps_become_what_was_asked_for(neutral, label):
    rows = read_steps(published.PRM800K, neutral=neutral, alternatives=False).rows
    assert rows[0].labels[1] == label
    assert len(rows) == 2


def test_a_stepwise_row_needs_a_label_per_step():
    rows, card = read_steps(published.STEPWISE)
    assert rows[0].record() == {"prompt": "1+2?", "completions": ["1+2=3", "So 4"], "labels": [1.0, 0.0]}
    assert card.dropped == {"the numbers of labels and steps differ": 1}


def test_benchmarks_come_in_one_form():
    assert read_benchmark(published.REWARDBENCH).rows == [
        BenchmarkRow("A river?", ["The Rhine."], [""], "alpacaeval-easy", "7",
                     {"chosen_model": "a", "rejected_model": "b"})
    ]  # fmt: skip
    rows, card = read_benchmark(published.REWARDBENCH2)
    assert [(row.item_id, row.subset, len(row.chosen), len(row.rejected)) for row in rows] == [
        ("17", "Factuality", 1, 3),
        ("tied:0", "Ties", 2, 1),
    ]
    assert card.dropped == {"num_correct does not agree with the list": 1}
    (item,) = read_benchmark(published.RM_BENCH).rows
    assert (item.subset, item.chosen[2]) == ("chat", "**The Rhine** is one.")


def test_a_file_a_zipped_file_a_folder_parquet_and_a_dataset_give_the_same_rows(tmp_path):
    expected = read_preferences(published.BINARIZED).rows
    plain = jsonl(tmp_path / "a" / "train.jsonl", published.BINARIZED)
    (tmp_path / "b").mkdir()
    zipped = tmp_path / "b" / "train.jsonl.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    table = Dataset.from_list(published.BINARIZED)
    parquet = tmp_path / "c" / "data" / "train_prefs-00000-of-00001.parquet"
    parquet.parent.mkdir(parents=True)
    table.to_parquet(parquet)
    jsonl(parquet.parent / "test_prefs-00000-of-00001.jsonl", published.SKYWORK)
    DatasetDict({"train_prefs": table}).save_to_disk(tmp_path / "d")
    assert read_preferences(plain).rows == expected
    assert read_preferences(zipped).rows == expected
    assert read_preferences(tmp_path / "a").rows == expected
    assert read_preferences(str(tmp_path / "c"), split="train_prefs").rows == expected
    assert read_preferences(tmp_path / "d", split="train_prefs").rows == expected
    assert read_preferences(table).rows == expected
    assert read_preferences(DatasetDict({"train_prefs": table})).rows == expected


def test_a_hub_name_goes_to_load_dataset(monkeypatch):
    asked = []

    def load_dataset(name, **options):
        asked.append((name, options))
        return Dataset.from_list(published.HH[:1])

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    rows = read_preferences("Anthropic/hh-rlhf", split="test", hub={"data_dir": "helpful-base"}).rows
    assert len(rows) == 1
    assert asked == [("Anthropic/hh-rlhf", {"split": "test", "data_dir": "helpful-base"})]


def test_rows_that_are_zipped_are_read_by_read_rows_too(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"prompt": "a"}\n'))
    assert [row.prompt for row in read_rows(path)] == ["a"]


def test_limit_counts_records():
    rows, card = read_preferences(published.HH, limit=1)
    assert (len(rows), card.n_records) == (1, 1)


def test_a_dataset_has_the_columns_that_any_row_has():
    rows = read_preferences(published.BINARIZED).rows
    table = to_dataset(rows)
    assert table["is_tie"] == [None, True]
    assert table["strength"] == [1.5, None]
    assert table[0]["chosen"] == [{"role": "assistant", "content": "Hi!"}]


@pytest.mark.parametrize(
    ("votes", "options", "expected"),
    [
        ([], {}, None),
        ([2.0], {}, 2.0),
        ([-3, 1, 2, 2], {}, 5 / 3),
        ([3, 3, 3, -3, -3], {}, 3.0),
        ([-3, 0, 3], {"drop_if_range": 1}, None),
        ([1, 2, 2], {"drop_if_range": 1}, 5 / 3),
        ([-1, 0, 3, 3], {"most_similar": 2}, 3.0),
    ],
)
def test_strength_is_the_mean_of_the_closest_votes(votes, options, expected):
    assert strength_from_annotators(votes, **options) == (expected if expected is None else pytest.approx(expected))


def test_what_cannot_be_read_is_counted_and_named():
    broken = [
        *published.NECTAR * 18,
        {"prompt": "\n\nHuman: x\n\nAssistant: ", "answers": 3},
        {"prompt": 4, "answers": []},
    ]
    rows, card = read_preferences(broken)
    assert (len(rows), card.n_records) == (18, 20)
    assert Counter(name.split(":")[0] for name in card.dropped) == {"unreadable": 1, "no transcript but a number": 1}


@pytest.mark.parametrize(
    ("source", "options", "kind", "message"),
    [
        ([], {}, RowsError, "read_preferences: there are no records. Check the file"),
        ([3], {}, RowsError, "a record is a int. Each must be an object"),
        ([{"a": 1}], {}, RowsError, "columns a fit none of the schemas ultrafeedback, .* Rename them"),
        (published.HH, {"schema": "hh"}, ValueError, "schema 'hh' is none of .* Choose one"),
        (published.HH, {"pairs": "all"}, ValueError, "schema hh_rlhf has no option pairs. It has none"),
        (published.NECTAR, {"pairs": "some"}, ValueError, "read_preferences: pairs is 'some', .* Choose one"),
        (published.HH[1:], {}, RowsError, "none of 2 records of list gives a row as hh_rlhf .* Check the schema"),
        (
            [*published.NECTAR * 17, *[{"prompt": 4, "answers": []}] * 2],
            {},
            RowsError,
            r"2 of 19 records of list are broken as nectar \(2 × no transcript but a number, first in record 18\)\. Mo",
        ),
        ("no/such.jsonl", {}, RowsError, "read_preferences: there is no file no/such.jsonl"),
    ],
)
def test_refusals_say_what_to_do(source, options, kind, message):
    with pytest.raises(kind, match=message):
        read_preferences(source, **options)


def test_a_folder_without_the_split_and_an_unreachable_hub_are_refused(tmp_path, monkeypatch):
    jsonl(tmp_path / "train.jsonl", published.HH)
    with pytest.raises(RowsError, match=r"holds no data of split 'test' .*found: train.jsonl.* Pass the folder"):
        read_preferences(tmp_path, split="test")
    with pytest.raises(RowsError, match=r"split 'x' is none of train. Name one"):
        read_preferences(DatasetDict({"train": Dataset.from_list(published.HH)}), split="x")

    def offline(name, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", offline)
    with pytest.raises(RowsError, match=r"there is no file or folder owner/name, and the hub .*no route.*local"):
        read_preferences("owner/name")
