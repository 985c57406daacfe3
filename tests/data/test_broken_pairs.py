"""Pairs with mistakes are counted and named, refused where they are many, and never taken for bare prompts."""

import contextlib
import json
import math
from itertools import product

import pandas as pd
import pytest
from typer.testing import CliRunner

from rewardsmith.auditing import audit
from rewardsmith.cli import app
from rewardsmith.data import PreferenceRow, Row, read_benchmark, read_preferences, read_ratings, read_steps
from rewardsmith.data.readers import (
    BENCHMARK_SCHEMAS,
    PREFERENCE_SCHEMAS,
    RATING_SCHEMAS,
    STEP_SCHEMAS,
    read_rows_or_pairs,
)
from rewardsmith.errors import RowsError

PAIR = {"prompt": "Name a color.", "chosen": "Blue.", "rejected": "No idea."}
USER = {"role": "user", "content": "Name a color."}


def said(text):
    return [{"role": "assistant", "content": text}]


BROKEN = [
    ({**PAIR, "chosen": None}, "`chosen` is null"),
    ({**PAIR, "chosen": float("nan")}, "`chosen` is null"),
    ({**PAIR, "chosen": 3}, "`chosen` is a number"),
    ({**PAIR, "rejected": None}, "`rejected` is null"),
    ({**PAIR, "rejected": []}, "`rejected` is an empty list"),
    ({**PAIR, "prompt": None}, "`prompt` is null"),
    ({**PAIR, "rejected": {"text": "No idea."}}, "`rejected` is a dict"),
    ({**PAIR, "chosen": [{"role": "assistant", "content": None}]}, "an answer or prompt is null"),
    ({**PAIR, "chosen": [{"content": "Blue."}]}, "a message without role or content"),
    ({**PAIR, "rejected": ""}, "an empty answer"),
    ({"prompt": "Name a color.", "chosen": "Blue."}, "`rejected` is missing"),
    ({"prompt": "Name a color."}, "`chosen` is missing"),
]


@pytest.mark.parametrize(("broken", "why"), BROKEN, ids=[why for _, why in BROKEN])
def test_a_few_are_left_out_and_named_and_many_are_refused(tmp_path, broken, why):
    few = [{**PAIR, "prompt": f"Color {n}?"} for n in range(9)]
    few.insert(2, broken)  # one in ten is not more than a tenth
    rows, note = read_rows_or_pairs(few)
    assert [type(row) for row in rows] == [PreferenceRow] * 9
    assert note == f"1 of 10 records of list are left out: 1 × {why}, first in record 3."
    with pytest.raises(RowsError, match=r"1 of 9 records of list are broken as explicit .*More than 10% is too many"):
        read_rows_or_pairs(few[:9])
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in few[:3]))
    done = CliRunner().invoke(app, ["audit", "rewardsmith.rewards:exact_text", str(path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"Error: read_preferences: 1 of 3 records of {path} are broken as explicit (1 × {why}, first in record 3)"
    )


@pytest.mark.parametrize("broken", [record for record, _ in BROKEN[:-1]], ids=[why for _, why in BROKEN[:-1]])
def test_a_column_chosen_or_rejected_is_never_read_as_bare_prompts(broken):
    with pytest.raises(RowsError, match=r"read_preferences: .*(none of 4 records|columns prompt, chosen fit none)"):
        read_rows_or_pairs([broken] * 4)


def test_a_column_without_its_other_half_anywhere_is_refused_with_the_names_it_should_have():
    with pytest.raises(RowsError, match=r"columns prompt, rejected fit none of the schemas .*explicit.* Rename them"):
        read_rows_or_pairs([{"prompt": "q", "rejected": "a"}] * 3)


def test_pairs_after_many_other_rows_are_refused_too():
    mixed = [{"prompt": f"q{n}"} for n in range(300)] + [PAIR]
    with pytest.raises(RowsError, match=r"row 301 of list has a column `chosen` or `rejected`, but row 1 has not"):
        read_rows_or_pairs(mixed)
    assert len(read_rows_or_pairs(mixed, limit=300).rows) == 300


def test_half_of_another_schema_is_refused():
    other = {"instruction": "q", "completions": []}
    with pytest.raises(RowsError, match=r"5 of 10 records of list are broken as explicit \(5 × `"):
        read_preferences([PAIR, other] * 5)


def test_what_a_schema_leaves_out_by_choice_is_not_broken():
    same = {**PAIR, "rejected": "Blue."}
    rows, note = read_rows_or_pairs([same] * 3 + [PAIR])
    assert (len(rows), note) == (
        1,
        "3 of 4 records of list are left out: 3 × both answers are the same, first in record 1.",
    )
    split = [{**PAIR, "split": "test"}] * 20 + [{**PAIR, "split": "train"}, {**PAIR, "chosen": None, "split": "train"}]
    with pytest.raises(RowsError, match=r"1 of 2 records of list are broken"):
        read_preferences(split, split="train")


def test_several_accepted_answers_are_rows_and_not_nectar():
    rows, _ = read_rows_or_pairs([{"prompt": "q", "answers": ["a", "b"]}])
    assert rows == [Row("q", columns={name: ["a", "b"] for name in ("answers", "answer")}, answer_column="answers")]
    assert read_rows_or_pairs(pd.DataFrame([PAIR])).rows[0].chosen == "Blue."


ODD = [
    *(None, 3, math.nan, True, "", "text", "\n\nHuman: Hi\n\nAssistant: x", [], {}, [USER], said("a"), [1], ["a", "b"]),
    *({"a": 1}, [None], [[]], [{"content": 5, "role": "x"}], [{"role": "assistant"}], "N/A", -1, 10**400),
    *([{"role": "assistant", "content": [{"type": "text", "text": None}]}], [{"rank": 1, "answer": "x"}]),
]
OPTIONAL = ("split", "source", "context", "ratings", "strength", "prompt_id", "is_tie", "margin", "domain", "subset")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "schemas"),
    [
        (read_preferences, PREFERENCE_SCHEMAS),
        (read_rows_or_pairs, PREFERENCE_SCHEMAS),
        (read_ratings, RATING_SCHEMAS),
        (read_steps, STEP_SCHEMAS),
        (read_benchmark, BENCHMARK_SCHEMAS),
    ],
)
def test_any_value_in_any_column_gives_rows_or_says_what_is_wrong(read, schemas):
    for schema in schemas:
        whole = {name: f"some {name}" for name in schema.columns}
        for name, value in product((*schema.columns, *OPTIONAL), ODD):
            with contextlib.suppress(RowsError):
                read([{**whole, name: value}, {**PAIR, name: value}])


