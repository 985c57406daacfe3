"""score_file on this machine: what it writes, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import weakref

import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from tests.engines.scoring_jobs import asked, environment, expected, on_disk, read, reward_file, rows_file

from rewardsmith.data.rows import as_row
from rewardsmith.errors import RewardsmithError, RowsError, TargetError
from rewardsmith.scoring import LocalEngine, score_file
from rewardsmith.scoring.blocks import Parts
from rewardsmith.scoring.calling import Unscored
from rewardsmith.scoring.work import Scored

HERE = LocalEngine(0)


def paid(completions, **columns):
    return [float(len(completion)) for completion in completions]


def jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.slow
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


@pytest.mark.slow
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
    with pytest.raises(RowsError, match="already has a column `reward`"):
        score_file(tmp_path / "in.parquet", odd, tmp_path / "again.jsonl", engine=HERE)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_column_that_some_blocks_lack_is_none_there_as_in_one_block(tmp_path):
    records = [{"prompt": "p", "completion": str(i), **({"bonus": 2.0} if i > 5 else {})} for i in range(8)]
    rows = jsonl(tmp_path / "rows.jsonl", records)

    def with_bonus(completions, bonus):
        return [float(c) + (b or 0) for c, b in zip(completions, bonus, strict=True)]

    for size in (2, 100):
        found = score_file(rows, with_bonus, tmp_path / f"{size}.jsonl", engine=HERE, block_size=size)
        assert [row["reward"] for row in read(found.out)] == [0, 1, 2, 3, 4, 5, 8, 9]
        assert "bonus" not in read(found.out)[0]


@pytest.mark.slow
def test_messages_are_given_where_they_are_asked_for_or_where_strings_all_fail(tmp_path):
    def reads_messages(completions, **columns):
        return [float(len(c[0]["content"])) for c in completions]

    def reads_strings(completions, **columns):
        return [float(len(c.strip())) for c in completions]

    def reads_either(completions, **columns):
        return [float(len(c)) for c in completions]

    records = [{"prompt": "p", "completion": "four"}, {"prompt": "p", "completion": None}]
    rows = jsonl(tmp_path / "rows.jsonl", records)
    chat = [{"role": "assistant", "content": "four"}]
    talks = jsonl(tmp_path / "talks.jsonl", [{"prompt": chat, "completion": chat}])
    for k, (file, reward, options, right) in enumerate(
        [
            (rows, reads_messages, {"conversational": True}, 4.0),
            (rows, reads_messages, {}, 4.0),
            (rows, reads_either, {}, 4.0),
            (rows, reads_either, {"conversational": True}, 1.0),
            (talks, reads_strings, {}, 4.0),
            (talks, reads_messages, {}, 4.0),
        ]
    ):
        found = read(score_file(file, reward, tmp_path / f"{k}.jsonl", engine=HERE, **options).out)
        assert [row["reward"] for row in found] == [right, None][: len(found)], k
    assert read(tmp_path / "1.jsonl")[0] == {**records[0], "reward": 4.0, "reason": None}


@pytest.mark.slow
def test_another_job_and_other_rows_are_refused(tmp_path):
    rows, out = rows_file(tmp_path, 10), tmp_path / "out.jsonl"
    score_file(rows, paid, out, engine=HERE, block_size=4)
    with pytest.raises(RewardsmithError, match=r"belongs to another job \(batch_size was 16, now 3\)"):
        score_file(rows, paid, out, engine=HERE, block_size=4, batch_size=3)
    rows_file(tmp_path, 11)
    with pytest.raises(
        RewardsmithError, match=r"belongs to another job \(the rows have changed\)\. Delete "
    ) as refused:
        score_file(rows, paid, out, engine=HERE, block_size=4)
    assert f"Delete {out} and the folder {out}.parts to score anew, or choose another output." in str(refused.value)
    out.unlink()
    shutil.rmtree(f"{out}.parts")
    assert score_file(rows, paid, out, engine=HERE, block_size=4).n_scored == 11


@pytest.mark.slow
def test_rows_in_hand_are_scored_as_those_of_a_file(tmp_path):
    rows = rows_file(tmp_path, 10)
    records = read(rows)
    wanted = read(score_file(rows, paid, tmp_path / "0.jsonl", engine=HERE).out)
    as_given = (
        records,
        tuple(records),
        iter(records),
        Dataset.from_list(records),
        [as_row(r, where="") for r in records],
    )
    for k, given in enumerate(as_given, 1):
        found = read(score_file(given, paid, tmp_path / f"{k}.jsonl", engine=HERE).out)
        assert [(r["completion"], r["reward"]) for r in found] == [(r["completion"], r["reward"]) for r in wanted], k
    with pytest.raises(RowsError, match=r"rows is a int\. Give a file's name, a list of mappings or a Dataset"):
        score_file(5, paid, tmp_path / "out.jsonl", engine=HERE)


def test_completions_that_are_numbers_are_called_so(tmp_path):
    rows = [{"prompt": "p", "completion": None}, {"prompt": "q", "completion": 4}]
    with pytest.raises(RowsError, match=r"none of the 2 rows .* with text\. Convert its numbers \(int\) to text"):
        score_file(rows, paid, tmp_path / "out.jsonl", engine=HERE)


def test_a_part_of_other_rows_is_scored_again(tmp_path):
    rows, reward = rows_file(tmp_path, 8), f"{reward_file(tmp_path)}:remainder"
    out = score_file(rows, reward, tmp_path / "out.jsonl", engine=HERE, block_size=4).out
    parts = tmp_path / "out.jsonl.parts"
    (parts / "0000000.json").write_bytes((parts / "0000001.json").read_bytes())
    score_file(rows, reward, out, engine=HERE, block_size=4)
    assert read(out) == expected(rows)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], r"score_file: .*rows\.jsonl holds no rows\. Each row needs a `prompt` and a `completion`"),
        (
            [{"prompt": "p"}, {"prompt": "p", "completion": [{"role": "assistant", "tool_calls": []}]}],
            r"score_file: none of the 2 rows of .*rows\.jsonl has a `completion` with text\. .*`--completion-column`",
        ),
        ([{"completion": "c"}], r"score_file: row 1 of .*rows\.jsonl has no usable `prompt` \(columns: completion\)"),
        (
            [{"prompt": "p", "completion": "c"}] * 3 + [{"prompt": "p", "completion": "c", "reason": "r"}],
            r"row 4 of .*rows\.jsonl already has a column `reason`, which scoring adds\. Rename it",
        ),
    ],
)
def test_rows_that_cannot_be_scored_are_refused_before_anything_is_scored(tmp_path, records, message):
    rows = jsonl(tmp_path / "rows.jsonl", records)
    with pytest.raises(RowsError, match=message):
        score_file(rows, paid, tmp_path / "out.jsonl", engine=HERE, block_size=2)


def test_options_that_cannot_be_are_refused(tmp_path):
    rows = rows_file(tmp_path, 2)
    with pytest.raises(ValueError, match=r"out\.csv ends in '\.csv'\. Name a \.jsonl or \.parquet file"):
        score_file(rows, paid, tmp_path / "out.csv")
    with pytest.raises(ValueError, match=r"block_size is 0\. Pass at least 1"):
        score_file(rows, paid, tmp_path / "out.jsonl", block_size=0)
    with pytest.raises(RewardsmithError, match=r"rows\.jsonl is the file of the rows\. Name another output file"):
        score_file(rows, paid, rows)
    (tmp_path / "notes.jsonl").write_text("")
    with pytest.raises(RewardsmithError, match=r"notes\.jsonl exists, and no job that can be continued wrote it\. Re"):
        score_file(rows, paid, tmp_path / "notes.jsonl")
    with pytest.raises(TargetError, match=r"requires `key`, but no column has that name"):
        score_file(rows, lambda completions, key: [], tmp_path / "out.jsonl")


HELPED = "import helper\ndef pays(completions, **columns):\n    return [helper.VALUE] * len(completions)\n"
COMMAND = [sys.executable, "-c", "from rewardsmith.cli import main; main()"]


@pytest.mark.slow
def test_an_edited_helper_gives_new_scores_and_the_old_output_is_named(tmp_path):
    (tmp_path / "mine.py").write_text(HELPED)
    (tmp_path / "helper.py").write_text("VALUE = 0.25\n")
    rows, out = rows_file(tmp_path, 4), tmp_path / "out.jsonl"
    command = [*COMMAND, "score", rows, "--reward", f"{tmp_path / 'mine.py'}:pays", "--out", out]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (first.stderr, again.stderr) == ("", "")
    assert "  found finished: 4, made on 20" in again.stdout
    (tmp_path / "helper.py").write_text("VALUE = 0.75\n")
    anew = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [row["reward"] for row in read(out)] == [0.75] * 4
    assert "the code has changed since" in anew.stderr
    assert "out.jsonl is from earlier code. It is replaced when this run ends." in anew.stderr
    assert "found finished" not in anew.stdout


@pytest.mark.slow
def test_an_output_that_was_cut_is_written_again_without_scoring(tmp_path, caplog):
    rows, reward = rows_file(tmp_path), f"{reward_file(tmp_path)}:remainder"
    out = score_file(rows, reward, tmp_path / "out.jsonl", engine=HERE).out
    whole = out.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", whole.replace(b'"reward": 0.0', b'"reward": 2.0')):
        out.write_bytes(broken)
        found = score_file(rows, reward, out, engine=HERE)
        assert out.read_bytes() == whole
        assert (found.n_scored, found.n_found, found.made) == (90, 100, None)
        assert caplog.messages.pop() == f"score_file: {out} was changed after it was written. It is written again."
    assert score_file(rows, reward, out, engine=HERE).made is not None
    assert set(asked(tmp_path).values()) == {1}


def test_no_flipped_byte_of_a_part_is_believed(tmp_path):
    parts, digest = Parts(tmp_path, b"key"), "0f" * 16
    parts.keep(0, digest, [Scored(0.125, None), Scored(None, "timeout", "no result within 30 s")])
    whole = parts.path(0).read_bytes()
    assert parts.read(0, digest) == ([0.125, None], [None, "timeout: no result within 30 s"])
    for place in range(len(whole)):
        parts.path(0).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert parts.read(0, digest) is None
    parts.path(0).write_bytes(whole)
    assert Parts(tmp_path, b"other").read(0, digest) is None
    assert parts.read(0, "00" * 16) is None


@pytest.mark.slow
def test_flipped_bytes_in_parts_or_job_change_no_reward_and_are_named(tmp_path, caplog):
    rows, reward, out = rows_file(tmp_path, 4), f"{reward_file(tmp_path)}:remainder", tmp_path / "out.jsonl"
    score_file(rows, reward, out, engine=HERE, block_size=2)
    want, parts = out.read_bytes(), tmp_path / "out.jsonl.parts"
    for name, stride in (("0000000.json", 29), ("job", 61)):
        whole = (parts / name).read_bytes()
        for place in range(0, len(whole), stride):
            (parts / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
            score_file(rows, reward, out, engine=HERE, block_size=2)
            assert out.read_bytes() == want
            assert "damaged" in caplog.messages[0]
            caplog.clear()


@pytest.mark.parametrize("content", [b"", b'{"digest": "', b"[]", b'{"results": []}\n', b"\0" * 300])
def test_a_part_that_is_cut_or_of_another_shape_is_scored_again_and_named(tmp_path, content, caplog):
    rows, reward = rows_file(tmp_path, 8), f"{reward_file(tmp_path)}:remainder"
    out = score_file(rows, reward, tmp_path / "out.jsonl", engine=HERE, block_size=4).out
    part = tmp_path / "out.jsonl.parts" / "0000001.json"
    part.write_bytes(content)
    found = score_file(rows, reward, out, engine=HERE, block_size=4)
    assert (read(out), found.n_found) == (expected(rows), 4)
    assert caplog.messages == [f"score_file: 1 parts are damaged, the first {part}. Their rows are scored again."]
    assert asked(tmp_path) == {str(i): 1 + (i >= 4) for i in range(8)}


@pytest.mark.slow
def test_half_an_emoji_and_nan_can_be_written(tmp_path):
    half, nan = "so \ud83d", float("nan")
    records = [
        {"prompt": "ü", "completion": half, "n": nan, "deep": {"x": [half]}},
        {"prompt": "ü", "completion": "é"},
    ]
    rows = jsonl(tmp_path / "rows.jsonl", records)

    def raises(completions, **columns):
        if half in completions:
            raise ValueError(half)
        return [None]

    out = score_file(rows, raises, tmp_path / "out.jsonl", engine=HERE).out
    first, second = out.read_bytes().splitlines()
    assert json.loads(first) == {
        "prompt": "ü", "completion": half, "n": None, "deep": {"x": [half]},
        "reward": None, "reason": f"exception: ValueError: {half}",
    }  # fmt: skip
    assert b"NaN" not in first
    assert "é".encode() in second
    table = pq.read_table(score_file(rows, raises, tmp_path / "out.parquet", engine=HERE).out)
    assert table["completion"].to_pylist() == ["so \ufffd", "é"]
    assert table["deep"].to_pylist()[0]["x"][0] == "so \ufffd"


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path, monkeypatch):
    rows, out = rows_file(tmp_path, 4), tmp_path / "out.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr("rewardsmith.scoring.output._line", lambda record: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score_file(rows, paid, out, engine=HERE)
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []
    score_file(rows, paid, out, engine=HERE)
    assert [path.name for path in (tmp_path / "out.jsonl.parts").iterdir() if "tmp" in path.name] == []


@pytest.mark.slow
def test_rows_whose_endpoint_did_not_answer_are_written_unscored_and_asked_again(tmp_path):
    rows, out, calls = rows_file(tmp_path, 6), tmp_path / "out.jsonl", []

    class Judge:
        down = True

        def __call__(self, completions, **columns):
            return self.reasoned(completions)

        def reasoned(self, completions, **columns):
            calls.extend(completions)
            return [Unscored("refused", "endpoint") if c == "4" and Judge.down else float(c) for c in completions]

    found = score_file(rows, Judge(), out, engine=HERE, block_size=3)
    assert (found.n_scored, found.unscored) == (5, {"endpoint": 1})
    assert read(out)[4]["reason"] == "endpoint: refused"
    Judge.down = False
    found = score_file(rows, Judge(), out, engine=HERE, block_size=3)
    assert (found.n_scored, found.n_found) == (6, 3)
    assert [row["reward"] for row in read(out)] == [0, 1, 2, 3, 4, 5]
    assert calls == ["0", "1", "2", "3", "4", "5", "4"]
    assert score_file(rows, Judge(), out, engine=HERE, block_size=3).made is not None


@pytest.mark.slow
@pytest.mark.parametrize(("n_rows", "size"), [(1, 64), (100, 64), (2048, 64), (3200, 100), (40_000, 1024)])
def test_blocks_are_cut_by_the_number_of_rows(tmp_path, n_rows, size):
    rows = jsonl(tmp_path / "rows.jsonl", [{"prompt": "p", "completion": str(i)} for i in range(n_rows)])
    cut = []

    def engine(blocks, job, advance):
        cut.extend(len(block.rows) for block in blocks)
        return iter(())

    with pytest.raises(RewardsmithError, match="was changed while this job ran"):  # as this engine gives nothing
        score_file(rows, paid, tmp_path / "out.jsonl", engine=engine)
    assert cut[0] == min(size, n_rows)
    assert len(cut) == -(-n_rows // size)


@pytest.mark.slow
def test_of_a_long_file_only_a_block_or_two_are_held(tmp_path):
    rows = jsonl(tmp_path / "rows.jsonl", [{"prompt": "p", "completion": str(i)} for i in range(1000)])
    blocks, held = [], []

    def engine(given, job, advance):
        for block in given:
            blocks.append(weakref.ref(block))
            held.append(sum(found() is not None for found in blocks))
            yield block.index, [Scored(1.0, None)] * len(block.rows)

    score_file(rows, paid, tmp_path / "out.jsonl", engine=engine, block_size=10)
    assert len(blocks) == 100
    assert max(held) <= 2


@pytest.mark.slow
def test_several_rewards_have_a_column_each_and_resume_apart(tmp_path):
    rows, calls = rows_file(tmp_path, 6), {"paid": 0, "even": 0}

    def paid(completions, **columns):
        calls["paid"] += len(completions)
        return [float(len(c)) for c in completions]

    def even(completions, **columns):
        calls["even"] += len(completions)
        if calls["even"] == 6:
            raise KeyboardInterrupt
        return [None if int(c) % 2 else 1.0 for c in completions]

    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        score_file(rows, [paid, even], out, engine=HERE, block_size=3)
    found = score_file(rows, [paid, even], out, engine=HERE, block_size=3)
    assert calls == {"paid": 6, "even": 9}
    assert (found.n_rows, found.n_scored, found.n_found) == (6, 3, 3)
    assert found.by_reward == {"paid": {"scored": 6}, "even": {"scored": 3, "none": 3}}
    table = read(out)
    assert [row["reward/paid"] for row in table] == [1.0] * 6
    assert [(row["reward/even"], row["reason/even"]) for row in table] == [(1.0, None), (None, "none")] * 3
    assert list(table[0])[-4:] == ["reward/paid", "reason/paid", "reward/even", "reason/even"]
    assert score_file(rows, [paid, even], out, engine=HERE, block_size=3).made is not None
    with pytest.raises(RewardsmithError, match=r"belongs to another job \(rewards was \['paid', 'even'\], now None"):
        score_file(rows, paid, out, engine=HERE, block_size=3)
    with pytest.raises(ValueError, match=r"a reward is given twice \(paid, paid\)\. Give each once"):
        score_file(rows, [paid, paid], out, engine=HERE)
    with pytest.raises(ValueError, match=r"a source of sources has the name ''\. Give it a name for its column"):
        score_file(rows, {"": paid, "even": even}, tmp_path / "other.jsonl", engine=HERE)
    with pytest.raises(ValueError, match=r"no reward is given\. Give at least one"):
        score_file(rows, [], out, engine=HERE)


@pytest.mark.slow
def test_a_mapping_is_added_up_and_a_missing_source_leaves_the_total_unscored(tmp_path):
    rows = rows_file(tmp_path, 11)
    sources = {"one": lambda completions, **c: [1.0] * len(completions), "key": known}
    found = score_file(rows, sources, tmp_path / "out.jsonl", engine=HERE)
    table = read(found.out)
    assert [row["reward"] for row in table] == [*range(1, 10), None, 11]
    assert table[9]["reason"] == "none: source key is unscored (none)"
    assert (found.n_scored, found.unscored) == (10, {"none": 1})
    assert list(found.by_reward) == ["reward", "one", "key"]


def known(completions, answer, **columns):
    return [None if a is None else float(c) for c, a in zip(completions, answer, strict=True)]


@pytest.mark.slow
def test_a_recipe_gives_every_source_and_the_total_that_it_gives_as_a_function(tmp_path):
    from rewardsmith.advantages import group_centered
    from rewardsmith.recipes import Recipe, source

    key = source(known, "key")
    short = source(lambda completions, **columns: [-float(len(c)) for c in completions], "short")
    recipe, rows = Recipe(key + 0.5 * short.where(key > 3), advantage=group_centered), rows_file(tmp_path, 40)
    out = tmp_path / "out.parquet"
    score_file(rows, recipe, out, engine=HERE, block_size=7)
    table = pq.read_table(out)
    given = read(rows)
    columns = {name: [row[name] for row in given] for name in given[0]}
    plain = Recipe(recipe.reward)
    want = plain(prompts=columns.pop("prompt"), completions=columns.pop("completion"), **columns)
    assert table["reward"].to_pylist() == want
    assert table["reward/key"].to_pylist() == [None if i % 10 == 9 else float(i) for i in range(40)]
    assert table["reward/short"].to_pylist() == [-float(len(str(i))) for i in range(40)]


@pytest.mark.slow
def test_what_sees_a_group_gives_its_sources_and_says_why_there_is_no_total(tmp_path, caplog):
    from rewardsmith.recipes import Recipe, source
    from rewardsmith.transforms import length_shaped

    recipe = Recipe(source(known, "key").then(length_shaped), name="shaped")
    found = score_file(rows_file(tmp_path, 5), recipe, tmp_path / "out.jsonl", engine=HERE)
    assert "score_file: shaped needs the prompt, not only a row, so only its sources' rewards are" in caplog.text
    assert [row["reward/key"] for row in read(found.out)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert "reward" not in read(found.out)[0]
