"""Changes of files on a real disk are found and shown, whatever their names, and nothing that changes stays unseen."""

import os
import subprocess
import sys

import pytest

from rewardsmith.errors import RewardsmithError
from rewardsmith.monitors import (
    FileGuard,
    TamperedFilesError,
    Watch,
    changed_files,
    default_monitors,
    file_changes,
    file_states,
)
from rewardsmith.monitors.integrity import FileState


@pytest.fixture
def sandbox(tmp_path):
    for name, text in {"reward.py": "def reward(): ...", "tests/test_it.py": "assert reward", "work/a.txt": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to("reward.py")
    return tmp_path


CASES = {
    "changed": (
        lambda box: (box / "reward.py").write_text("def reward(): 1"),
        ["changed 'link'", "changed 'reward.py'"],
    ),
    "same size and time": (
        lambda box: (
            (box / "tests/test_it.py").write_text("assert 111111"),
            os.utime(box / "tests/test_it.py", ns=(0, 0)),
        ),
        ["changed 'tests/test_it.py'"],
    ),
    "touched alone": (lambda box: os.utime(box / "reward.py", ns=(0, 0)), []),
    "added": (lambda box: (box / "tests/conftest.py").write_text("x"), ["added 'tests/conftest.py'"]),
    "deleted": (lambda box: (box / "tests/test_it.py").unlink(), ["deleted 'tests/test_it.py'"]),
    "rights": (lambda box: (box / "tests/test_it.py").chmod(0o777), ["rights 'tests/test_it.py'"]),
    "rights of a folder": (lambda box: (box / "tests").chmod(0o700), ["rights 'tests'"]),
    "renamed": (
        lambda box: (box / "tests/test_it.py").rename(box / "tests/it.py"),
        ["renamed 'tests/it.py', was 'tests/test_it.py'"],
    ),
    "moved to where changes are allowed": (
        lambda box: (box / "tests/test_it.py").rename(box / "work/it.py"),
        ["renamed 'work/it.py', was 'tests/test_it.py'"],
    ),
    "a link that points elsewhere": (
        lambda box: ((box / "link").unlink(), (box / "link").symlink_to("tests/test_it.py")),
        ["changed 'link'"],
    ),
    "a link in place of a file": (
        lambda box: ((box / "tests/test_it.py").unlink(), (box / "tests/test_it.py").symlink_to("/dev/zero")),
        ["kind 'tests/test_it.py'"],
    ),
    "a pipe in place of a file": (
        lambda box: ((box / "tests/test_it.py").unlink(), os.mkfifo(box / "tests/test_it.py")),
        ["kind 'tests/test_it.py'"],
    ),
    "allowed": (lambda box: ((box / "work/a.txt").write_text("y"), (box / "work/b.txt").write_text("z")), []),
    "an empty file is not renamed": (
        lambda box: ((box / "work/a.txt").unlink(), (box / "none.py").write_text("")),
        ["added 'none.py'"],
    ),
    "a folder in place of its parent's link": (
        lambda box: (box / "loop").symlink_to("."),
        ["added 'loop'"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_change_is_found_and_shown(sandbox, case):
    change, expected = CASES[case]
    with FileGuard(sandbox, allow=["work/*"], on_change="record") as guard:
        change(sandbox)
    assert [str(one) for one in guard.changes] == expected
    assert guard.record == {"changed_files": len(expected), "changes": expected}


def test_a_change_is_raised_at_the_end_of_the_block_or_noted_on_its_error(sandbox):
    with (
        pytest.raises(
            TamperedFilesError, match=r"2 paths in '.*' changed: changed 'link'; changed 'reward\.py'\. Leave"
        ),
        FileGuard(sandbox),
    ):
        (sandbox / "reward.py").write_text("1")
    guard, error = FileGuard(sandbox), KeyError()
    guard.__enter__()
    (sandbox / "reward.py").write_text("2")
    guard.__exit__(KeyError, error, None)
    assert "changed 'reward.py'" in error.__notes__[0]
    assert len(guard.changes) == 2
    with FileGuard(sandbox) as guard:
        pass
    assert guard.changes == ()


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "[bold]x", "<script>", "{value}", os.fsdecode(b"\xff")])
def test_a_hostile_name_is_one_line_of_ascii(sandbox, name):
    with FileGuard(sandbox, on_change="record") as guard:
        (sandbox / name).write_text("x")
    (shown,) = guard.record["changes"]
    assert shown == f"added {name!a}"
    assert shown.isprintable()


def test_a_folder_that_is_gone_or_replaced_by_a_link_is_all_deleted(sandbox, tmp_path_factory):
    other = tmp_path_factory.mktemp("copy") / "same"
    inner = sandbox / "tests"
    with FileGuard(inner, on_change="record") as guard:
        inner.rename(other)
        inner.symlink_to(other)
    assert [str(one) for one in guard.changes] == ["deleted 'test_it.py'"]
    with pytest.raises(NotADirectoryError, match=r"file_states: '.*gone' is no folder\. Pass the folder"):
        file_states(sandbox / "gone")


def test_a_link_stands_for_its_folder_and_a_relative_path_for_where_it_was(sandbox, tmp_path_factory, monkeypatch):
    runs = tmp_path_factory.mktemp("runs")
    (runs / "latest").symlink_to(sandbox)
    monkeypatch.chdir(runs)
    with FileGuard("latest", on_change="record") as guard:
        os.chdir("/")
    assert guard.changes == ()
    os.chdir(runs)
    with FileGuard("latest", on_change="record") as guard:
        (sandbox / "tests/test_it.py").write_text("assert True")
    assert [str(one) for one in guard.changes] == ["changed 'tests/test_it.py'"]
    with FileGuard("latest/tests", on_change="record") as guard:
        (runs / "latest").unlink()
        (runs / "latest").symlink_to(tmp_path_factory.mktemp("other"))
    assert [str(one) for one in guard.changes] == ["deleted 'test_it.py'"]


@pytest.fixture
def deep(sandbox):
    code = f"import os\nos.chdir({os.fspath(sandbox)!r})\nfor _ in range(1100): os.mkdir('d'); os.chdir('d')"
    subprocess.run([sys.executable, "-c", code], check=True)
    yield sandbox
    subprocess.run(["rm", "-rf", sandbox / "d"], check=True)  # pytest's own removal recurses


@pytest.mark.slow
def test_folders_deeper_than_the_stack_and_a_large_file_are_read(deep):
    with (deep / "large").open("wb") as file:
        file.truncate(4 * 2**20)  # sparse
    before = file_states(deep)
    assert len(before) == 6 + 1100 + 1
    with (deep / "large").open("r+b") as file:
        file.seek(2**21)
        file.write(b"1")
    assert [str(one) for one in file_changes(before, file_states(deep))] == ["changed 'large'"]


def test_equal_files_are_renamed_one_by_one_in_the_order_of_their_names():
    file = FileState("file", "a", (420, 0, 0), 1)
    found = file_changes({"a": file, "b": file, "c": file}, {"x": file, "y": file})
    assert [str(one) for one in found] == ["deleted 'c'", "renamed 'x', was 'a'", "renamed 'y', was 'b'"]


def test_what_cannot_be_read_beforehand_is_refused_and_afterwards_is_a_change(sandbox, monkeypatch):
    real = os.open

    def refusing(path, flags, *rest):
        if os.fspath(path).endswith("test_it.py"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest)

    with FileGuard(sandbox, on_change="record") as guard, monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        guard.__exit__(None, None, None)
        assert [str(one) for one in guard.changes] == ["changed 'tests/test_it.py'"]
        with pytest.raises(RewardsmithError, match=r"1 paths cannot be read, such as 'tests/test_it\.py', so that"):
            FileGuard(sandbox).__enter__()
        FileGuard(sandbox, allow=["tests/*"]).__enter__()


@pytest.mark.parametrize(
    ("options", "message"), [({"allow": "work/*"}, "allow is the text"), ({"on_change": "warn"}, "on_change is 'warn'")]
)
def test_wrong_options_are_refused(sandbox, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        FileGuard(sandbox, **options)


def test_the_monitor_alarms_at_the_first_change_and_stays_silent_without_a_guard(sandbox):
    assert "changed_files" in {monitor.name for monitor in default_monitors()}
    watch = Watch([changed_files()])
    assert watch.observe({"step": 0}) == []
    with FileGuard(sandbox, on_change="record") as guard:
        pass
    assert watch.observe({"step": 1, **guard.record}) == []
    with guard:
        (sandbox / "reward.py").write_text("1")
    (alarm,) = watch.observe({"step": 2, **guard.record})
    assert (alarm.step, alarm.stops, alarm.message) == (2, True, "2 files changed that no rollout may change.")