SHAPES = [
    ("Name a color.", [USER, *said("Blue.")], [USER, *said("No idea.")], [USER]),
    ("Name a color. ", [USER, *said("Blue.")], [USER, *said("No idea.")], [USER]),
    ("Name a color.", said("Blue."), said("No idea."), [USER]),
    ([USER], "Blue.", "No idea.", [USER]),
    ([USER], [USER, *said("Blue.")], "No idea.", [USER]),
    (
        "Name a color.",
        [{"role": "system", "content": "Be brief."}, USER, *said("Blue.")],
        [{"role": "system", "content": "Be brief."}, USER, *said("No idea.")],
        [{"role": "system", "content": "Be brief."}, USER],
    ),
    (
        "Name a color.",
        [USER, *said("Red."), {"role": "user", "content": "Another."}, *said("Blue.")],
        [USER, *said("Red."), {"role": "user", "content": "Another."}, *said("No idea.")],
        [USER, *said("Red."), {"role": "user", "content": "Another."}],
    ),
]


@pytest.mark.parametrize(("prompt", "chosen", "rejected", "asked"), SHAPES)
def test_a_string_prompt_with_conversation_answers_is_a_pair(prompt, chosen, rejected, asked):
    record = {"source": "toy", "prompt": prompt, "chosen": chosen, "rejected": rejected, "chosen-rating": 5.0}
    (row,) = read_rows_or_pairs([record]).rows
    assert (row.prompt, row.chosen, row.rejected) == (asked, said("Blue."), said("No idea."))
    assert (row.source, dict(row.columns)) == ("toy", {"chosen-rating": 5.0})


def test_an_audit_in_python_warns_of_what_was_left_out():
    records = [{**PAIR, "chosen": None}, *[{**PAIR, "prompt": f"Color {n}?"} for n in range(12)]]

    def liked(completions, **columns):
        return [float("Blue" in completion) for completion in completions]

    with pytest.warns(UserWarning, match=r"1 of 13 records of list are left out: 1 × `chosen` is null"):
        assert audit(liked, records, budget=50, workers=0).n_rows == 12


def test_a_mistyped_folder_is_named_and_no_hub_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *names, **options: pytest.fail("the hub was asked"))
    for source in ("nofolder", "./no/folder", str(tmp_path / "no"), tmp_path / "no"):
        with pytest.raises(RowsError, match=rf"there is no file or folder {source}\. Give a file \(\.jsonl"):
            read_rows_or_pairs(source)
