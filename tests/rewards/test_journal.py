import threading
import time

import pytest

from rewardsmith.errors import RewardsmithError
from rewardsmith.rewards.journal import Journal


def written(path, *records):
    journal = Journal(path, {"seed": 0})
    for record in records:
        journal.append(record)
    journal.close()


def reread(path):
    journal = Journal(path, {"seed": 0})
    journal.close()
    return journal.records


def test_what_was_appended_is_read_again_to_the_last_bit(tmp_path):
    record = {"results": [0.1 + 0.2, 1e-308, None, "ü\n"]}
    written(tmp_path / "deep" / "j", record, {"n": 2})
    assert reread(tmp_path / "deep" / "j") == [record, {"n": 2}]


@pytest.mark.parametrize("cut", [1, 3, 7])
def test_a_torn_last_line_is_cut_off_and_appending_goes_on(tmp_path, cut):
    path = tmp_path / "j"
    written(path, {"n": 1}, {"n": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    written(path, {"n": 3})
    assert reread(path) == [{"n": 1}, {"n": 3}]


def test_a_torn_header_is_a_fresh_journal(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b'{"schema": "rewa')
    assert reread(path) == []


def test_a_damaged_line_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "j"
    written(path, {"n": 1}, {"n": 2})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0\0\n" + lines[2])
    with pytest.raises(RewardsmithError, match=r"^Journal: line 2 of .*j is damaged\. Delete the file"):
        reread(path)


def test_another_header_is_refused_and_says_what_differs(tmp_path):
    written(tmp_path / "j")
    with pytest.raises(RewardsmithError, match=r"another job \(seed was 0, now 1, extra was None, now 'x'\)\. Delete"):
        Journal(tmp_path / "j", {"seed": 1, "extra": "x"})


def test_two_jobs_cannot_share_a_journal(tmp_path):
    first = Journal(tmp_path / "j", {"seed": 0})
    with pytest.raises(RewardsmithError, match=r"is in use by another running job\. Wait for it, or choose"):
        Journal(tmp_path / "j", {"seed": 0})
    first.close()
    assert reread(tmp_path / "j") == []


def test_a_patient_job_waits_for_the_one_before_it(tmp_path):
    first = Journal(tmp_path / "j", {"seed": 0})
    first.append({"n": 1})
    start = time.monotonic()
    with pytest.raises(RewardsmithError, match=r"is in use by another running job"):
        Journal(tmp_path / "j", {"seed": 0}, patience=0.3)
    assert time.monotonic() - start >= 0.3
    threading.Timer(0.3, first.close).start()
    second = Journal(tmp_path / "j", {"seed": 0}, patience=30)
    assert second.records == [{"n": 1}]
    second.close()
