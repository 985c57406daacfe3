import os
import resource
import subprocess
import sys
import time

import pytest

from rewardsmith.data import Row
from rewardsmith.scoring import Scorer, rewards_of, score
from rewardsmith.scoring.channel import frame, unframe


def ended(process: int) -> bool:
    """Gone, or dead and waiting for somebody to collect its status."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] in ("", "Z")


@pytest.mark.parametrize("chunk", [1, 3, 7, 10_000])
def test_messages_survive_any_cut_of_the_stream(chunk):
    messages = [b"row", "ü".encode() * 50, b"\0" * 20, b""]
    stream = b"".join(map(frame, messages))
    buffer, received = bytearray(), []
    for start in range(0, len(stream), chunk):
        buffer += stream[start : start + chunk]
        received += unframe(buffer)
    assert received == messages
    assert not buffer


@pytest.mark.slow
def test_batches_larger_than_the_socket_buffer_arrive():
    rows = [Row("p", str(i) + "x" * 100_000) for i in range(40)]
    with Scorer(lambda completions: [float(c.split("x")[0]) for c in completions], workers=2, batch_size=8) as scorer:
        assert rewards_of(scorer.score(rows)) == [float(i) for i in range(40)]


@pytest.mark.slow
def test_a_worker_that_dies_between_calls_is_replaced():
    with Scorer(lambda prompt, completion: float(__import__("os").getpid()), workers=1) as scorer:
        [first] = rewards_of(scorer.score([Row("p", "a")]))
        os.kill(int(first), 9)
        time.sleep(0.05)
        [second] = rewards_of(scorer.score([Row("p", "b")]))
    assert second is not None
    assert second != first


@pytest.mark.slow
def test_closing_ends_the_workers_and_what_they_started():
    def starting(prompt, completion):
        import subprocess

        return float(subprocess.Popen(["sleep", "60"]).pid)

    with Scorer(starting, workers=1) as scorer:
        [child] = rewards_of(scorer.score([Row("p", "a")]))
    time.sleep(0.1)
    assert ended(int(child))


@pytest.mark.slow
def test_workers_die_with_a_killed_parent_even_while_they_hold_the_interpreter(tmp_path):
    note = tmp_path / "pid"
    job = tmp_path / "job.py"
    job.write_text(
        "import os\nfrom rewardsmith.data import Row\nfrom rewardsmith.scoring import score\n"
        f"def hang(completions):\n    open({str(note)!r}, 'w').write(str(os.getpid()))\n    while True: pass\n"
        "score(hang, [Row('p', 'c')], timeout=None)\n"
    )
    with subprocess.Popen([sys.executable, str(job)]) as parent:
        while parent.poll() is None and not (note.exists() and note.read_text()):
            time.sleep(0.01)
        parent.kill()
    time.sleep(0.2)
    assert ended(int(note.read_text()))


@pytest.mark.slow
def test_a_column_that_cannot_be_read_in_the_worker_leaves_its_rows_unscored():
    class Shy:
        def __reduce__(self):
            return int, ("not a number",)

    with Scorer(lambda completions, **columns: [1.0] * len(completions), workers=1) as scorer:
        scored = scorer.score([Row("p", "a", {"x": Shy()}), Row("p", "b")])
    assert [result.reason for result in scored] == ["exception", None]
    assert scored[0].detail.startswith("ValueError: invalid literal")


@pytest.mark.slow
def test_the_room_can_be_imported_where_there_are_no_workers():
    code = """
import signal, sys
for name in ("SIGHUP", "SIGQUIT", "SIGKILL", "SIGCHLD"):
    delattr(signal, name)
for name in ("fcntl", "termios", "resource"):
    sys.modules[name] = None
from rewardsmith.data import Row
from rewardsmith.scoring import score
print(score(lambda completions: [0.5], [Row("p", "a")], workers=0)[0].reward)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0.5\n"


@pytest.mark.slow
def test_a_worker_that_had_nothing_to_do_yet_is_kept():
    with Scorer(lambda prompt, completion: float(__import__("os").getpid()), workers=2) as scorer:
        scorer.score([Row("p", str(i)) for i in range(64)])
        before = {worker.process.pid for worker in scorer.engine._workers}
        for _ in range(3):
            scorer.score([Row("p", "a")], nonce=str(time.monotonic()))
        assert {worker.process.pid for worker in scorer.engine._workers} == before


@pytest.mark.slow
def test_a_parent_with_a_thousand_open_files_has_workers_too():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 2048), hard), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert rewards_of(score(lambda prompt, completion: 1.0, [Row("p", "a")], workers=1, timeout=60.0)) == [1.0]
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
