"""Nothing that a worker has started outlives the command, however the command ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rewardsmith.data import Row
from rewardsmith.scoring import Scorer, rewards_of, score

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the process group of a worker ends")


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(done, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    return done()


def starting(note: Path, then: str = ""):
    """A reward that starts a program in a session of its own and an orphan of a shell, and notes their ids."""

    def reward(prompt, completion):
        import os
        import subprocess
        import time

        program = subprocess.Popen(["sleep", "997"], start_new_session=True)
        shell = ["sh", "-c", "setsid sleep 998 >/dev/null 2>&1 & echo $!"]
        orphan = subprocess.run(shell, capture_output=True, check=True)
        with open(note, "a") as file:
            file.write(f"{program.pid} {int(orphan.stdout)}\n")
        if then == "hang":
            time.sleep(1000)
        if then == "crash":
            os._exit(3)
        return 1.0

    return reward


def noted(note: Path) -> list[int]:
    return [int(process) for process in note.read_text().split()] if note.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize(("then", "reason"), [("", None), ("hang", "timeout"), ("crash", "crash")])
def test_programs_of_a_row_end_with_its_worker(tmp_path, then, reason):
    note = tmp_path / "ids"
    [scored] = score(starting(note, then), [Row("p", "a")], timeout=0.6 if then == "hang" else 30.0)
    assert scored.reason == reason
    assert len(noted(note)) == 2
    assert wait_until(lambda: all(map(gone, noted(note))))


JOB = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell has sent to the background
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
from pathlib import Path
from rewardsmith.data import Row
from rewardsmith.scoring import score
from tests.scoring.test_descendants import starting

score(starting(Path(sys.argv[1]), "hang"), [Row("p", "a")], timeout=100.0)
"""


@pytest.mark.slow
def test_programs_end_whatever_signal_ends_the_command(tmp_path):
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)
    notes = {number: tmp_path / number.name for number in signals}
    jobs = {
        number: subprocess.Popen(
            [sys.executable, "-c", JOB, str(note)], env=environment, cwd=root, stderr=subprocess.DEVNULL
        )
        for number, note in notes.items()
    }
    try:
        for number, job in jobs.items():
            assert wait_until(lambda note=notes[number]: len(noted(note)) == 2)
            assert not any(map(gone, noted(notes[number])))
            job.send_signal(number)
            job.wait(30)
            assert wait_until(lambda note=notes[number]: all(map(gone, noted(note)))), number.name
    finally:
        for job in jobs.values():
            job.kill()
            job.wait(30)


@pytest.mark.slow
def test_closing_a_scorer_ends_a_worker_that_ignores_every_signal_it_can():
    def stubborn(prompt, completion):
        import signal

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        return float(__import__("os").getpid())

    with Scorer(stubborn, workers=1) as scorer:
        [process] = rewards_of(scorer.score([Row("p", "a")]))
    assert wait_until(lambda: gone(int(process)))
