"""Worker processes end with their parent."""

import subprocess
import sys

JOB = """
import time
from rewardsmith._processes import worker_pool

if __name__ == "__main__":
    with worker_pool(1) as pool:
        pool.submit(print, "works", flush=True).result()
        pool.submit(time.sleep, 600).result()
"""


def test_a_worker_ends_where_its_parent_is_killed(tmp_path):
    (tmp_path / "job.py").write_text(JOB)
    job = subprocess.Popen([sys.executable, tmp_path / "job.py"], stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "works\n"
    job.kill()
    assert job.communicate(timeout=60) == ("", None)  # its end comes once no process holds the other side
