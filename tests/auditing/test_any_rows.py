"""Rows of every kind give the same report at the command line and in Python."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rewardsmith.auditing import audit
from rewardsmith.auditing.columns_read import reads_answers
from rewardsmith.auditing.render.write import strict_json
from rewardsmith.cli import app
from rewardsmith.data import read_rows
from rewardsmith.errors import RowsError
from rewardsmith.rewards import exact_number
from rewardsmith.scoring import as_target, load_target

RECORDS = [{"question": f"What is 2+{n}?", "key": str(n + 2), "split": "test"} for n in range(3, 9)]
OTHERS = [{"question": "Not of this split", "key": "n/a", "split": "train"}]
KINDS = ("jsonl", "json", "csv", "parquet", "arrow", "stream", "folder", "saved", "splits", "hub", "Dataset", "list")


SPLIT = {"split": "test"}
PARTS = {"jsonl": SPLIT, "folder": SPLIT, "splits": SPLIT, "hub": {"config": "main", "revision": "v2", **SPLIT}}


def written(kind, tmp_path):
    """Return the records as one kind of source, with the options that select them."""
    path = tmp_path / f"rows.{'arrow' if kind == 'stream' else kind}"
    table, saved = pa.Table.from_pylist(RECORDS), datasets.Dataset.from_list(RECORDS)
    if kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in OTHERS + RECORDS))
    elif kind == "json":
        path.write_text(json.dumps(RECORDS))
    elif kind == "csv":
        path.write_text("question,key,split\n" + "".join(f"{','.join(record.values())}\n" for record in RECORDS))
    elif kind == "parquet":
        pq.write_table(table, path)
    elif kind in ("arrow", "stream"):
        writer = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as file, writer(file, table.schema) as out:
            out.write_table(table)
    elif kind == "folder":
        path.mkdir()
        pq.write_table(pa.Table.from_pylist(OTHERS), path / "train-00000-of-00001.parquet")
        pq.write_table(table, path / "test-00000-of-00001.parquet")
    elif kind == "saved":
        saved.save_to_disk(path)
    elif kind == "splits":
        datasets.DatasetDict({"train": datasets.Dataset.from_list(OTHERS), "test": saved}).save_to_disk(path)
    source = {"hub": "toy/sums", "Dataset": saved, "list": RECORDS}.get(kind, path)
    return source, PARTS.get(kind, {})


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the hub: one data set, whose rows depend on everything that is asked for."""

    def load_dataset(path, split=None, **how):
        assert (path, split, how) == ("toy/sums", "test", {"name": "main", "revision": "v2"})
        return datasets.Dataset.from_list(RECORDS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_kind_are_read_as_the_same_rows(kind, tmp_path, hub):
    source, part = written(kind, tmp_path)
    assert read_rows(source, answer_column="key", **part) == read_rows(RECORDS, answer_column="key")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_kind_give_the_same_report_at_the_shell_and_in_python(kind, tmp_path, hub):
    code = "def f(completions, answer, **columns):\n    return [float(a in c) for c, a in zip(completions, answer)]\n"
    (tmp_path / "flawed.py").write_text(code)
    name = f"{tmp_path}/flawed.py:f"
    source, part = written(kind, tmp_path)
    reading, options = {"answer_column": "key", **part}, {"budget": 500, "workers": 0}

    def told(record):
        """Return a report without times, and without the command that made it."""
        provenance = record.pop("provenance")
        del record["seconds"]
        record.pop("estimate", None)  # the command asks for one
        record["observations"] = [found for found in record["observations"] if found["probe"] != "latency"]
        return json.loads(strict_json(record)), provenance["rows_digest"], provenance["reward_digests"]

    right = told(audit(load_target(name), RECORDS, answer_column="key", **options).as_json())
    assert right[0]["verdict"] == "findings"
    assert told(audit(load_target(name), source, **reading, **options).as_json()) == right
    if kind in ("Dataset", "list"):
        return
    command = ["audit", name, str(source), "--out", str(tmp_path / "out"), "--budget", "500", "--workers", "0"]
    named = [word for option, value in reading.items() for word in (f"--{option.replace('_', '-')}", value)]
    done = CliRunner().invoke(app, [*command, *named])
    assert done.exit_code == 1, done.output
    assert told(json.loads((tmp_path / "out" / "report.json").read_text())) == right


@pytest.mark.slow
@pytest.mark.parametrize("command", ["audit", "score"])
def test_options_of_rows_reach_both_commands(command, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"problem": "2+5?", "query": "3?", "answer": "7", "said": "7", "key": "8"}))
    out = ["--reward", "rewardsmith.rewards:exact_number", "--out", str(tmp_path / "out.jsonl"), "--workers", "0"]
    words = (
        ["score", str(rows), *out] if command == "score" else ["audit", "rewardsmith.rewards:exact_number", str(rows)]
    )
    done = CliRunner().invoke(app, [*words, "--completion-column", "said"])
    assert done.exit_code == 2
    assert "differ: problem, query. Name one with `--prompt-column`" in done.output.replace("\n", " ")
    done = CliRunner().invoke(app, [*words, "--prompt-column", "query", "--answer-column", "no.such"])
    assert done.exit_code == 2
    done = CliRunner().invoke(app, [*words, "--revision", "v1"])
    assert "is not on the hub, so it has no revision" in done.output.replace("\n", " ")
    if command == "score":
        done = CliRunner().invoke(app, [*words, "--prompt-column", "query", "--completion-column", "said"])
        assert json.loads((tmp_path / "out.jsonl").read_text())["reward"] == 1.0, done.output


def hands_on(completions, **columns):
    return exact_number(completions, **columns)


def looks_up(completions, final, **columns):
    return [float(key in text) for key, text in zip(final, completions, strict=True)]


def style(completions, **columns):
    return [float(len(text)) for text in completions]


def test_the_column_in_which_the_reader_finds_the_answer_is_one_that_a_reward_reads():
    rows = read_rows([{"prompt": "p", "final": "7"}], answer_column="final")
    unread = read_rows([{"prompt": "p", "ground_truth": {"target": 7, "numbers": [3, 4]}}])
    for reward, given, reads in (
        (looks_up, rows, True),
        (looks_up, [], False),
        (hands_on, rows, True),
        (hands_on, unread, True),
        (hands_on, read_rows([{"prompt": "p"}]), False),
        (style, unread, False),
    ):
        assert reads_answers(as_target(reward), given) is reads


def test_options_without_rows_are_refused():
    with pytest.raises(RowsError, match=r"audit: split is given without rows\. Name the rows, or leave it out"):
        audit(exact_number, split="test")


def test_a_damaged_arrow_file_is_named(tmp_path):
    (tmp_path / "rows.arrow").write_bytes(b"ARROW1 no more")
    with pytest.raises(
        RowsError, match=r"read_rows: .*rows\.arrow is not Arrow, or damaged after row 0 \(.*\. Write it"
    ):
        read_rows(tmp_path / "rows.arrow")
