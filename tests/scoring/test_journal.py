import logging
import threading
import time

import pytest

from rewardsmith.data import Row
from rewardsmith.errors import RewardsmithError
from rewardsmith.scoring import Scorer, rewards_of
from rewardsmith.scoring.journal import Journal, sealed


def written(path, *records, **header):
    journal = Journal(path, header or {"seed": 0})
    for record in records:
        journal.append(record)
    journal.close()


def reread(path):
    journal = Journal(path, {"seed": 0})
    journal.close()
    return journal.records


def test_what_was_appended_is_read_again_to_the_last_bit(tmp_path):
    record = {"results": [0.1 + 0.2, 1e-308, None, "ü\n\ud83d"]}
    written(tmp_path / "deep" / "j", record, {"n": 2})
    assert reread(tmp_path / "deep" / "j") == [record, {"n": 2}]


@pytest.mark.parametrize("cut", [1, 3, 7])
def test_a_cut_last_line_is_cut_off_and_appending_goes_on(tmp_path, cut):
    path = tmp_path / "j"
    written(path, {"n": 1}, {"n": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    written(path, {"n": 3})
    assert reread(path) == [{"n": 1}, {"n": 3}]


@pytest.mark.parametrize("content", [b"", b'{"sch', b'{"schema":"rewardsmith.journal/4","se', b"\0" * 40])
def test_a_cut_or_zeroed_header_is_a_fresh_journal(tmp_path, content):
    path = tmp_path / "j"
    path.write_bytes(content)
    assert reread(path) == []
    written(path, {"n": 1})
    assert reread(path) == [{"n": 1}]


@pytest.mark.slow
def test_no_flipped_byte_is_believed_and_none_is_fatal(tmp_path):
    changes = [0x01, 0x80, ord("1") ^ ord("\n")]
    path, records = tmp_path / "j", [{"n": 1, "x": 0.5}, {"n": 21}, {"n": 3}]
    written(path, *records)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ changes[place % 3]]) + content[place + 1 :])
        found = reread(path)
        assert [record for record in records if record in found] == found  # nothing new, nothing moved
        assert len(found) >= 1
        written(path, {"n": 4})
        assert reread(path) == [*found, {"n": 4}]


def test_damage_is_named_once_and_costs_one_record(tmp_path, caplog):
    path = tmp_path / "j"
    written(path, {"n": 1}, {"n": 2}, {"n": 3})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + b'{"n":7}\n' + lines[3])
    with caplog.at_level(logging.WARNING):
        assert reread(path) == [{"n": 1}, {"n": 3}]
    [said] = caplog.messages
    assert said == f"Journal: {path} has damaged records (1, the first at byte {len(lines[0] + lines[1])}). " \
        "Their rows are scored again."  # fmt: skip
    assert reread(path) == [{"n": 1}, {"n": 3}]
    assert len(caplog.messages) == 1


def test_a_record_of_another_job_is_not_believed(tmp_path):
    written(tmp_path / "a", {"n": 1}, seed=1)
    written(tmp_path / "j", {"n": 2})
    foreign = (tmp_path / "a").read_bytes().splitlines(keepends=True)[1]
    with (tmp_path / "j").open("ab") as file:
        file.write(foreign)
    assert reread(tmp_path / "j") == [{"n": 2}]


def test_another_header_is_refused_and_says_what_differs(tmp_path):
    written(tmp_path / "j")
    with pytest.raises(RewardsmithError, match=r"another job \(seed was 0, now 1, extra was None, now 'x'\)\. Delete"):
        Journal(tmp_path / "j", {"seed": 1, "extra": "x"})


def test_a_job_of_other_code_begins_anew_and_says_so(tmp_path, caplog):
    path = tmp_path / "j"
    written(path, {"n": 1}, seed=0, source="a")
    with caplog.at_level(logging.WARNING):
        journal = Journal(path, {"seed": 0, "source": "b"}, anew=("source",))
    assert journal.records == []
    assert caplog.messages == [
        f"Journal: the code has changed since {path} was written (source). All rows are scored again."
    ]
    journal.append({"n": 2})
    journal.close()
    again = Journal(path, {"seed": 0, "source": "b"}, anew=("source",))
    assert again.records == [{"n": 2}]
    again.close()
    with pytest.raises(RewardsmithError, match=r"another job \(seed was 0, now 1, source was 'b', now 'c'\)"):
        Journal(path, {"seed": 1, "source": "c"}, anew=("source",))


