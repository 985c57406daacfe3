"""ReplyCache: what it finds is what was put there, and nothing that lies in its folder stops a judge or is run."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sqlite3
import subprocess
import sys

import pytest

from rewardsmith.rewards.judges.asking import Reply
from rewardsmith.rewards.judges.cache import ReplyCache, _checksum

PLACES = (
    "import sys; from rewardsmith.rewards.judges.asking import Reply; "
    "from rewardsmith.rewards.judges.cache import ReplyCache; cache = ReplyCache(sys.argv[1]); "
)

LISTS = ["[1, []]", '["YES", {}]', '["YES", [["Yes", 0.0]]]', '["YES", [{"Yes": "a"}]]', '["YES"]']


def database(folder):
    return sqlite3.connect(folder / "replies.sqlite", isolation_level=None)


def put(folder, key="k", reply="said"):
    cache = ReplyCache(folder)
    cache.set(key, Reply(reply))
    cache.close()


def test_what_was_kept_is_found_by_whoever_asks_later(tmp_path):
    replies = {"a": "YES", "b": "", "c": "\ud83d \x00 \N{FIRE} \"'", "d": "x" * 100_000}
    cache = ReplyCache(tmp_path / "new" / "folder")
    for key, reply in replies.items():
        assert cache.get(key) is None
        cache.set(key, Reply(reply))
    cache.set("a", Reply("NO"))
    for one in (cache, ReplyCache(tmp_path / "new" / "folder")):
        assert {key: one.get(key).text for key in replies} == replies | {"a": "NO"}
        one.close()


def test_log_probabilities_are_kept_with_the_text(tmp_path):
    reply = Reply("Yes", ({"Yes": -0.1, "No": -2.5}, {}))
    cache = ReplyCache(tmp_path)
    cache.set("a", reply)
    assert cache.get("a") == reply
    cache.close()


def test_without_a_folder_nothing_is_kept():
    cache = ReplyCache(None)
    cache.set("a", Reply("YES"))
    assert cache.get("a") is None
    cache.close()


@pytest.mark.slow
def test_a_reply_survives_the_end_of_its_process(tmp_path):
    code = PLACES + 'cache.set("k", Reply("kept")); import os; os.kill(os.getpid(), 9)'
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert ReplyCache(tmp_path).get("k") == Reply("kept")


@pytest.mark.slow
def test_processes_that_open_a_new_cache_at_once_all_keep_their_replies(tmp_path):
    code = PLACES + 'sys.stdin.read(); [cache.set(f"{sys.argv[2]}-{i}", Reply(str(i))) for i in range(50)]'
    code = code.replace("cache = ", "print(flush=True); sys.stdin.readline(); cache = ")
    start = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*start, str(name)], **pipes) for name in range(4)]
    for process in running:
        process.stdout.readline()
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in running] == [""] * 4
    cache = ReplyCache(tmp_path)
    assert [cache.get(f"{name}-{i}").text for name in range(4) for i in range(50)] == [str(i) for i in range(50)] * 4


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reply", '"other"'),
        ("reply", b"\xff\xfe"),
        ("reply", 7),
        ("checksum", "0" * 32),
        ("checksum", b"\x00"),
    ],
)
def test_a_damaged_reply_is_named_asked_for_again_and_replaced(tmp_path, column, value, caplog):
    put(tmp_path)
    with database(tmp_path) as planted:
        planted.execute(f"UPDATE replies SET {column} = CAST(? AS {'TEXT' if value != 7 else 'INT'})", (value,))
    cache = ReplyCache(tmp_path)
    assert cache.get("k") is None
    assert f"{tmp_path / 'replies.sqlite'} holds a damaged reply. It is requested again." in caplog.text
    cache.set("k", Reply("mended"))
    assert cache.get("k") == Reply("mended")


@pytest.mark.parametrize("text", ["[" * 100_000, "7", '{"a": 1}', "YES", pickle.dumps("YES", 0).decode(), *LISTS])
def test_a_reply_of_another_form_is_damage_even_with_its_checksum(tmp_path, text, caplog):
    put(tmp_path)
    with database(tmp_path) as planted:
        planted.execute("UPDATE replies SET reply = ?, checksum = ?", (text, _checksum("k", text)))
    assert ReplyCache(tmp_path).get("k") is None
    assert "damaged reply" in caplog.text


@pytest.mark.slow
def test_a_flipped_byte_anywhere_never_changes_a_reply(tmp_path, caplog):
    """Every 97th byte of the file, one at a time."""
    reply = "Verdict: YES " * 20
    put(tmp_path / "whole", reply=reply)
    whole = (tmp_path / "whole" / "replies.sqlite").read_bytes()
    found = set()
    for place in range(0, len(whole), 97):
        folder = tmp_path / str(place)
        folder.mkdir()
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        (folder / "replies.sqlite").write_bytes(flipped)
        cache = ReplyCache(folder)
        found.add(cache.get("k"))
        cache.close()
    assert found == {Reply(reply), None}


def test_the_pickles_of_an_earlier_cache_are_not_read(tmp_path, caplog):
    """A row as diskcache keeps one, whose value is a pickle that runs a command when it is read."""

    class Planted:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    with sqlite3.connect(tmp_path / "cache.db") as old:
        old.execute("CREATE TABLE Cache (key BLOB, raw INTEGER, mode INTEGER, value BLOB)")
        old.execute("INSERT INTO Cache VALUES ('k', 1, 4, ?)", (pickle.dumps(Planted()),))
    cache = ReplyCache(tmp_path)
    assert cache.get("k") is None
    assert caplog.messages == [f"ReplyCache: {tmp_path / 'cache.db'} holds pickles, which are not read. Delete it."]
    cache.set("k", Reply("YES"))
    assert cache.get("k") == Reply("YES")
    assert not (tmp_path / "was-run").exists()


def plant_garbage(path, folder):
    path.write_bytes(b"not a database at all" * 500)


def plant_link(path, folder):
    (folder / "victim").write_bytes(b"")
    path.symlink_to(folder / "victim")


def plant_linked_log(path, folder):
    (folder / "victim").write_bytes(b"")
    path.with_name("replies.sqlite-wal").symlink_to(folder / "victim")


def plant_pipe(path, folder):
    os.mkfifo(path)


def plant_folder(path, folder):
    path.mkdir()


def plant_old(path, folder):
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE Cache (key BLOB, raw INTEGER, mode INTEGER, value BLOB)")


def plant_trigger(path, folder):
    put(folder)
    with database(folder) as planted:
        planted.execute("CREATE TRIGGER mine AFTER INSERT ON replies BEGIN UPDATE replies SET reply = 'YES'; END")


def plant_view(path, folder):
    with sqlite3.connect(path) as planted:
        planted.execute("CREATE TABLE other (key, reply, checksum)")
        planted.execute("CREATE VIEW replies AS SELECT * FROM other")


PLANTED = [plant_garbage, plant_link, plant_linked_log, plant_pipe, plant_folder, plant_old, plant_trigger, plant_view]


@pytest.mark.parametrize("plant", PLANTED)
def test_whatever_lies_in_its_place_is_named_and_left_alone(tmp_path, plant, caplog):
    plant(tmp_path / "replies.sqlite", tmp_path)
    caplog.clear()
    cache = ReplyCache(tmp_path)
    assert cache.get("k") is None
    cache.set("k", Reply("YES"))
    assert cache.get("k") is None
    (said,) = caplog.messages
    assert said.startswith(f"ReplyCache: {tmp_path / 'replies.sqlite'} cannot be used (")
    assert said.endswith("Delete it, or name another folder as cache_dir.")
    if plant in (plant_link, plant_linked_log):
        assert (tmp_path / "victim").read_bytes() == b""
    cache.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = ReplyCache(tmp_path / "file" / "folder")
    assert cache.get("k") is None
    assert "cannot be used" in caplog.text


def test_a_cache_that_fails_later_is_named_once(tmp_path, caplog):
    cache = ReplyCache(tmp_path)
    with database(tmp_path) as other:
        other.execute("DROP TABLE replies")
    caplog.set_level(logging.WARNING)
    assert [cache.get("k"), cache.set("k", Reply("YES")), cache.get("k")] == [None] * 3
    assert len(caplog.messages) == 1
