"""score_file on this machine: what it writes, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from tests.engines.scoring_jobs import asked, environment, expected, on_disk, read, reward_file, rows_file

from rewardsmith.errors import RewardsmithError, RowsError, TargetError
from rewardsmith.rewards import LocalEngine, score_file

HERE = LocalEngine(0)


def paid(completions, **columns):
    return [float(len(completion)) for completion in completions]


def jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("block_size", [1, 7, 100, 1000])
def test_rows_come_back_in_order_with_a_reward_or_a_reason(tmp_path, block_size):
    rows, reward = rows_file(tmp_path), f"{reward_file(tmp_path)}:remainder"
    found = score_file(rows, reward, tmp_path / "out.jsonl", engine=HERE, block_size=block_size)
    assert read(found.out) == expected(rows)
    assert (found.n_rows, found.n_scored, found.unscored, found.n_found) == (100, 90, {"none": 10}, 0)
    assert asked(tmp_path) == {str(i): 1 for i in range(100)}
    parts = tmp_path / "out.jsonl.parts"
    assert len(list(parts.iterdir())) == 1 + -(-100 // block_size)  # the journals are gone


def test_done_it_scores_nothing_and_says_the_same(tmp_path):
    rows, reward = rows_file(tmp_path), f"{reward_file(tmp_path)}:remainder"
    first = score_file(rows, reward, tmp_path / "out.jsonl", engine=HERE, block_size=30)
    text = first.out.read_text()
    again = score_file(rows, reward, tmp_path / "out.jsonl", engine=HERE, block_size=30)
    assert again[:4] == first[:4]
    assert again.n_found == 100
    first.out.unlink()
    score_file(rows, reward, tmp_path / "out.jsonl", engine=HERE, block_size=30)
    assert first.out.read_text() == text
    assert set(asked(tmp_path).values()) == {1}


def test_a_reward_that_breaks_off_is_asked_only_what_is_missing(tmp_path):
    calls = []

    def breaks(completions, **columns):
        calls.extend(completions)
        if "57" in completions and calls.count("57") == 1:
            raise KeyboardInterrupt
        return [float(c) for c in completions]

    rows = rows_file(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        score_file(rows, breaks, tmp_path / "out.jsonl", engine=HERE, block_size=40, batch_size=4)
    assert not (tmp_path / "out.jsonl").exists()
    found = score_file(rows, breaks, tmp_path / "out.jsonl", engine=HERE, block_size=40, batch_size=4)
    assert found.n_found == 40
    assert [row["reward"] for row in read(found.out)] == [float(i) for i in range(100)]
    twice = {completion for completion in calls if calls.count(completion) == 2}
    assert twice == {"56", "57", "58", "59"}  # the batch that was not finished


@pytest.mark.slow
def test_killed_at_the_shell_the_same_command_scores_only_what_is_missing(tmp_path):
    rows, spec, out = rows_file(tmp_path, 120), f"{reward_file(tmp_path)}:remainder", tmp_path / "out.jsonl"
    command = [sys.executable, "-c", "from rewardsmith.cli import main; main()", "score", rows, "--reward", spec,
               "--out", out, "--workers", "2", "--batch-size", "2", "--block-size", "20", "--json"]  # fmt: skip
    first = subprocess.Popen(
        command, env=environment(SCORING_DELAY="0.1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while sum(asked(tmp_path).values()) < 60:
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    parts = tmp_path / "out.jsonl.parts"
    finished = {line for part in parts.glob("*.json") for line in _lines(rows, int(part.stem) * 20, 20)}
    assert not out.exists()
    assert len(finished) >= 20
    assert len(on_disk(parts, rows, 20)) >= 40
    before = sum(asked(tmp_path).values())
    again = subprocess.run(command, env=environment(), capture_output=True, check=True, timeout=60)
    summary = json.loads(again.stdout)
    assert (summary["n_rows"], summary["n_scored"], summary["n_found"]) == (120, 108, len(finished))
    assert read(out) == expected(rows)
    counts = asked(tmp_path)
    assert all(counts[completion] == 1 for completion in finished)
    assert set(counts) == {str(i) for i in range(120)}
    assert sum(counts.values()) <= 120 + 2 * 3 * 2  # what ran or waited in two workers, or was not yet written
    assert sum(counts.values()) - before < 120 - 40


def _lines(rows, start, n):
    return [json.loads(line)["completion"] for line in rows.read_text().splitlines()[start : start + n]]


def test_parquet_keeps_the_columns_and_their_types_and_null_is_null(tmp_path):
    records = [{"prompt": "p", "completion": "a" * i, "tags": ["x"] * i, "n": i if i > 3 else None,
                "late": None if i < 5 else {"k": 1}} for i in range(8)]  # fmt: skip
    rows = jsonl(tmp_path / "rows.jsonl", records)

    def odd(completions, **columns):
        return [float(len(c)) if len(c) % 2 else None for c in completions]

    found = score_file(rows, odd, tmp_path / "out.parquet", engine=HERE, block_size=2)
    table = pq.read_table(found.out)
    assert table.column_names == ["prompt", "completion", "tags", "n", "late", "reward", "reason"]
    assert table["reward"].to_pylist() == [None, 1.0, None, 3.0, None, 5.0, None, 7.0]
    assert table["reward"].null_count == 4  # null, not NaN
    assert table.drop(["reward", "reason"]).to_pylist() == records
    found.out.rename(tmp_path / "in.parquet")
    with pytest.raises(RowsError, match="has a column `reward` already"):
        score_file(tmp_path / "in.parquet", odd, tmp_path / "again.jsonl", engine=HERE)


def test_rows_that_fit_no_table_keep_their_scores_under_another_name(tmp_path):
    records = [{"prompt": "p", "completion": "a", "odd": 1}, {"prompt": "p", "completion": "b", "odd": {"k": 1}}]
    rows, calls = jsonl(tmp_path / "rows.jsonl", records), []

    def counted(completions, **columns):
        calls.extend(completions)
        return [1.0] * len(completions)

    with pytest.raises(RewardsmithError, match=r"fit no Parquet table .* Rename o\.parquet\.parts to o\.jsonl\.parts"):
        score_file(rows, counted, tmp_path / "o.parquet", engine=HERE, block_size=1)
    (tmp_path / "o.parquet.parts").rename(tmp_path / "o.jsonl.parts")
    found = score_file(rows, counted, tmp_path / "o.jsonl", engine=HERE, block_size=1)
    assert [row["odd"] for row in read(found.out)] == [1, {"k": 1}]
    assert calls == ["a", "b"]


def test_a_column_that_some_blocks_lack_is_none_there_as_in_one_block(tmp_path):
    records = [{"prompt": "p", "completion": str(i), **({"bonus": 2.0} if i > 5 else {})} for i in range(8)]
    rows = jsonl(tmp_path / "rows.jsonl", records)

    def with_bonus(completions, bonus):
        return [float(c) + (b or 0) for c, b in zip(completions, bonus, strict=True)]

    for size in (2, 100):
        found = score_file(rows, with_bonus, tmp_path / f"{size}.jsonl", engine=HERE, block_size=size)
        assert [row["reward"] for row in read(found.out)] == [0, 1, 2, 3, 4, 5, 8, 9]
        assert "bonus" not in read(found.out)[0]


def test_messages_are_given_where_they_are_asked_for(tmp_path):
    def reads_messages(completions, **columns):
        return [float(len(c[0]["content"])) for c in completions]

    rows = jsonl(tmp_path / "rows.jsonl", [{"prompt": "p", "completion": "four"}])
    plain = score_file(rows, reads_messages, tmp_path / "a.jsonl", engine=HERE)
    assert (plain.n_scored, plain.unscored) == (0, {"exception": 1})
    assert read(plain.out)[0]["reason"].startswith("exception: TypeError: ")
    turned = score_file(rows, reads_messages, tmp_path / "b.jsonl", engine=HERE, conversational=True)
    assert read(turned.out) == [{"prompt": "p", "completion": "four", "reward": 4.0, "reason": None}]


def test_another_job_and_other_rows_are_refused(tmp_path):
    rows, out = rows_file(tmp_path, 10), tmp_path / "out.jsonl"
    score_file(rows, paid, out, engine=HERE, block_size=4)
    with pytest.raises(RewardsmithError, match=r"belongs to another job \(batch_size was 16, now 3\)"):
        score_file(rows, paid, out, engine=HERE, block_size=4, batch_size=3)
    rows_file(tmp_path, 11)
    with pytest.raises(RewardsmithError, match=r"belongs to another job \(rows was '\w+', now '\w+'\)"):
        score_file(rows, paid, out, engine=HERE, block_size=4)


def test_a_part_of_other_rows_is_refused(tmp_path):
    rows, out = rows_file(tmp_path, 8), tmp_path / "out.jsonl"
    score_file(rows, paid, out, engine=HERE, block_size=4)
    out.unlink()
    parts = tmp_path / "out.jsonl.parts"
    (parts / "0000000.json").write_bytes((parts / "0000001.json").read_bytes())
    with pytest.raises(RewardsmithError, match=r"0000000\.json holds results of other rows\. Delete it to score them"):
        score_file(rows, paid, out, engine=HERE, block_size=4)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], r"score_file: .*rows\.jsonl holds no rows\. Each row needs a `prompt` and a `completion`"),
        (
            [{"prompt": "p"}, {"prompt": "p", "completion": [{"role": "assistant", "tool_calls": []}]}],
            r"score_file: none of the 2 rows of .*rows\.jsonl has a `completion` with text\. Rename the column",
        ),
        ([{"completion": "c"}], r"score_file: row 1 of .*rows\.jsonl has no usable `prompt` \(columns: completion\)"),
        (
            [{"prompt": "p", "completion": "c"}] * 3 + [{"prompt": "p", "completion": "c", "reason": "r"}],
            r"row 4 of .*rows\.jsonl has a column `reason` already, which scoring adds\. Rename it",
        ),
    ],
)
def test_rows_that_cannot_be_scored_are_refused_before_anything_is_scored(tmp_path, records, message):
    rows = jsonl(tmp_path / "rows.jsonl", records)
    with pytest.raises(RowsError, match=message):
        score_file(rows, paid, tmp_path / "out.jsonl", engine=HERE, block_size=2)


def test_options_that_cannot_be_are_refused(tmp_path):
    rows = rows_file(tmp_path, 2)
    with pytest.raises(ValueError, match=r"out\.csv ends in '\.csv'\. Name a \.jsonl or a \.parquet file"):
        score_file(rows, paid, tmp_path / "out.csv")
    with pytest.raises(ValueError, match=r"block_size is 0, which cannot be\. Pass at least 1"):
        score_file(rows, paid, tmp_path / "out.jsonl", block_size=0)
    with pytest.raises(RewardsmithError, match=r"rows\.jsonl exists and is of no job that can be continued\. Re"):
        score_file(rows, paid, rows)
    with pytest.raises(TargetError, match=r"requires `key`, which no column can fill"):
        score_file(rows, lambda completions, key: [], tmp_path / "out.jsonl")