def test_another_version_and_what_is_no_journal_are_refused_and_left_as_they_are(tmp_path):
    old = tmp_path / "old"
    old.write_bytes(b'{"schema":"rewardsmith.journal/1","seed":0}\n{"keys":["a"]}\n')
    with pytest.raises(
        RewardsmithError, match=r"old is of another version .*\(rewardsmith\.journal/1, now .*Delete it"
    ):
        reread(old)
    new = tmp_path / "new"
    new.write_bytes(sealed({"schema": "rewardsmith.journal/2", "rows": "known by other keys"}))
    with pytest.raises(
        RewardsmithError, match=r"new is of another version of rewardsmith \(rewardsmith\.journal/2, now "
    ):
        Journal(new, {"rows": "known by today's keys"})
    new.write_bytes(sealed({"schema": "rewardsmith.journal/9"}))
    with pytest.raises(RewardsmithError, match=r"new is of another version of rewardsmith \(rewardsmith\.journal/9"):
        reread(new)
    mine = tmp_path / "mine.jsonl"
    mine.write_bytes(b'{"prompt":"p"}\n')
    with pytest.raises(RewardsmithError, match=r"mine\.jsonl is not a journal\. Move it, or choose another"):
        reread(mine)
    assert mine.read_bytes() == b'{"prompt":"p"}\n'


def test_a_full_disk_names_the_file_and_leaves_no_half_record(tmp_path, monkeypatch):
    path = tmp_path / "j"
    journal = Journal(path, {"seed": 0})
    write = __import__("os").write

    def full(file, line):
        if len(line) < 20:
            raise OSError(28, "No space left on device")
        return write(file, line[: len(line) - 10])

    with monkeypatch.context() as patched:
        patched.setattr("rewardsmith.scoring.journal.os.write", full)
        with pytest.raises(OSError, match=rf"No space left on device: '{path}'"):
            journal.append({"n": 1})
    journal.append({"n": 2})
    journal.close()
    assert reread(path) == [{"n": 2}]


def test_two_jobs_cannot_share_a_journal(tmp_path):
    first = Journal(tmp_path / "j", {"seed": 0})
    with pytest.raises(RewardsmithError, match=r"is in use by another running job\. Wait for it, or choose"):
        Journal(tmp_path / "j", {"seed": 0})
    first.close()
    assert reread(tmp_path / "j") == []


@pytest.mark.slow
def test_a_patient_job_waits_for_the_one_before_it(tmp_path, monkeypatch):
    first = Journal(tmp_path / "j", {"seed": 0})
    first.append({"n": 1})
    slept = []
    with monkeypatch.context() as clock:
        clock.setattr(time, "sleep", slept.append)
        clock.setattr(time, "monotonic", lambda: 100.0 + sum(slept))
        with pytest.raises(RewardsmithError, match=r"is in use by another running job"):
            Journal(tmp_path / "j", {"seed": 0}, patience=3.0)
    assert 3.0 <= sum(slept) < 3.2
    threading.Timer(0.3, first.close).start()
    second = Journal(tmp_path / "j", {"seed": 0}, patience=30)
    assert second.records == [{"n": 1}]
    second.close()


@pytest.mark.slow
def test_no_flipped_byte_changes_a_score(tmp_path):
    asked, space = [], {"__name__": "nowhere"}
    exec("def pays(completions):\n    note(completions)\n    return [len(c) / 3 for c in completions]\n", space)
    space["note"] = asked.extend
    path, rows = tmp_path / "j", [Row("p", "a" * n) for n in range(1, 7)]

    def scores():
        with Scorer(space["pays"], workers=0, batch_size=2, journal=path) as scorer:
            return rewards_of(scorer.score(rows)), scorer.calls

    want = scores()
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        asked.clear()
        assert scores() == want
        assert len(asked) <= 4  # one record, or two that a changed line end has made one
