"""Rows come in as JSONL, JSON, Parquet, CSV, datasets or mappings, and bad ones say what is wrong."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from rewardsmith.data import Row, completion_text, read_rows, text_of
from rewardsmith.data.rows import has_text
from rewardsmith.errors import RowsError
from rewardsmith.rewards import exact_number

RECORDS = [{"prompt": "2+2=", "answer": "4", "level": "1"}, {"prompt": "3+5=", "answer": "8", "level": "2"}]
CHAT = [{"role": "user", "content": "2+2="}]


def written(tmp_path, kind):
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(record) for record in RECORDS) + "\n\n")
    elif kind == "json":
        path.write_text(json.dumps(RECORDS))
    elif kind == "csv":
        path.write_text("prompt,answer,level\n2+2=,4,1\n3+5=,8,2\n")
    else:
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_every_file_kind_gives_the_same_rows(tmp_path, kind):
    rows = read_rows(written(tmp_path, kind))
    assert [(row.prompt, row.answer, dict(row.columns)["level"]) for row in rows] == [
        ("2+2=", "4", "1"),
        ("3+5=", "8", "2"),
    ]


def test_a_dataset_and_a_list_of_mappings_are_read_alike():
    assert read_rows(Dataset.from_list(RECORDS)) == read_rows(RECORDS)


def test_limit_stops_early():
    assert len(read_rows(RECORDS, limit=1)) == 1


@pytest.mark.parametrize("name", ["solution", "ground_truth", "label", "target", "reference"])
def test_a_published_name_of_the_answer_is_also_answer(name):
    (row,) = read_rows([{"prompt": "p", name: "7"}])
    assert row.answer == "7"
    assert row.columns[name] == "7"


def test_headers_are_compared_without_case_spaces_and_underscores(tmp_path):
    (tmp_path / "rows.csv").write_text("Question,Final Answer,Note\n2+2?,4,easy\n")
    (row,) = read_rows(tmp_path / "rows.csv")
    assert (row.prompt_text, row.answer, row.columns["Note"]) == ("2+2?", "4", "easy")
    assert row.columns["Final Answer"] == "4"  # for a reward or an option that names it as given
    (row,) = read_rows([{"prompt": "2+2?", "answer": "4", "Answer": "5", "PROMPT": "no"}])
    assert (row.prompt, row.answer) == ("2+2?", "4")  # a column of the very name comes first


def test_verls_schema_gives_its_ground_truth_as_answer():
    (row,) = read_rows([{"prompt": CHAT, "reward_model": {"style": "rule", "ground_truth": "4"}, "data_source": "x"}])
    assert row.answer == "4"


def test_conversational_rows_stay_conversational():
    (row,) = read_rows([{"prompt": CHAT, "completion": [{"role": "assistant", "content": "4"}]}])
    assert row.text == "4"
    assert row.with_completion("5").completion == [{"role": "assistant", "content": "5"}]
    assert row.prompt_text == "2+2="


def test_conversational_turns_strings_into_messages_and_keeps_messages():
    turned = Row("2+2=", "4", {"answer": "4"}).conversational()
    assert (turned.prompt, turned.completion) == (CHAT, [{"role": "assistant", "content": "4"}])
    assert turned.conversational() == turned


def test_text_of_multimodal_parts_is_their_text():
    parts = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what is it?"}]}]
    assert text_of(parts) == "what is it?"
    assert text_of(None) == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jsonl", None, r"read_rows: there is no file .*missing\.jsonl\. Give a \.jsonl"),
        ("rows.txt", "x", r"ends in '\.txt', which is none of .*Convert it to one"),
        ("rows.jsonl", '{"prompt": "a"}\n{broken', r"line 2 of .*rows\.jsonl is not JSON"),
        ("rows.json", '{"prompt": "a"}', r"holds a dict\. It must be one list of objects"),
        ("rows.json", "{", r"is not JSON .* It must be one list of objects"),
        ("rows.parquet", "no parquet", r"is not Parquet"),
        ("rows.jsonl", "\n", r"holds no rows\. Each row needs at least a `prompt`"),
        ("rows.jsonl", "[1]", r"row 1 of .* is a list\. It must be an object"),
        ("rows.jsonl", '{"text": "a"}', r"row 1 of .*has no usable `prompt` \(columns: text\)\. .* `--prompt-column`"),
    ],
)
def test_what_cannot_be_read_says_where_and_what_to_do(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(RowsError, match=message):
        read_rows(path)


SAYS, TOOL = (lambda text, role=role: {"role": role, "content": text} for role in ("assistant", "tool"))


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([SAYS("I do not know."), TOOL("The answer is 4")], "I do not know."),
        ([SAYS("The answer is 4"), TOOL("The answer is 5")], "The answer is 4"),
        ([SAYS("1"), TOOL("2"), SAYS("4")], "4"),
        ([SAYS("Step 1."), SAYS("The answer is 4")], "Step 1.\nThe answer is 4"),
        ([{"content": "4"}], "4"),
        ([TOOL("4")], ""),
        (None, ""),
        (4, ""),
    ],
)
def test_only_what_the_assistant_says_last_is_its_answer(messages, text):
    assert completion_text(messages) == text


def test_what_a_tool_says_is_neither_paid_nor_charged():
    rows = [[SAYS("I give up."), TOOL("The answer is 4")], [SAYS("1"), TOOL("2"), SAYS("4")]]
    assert exact_number(rows, ["4", "4"]) == [0.0, 1.0]
    assert not has_text([{"role": "assistant", "tool_calls": []}, TOOL("4")])
