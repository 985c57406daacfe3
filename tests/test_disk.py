"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rewardsmith._disk import naming, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_body_that_raises_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"new", None])
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_nothing_is_written_through_a_planted_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".a.json.{os.getpid()}.tmp").symlink_to(victim)
    os.link(victim, tmp_path / ".a.json.1.tmp")  # process 1 runs, so this one stays
    with replacing(tmp_path / "a.json") as file:
        file.write(b"new")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert names(tmp_path) == [".a.json.1.tmp", "a.json", "victim"]


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    code = (
        "import os, signal, sys, pathlib\nfrom rewardsmith._disk import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as file:\n    file.write(b'x')\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert len(names(tmp_path)) == 1
    with replacing(tmp_path / "a") as file:
        file.write(b"y")
    assert names(tmp_path) == ["a"]


def test_an_error_of_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/a'"), naming(tmp_path / "a"):
        raise OSError(28, "No space left on device")


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def noting(descriptor):
        calls.append((os.path.isdir(descriptor), os.fstat(descriptor).st_size if calls == [] else None))
        fsync(descriptor)

    monkeypatch.setattr("rewardsmith._disk.os.fsync", noting)
    monkeypatch.setattr("rewardsmith._disk.os.replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    with replacing(tmp_path / "a") as file:
        file.write(b"x" * 100)
    assert calls == [(False, 100), "replace", (True, None)]
