"""Rows in the forms that people have: scored like the rows they stand for, from a file and from Python."""

import json
import sys

import pandas as pd
import pytest
from datasets import Dataset
from typer.testing import CliRunner

from rewardsmith.auditing import audit
from rewardsmith.cli import app
from rewardsmith.data import Row
from rewardsmith.errors import RewardsmithError, RowsError
from rewardsmith.rewards import exact_number, math_equal
from rewardsmith.scoring import score

ASKED = [{"role": "user", "content": "What is 2+5?"}]
CALL = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}]}
SEVEN = [{"role": "assistant", "content": "\\boxed{7}"}]
CASES = {
    "solution": ([{"prompt": "q", "completion": "\\boxed{7}", "solution": "Add them: \\boxed{7}"}], [(1.0, None)]),
    "ground_truth": ([{"prompt": "q", "completion": "\\boxed{7}", "ground_truth": "7"}], [(1.0, None)]),
    "verl": (
        [{"data_source": "toy", "prompt": ASKED, "ability": "math", "extra_info": {"index": 0},
          "reward_model": {"style": "rule", "ground_truth": "7"}, "completion": "\\boxed{7}"}],
        [(1.0, None)],
    ),
    "nan": (
        [{"prompt": "q", "completion": text, "answer": float("nan")} for text in ("\\boxed{7}", "\\boxed{nan}")],
        [(None, "none: the row has no key")] * 2,
    ),
    "dict key": (
        [{"prompt": "q", "completion": "\\boxed{7}", "reward_model": {"ground_truth": {"target": "7"}}}],
        [(None, "none: the key is a dict with target, but `answer` must be one text or number")],
    ),
    "tool call without text": (
        [{"prompt": ASKED, "completion": completion, "answer": "7"}
         for completion in (SEVEN, [CALL], None, [{"role": "assistant", "content": None}], [CALL, *SEVEN], [])]
        + [{"prompt": ASKED, "answer": "7"}],
        [(1.0, None), *[(None, "none: the completion holds no text")] * 3, (1.0, None),
         *[(None, "none: the completion holds no text")] * 2],
    ),
    "empty text is an answer": ([{"prompt": "q", "completion": "", "answer": "7"}], [(0.0, None)]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_file_is_scored_by_command_and_the_same_records_in_python(tmp_path, name):
    records, right = CASES[name]
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps(record) + "\n" for record in records))
    command = ["score", str(rows), "--reward", "rewardsmith.rewards:math_equal", "--out", str(out), "--workers", "0"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == (0 if any(reward is not None for reward, _ in right) else 1), done.output
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["reward"], row["reason"]) for row in found] == right
    for given in (records, rows, str(rows), tuple(records)):
        scored = score(math_equal, given, workers=0)
        assert [(r.reward, f"{r.reason}: {r.detail}" if r.detail else r.reason) for r in scored] == right


def test_datasets_and_data_frames_are_rows():
    records = [{"prompt": "q", "completion": f"\\boxed{{{n}}}", "answer": "7"} for n in (7, 8)]
    for given in (
        Dataset.from_list(records),
        pd.DataFrame(records),
        iter(records),
        [Row("q", "\\boxed{7}", records[0])],
    ):
        assert score(math_equal, given, workers=0)[0].reward == 1.0
    missing = pd.DataFrame({"prompt": ["q"] * 2, "completion": ["\\boxed{7}"] * 2, "answer": [7.0, None]})
    assert [r.reward for r in score(math_equal, missing, workers=0)] == [1.0, None]
    assert score(math_equal, [], workers=0) == []
    with pytest.raises(RowsError, match=r"row 1 of list has no usable `prompt` \(columns: text\)"):
        score(math_equal, [{"text": "q"}], workers=0)
    assert score(math_equal, {"train": records}, workers=0)[0].reward == 1.0
    for given in ({"train": records, "test": records}, {"prompt": "q"}, {"prompt": "q", "completion": "7"}):
        with pytest.raises(RowsError, match=r"read_rows: a dict of .* holds no rows itself\. Name a split \("):
            score(math_equal, given, workers=0)


@pytest.mark.slow
def test_a_folder_that_datasets_saved_and_a_folder_of_files_are_scored_like_a_file(tmp_path, monkeypatch):
    records = [{"prompt": "q", "completion": f"\\boxed{{{n}}}", "answer": "7"} for n in (7, 8)]
    Dataset.from_list(records).save_to_disk(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    for n, record in enumerate(records):
        (tmp_path / "files" / f"{n}.jsonl").write_text(json.dumps(record))
    for name in ("saved", "files"):
        assert [r.reward for r in score(math_equal, tmp_path / name, workers=0)] == [1.0, 0.0]
        command = ["score", str(tmp_path / name), "--reward", "rewardsmith.rewards:math_equal"]
        done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / f"{name}.jsonl"), "--workers", "0"])
        assert done.exit_code == 0, done.output
        assert [json.loads(line)["reward"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()] == [1, 0]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(RewardsmithError, match=r"read_rows: .*saved, which datasets saved: datasets cannot be"):
        score(math_equal, tmp_path / "saved", workers=0)
    monkeypatch.undo()
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"ARROW1 no more")
    with pytest.raises(RowsError, match=r"saved cannot be loaded \(.*Save it again with `save_to_disk`"):
        score(math_equal, tmp_path / "saved", workers=0)


def test_python_gives_messages_where_every_string_is_refused_and_strings_where_every_message_is():
    def reads_messages(completions, **columns):
        return [float(len(completion[0]["content"])) for completion in completions]

    def reads_strings(completions, **columns):
        return [float(len(completion.strip())) for completion in completions]

    strings = [{"prompt": "q", "completion": "four"}, {"prompt": "q"}]
    messages = [{"prompt": ASKED, "completion": [{"role": "assistant", "content": "four"}]}, {"prompt": ASKED}]
    for reward, rows in ((reads_messages, strings), (reads_strings, messages), (reads_messages, messages)):
        assert [(r.reward, r.reason) for r in score(reward, rows, workers=0)] == [(4.0, None), (None, "none")]

    def raises(completions, **columns):
        raise ValueError("never")

    assert [r.reason for r in score(raises, strings, workers=0)] == ["exception", "none"]


@pytest.mark.slow
def test_an_audit_takes_records_a_dataset_or_a_file_name_and_says_the_same_of_each(tmp_path):
    records = [{"prompt": f"What is 2+{n}?", "answer": str(n + 2)} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    options = {"budget": 800, "workers": 0}
    expected = audit(exact_number, [Row(r["prompt"], columns={"answer": r["answer"]}) for r in records], **options)
    assert expected.kind.startswith("verifier")
    for given in (records, Dataset.from_list(records), str(tmp_path / "rows.jsonl")):
        found = audit(exact_number, given, **options)
        names = [finding.message for finding in found.findings if finding.probe != "latency"]
        assert names == [finding.message for finding in expected.findings if finding.probe != "latency"]
        assert (found.n_rows, found.kind, found.calls) == (8, expected.kind, expected.calls)
