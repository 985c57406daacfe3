"""No attack gets out, is taken for a solution, or changes how its neighbor goes.

`make test` tries one mode, as the user who runs it; `make sandbox` tries each mode, as root and as an ordinary user.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import stat
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.attacks import ATTACKS, CALLS, ENDS, HELPERS

import rewardsmith.sandbox
from rewardsmith.sandbox import Answered, Limits, Program, Ran, Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sandbox")]  # one group: the sandboxes are started once
MODES = os.environ.get("SANDBOX_MODES", "namespaces").split(",")
LIMITS = Limits(wall_s=6.0, cpu_s=1.0, memory_mib=256, processes=12, output_bytes=32768, disk_mib=4)
SECRET = "the-secret-of-the-file"
EXPECTED = "THE-ANSWER-IS-7919"
NEIGHBOR = Program("print(int(input()) * 2)", stdin="21")


class Outside:
    """What attacks aim at, and whether it is as it was."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.secret, self.open_folder = folder / "secret.txt", folder / "open"
        self.secret.write_text(SECRET)
        self.open_folder.mkdir()
        self.open_folder.chmod(0o777)
        self.shared = Path(tempfile.mkstemp(dir="/dev/shm")[1])
        self.shared.write_text(SECRET)
        self.victim = subprocess.Popen(["sleep", "3600"])
        self.tcp, self.udp = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.unix.bind(str(folder / "unix"))
        self.abstract.bind(f"\0rewardsmith-{os.getpid()}")
        self.datagrams.bind(str(folder / "datagrams"))
        for path in "unix", "datagrams":
            (folder / path).chmod(0o777)
        self.listeners = [self.tcp, self.udp, self.unix, self.abstract, self.datagrams]
        for listener in self.listeners:
            if listener.type == socket.SOCK_STREAM:
                listener.listen()
            listener.setblocking(False)
        self.key = os.getpid()
        self.segment = ctypes.CDLL(None).shmget(self.key, 64, 0o1666)  # IPC_CREAT
        self.names = {
            "SECRET": str(self.secret),
            "OUTSIDE": str(self.open_folder),
            "SHARED": str(self.shared),
            "PARENT": os.getpid(),
            "VICTIM": self.victim.pid,
            "ADDRESS": id(SECRET),
            "TCP": self.tcp.getsockname()[1],
            "UDP": self.udp.getsockname()[1],
            "UNIX": str(folder / "unix"),
            "ABSTRACT": f"rewardsmith-{os.getpid()}",
            "DATAGRAMS": str(folder / "datagrams"),
            "KEY": self.key,
            "PACKAGES": sysconfig.get_path("purelib"),
            "ROOM": str(Path(rewardsmith.sandbox.__file__).parent),
        }
        self.before = self.state()

    def program(self, source: str) -> Program:
        lines = [f"{name} = {value!r}" for name, value in self.names.items()]
        return Program("\n".join([*lines, HELPERS, source]))

    def state(self) -> dict[str, object]:
        """Return all that an attack could have changed."""
        file, pid = self.secret.stat(), self.victim.pid
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return {
            "content": self.secret.read_text(),
            "mode": (stat.filemode(file.st_mode), file.st_uid, file.st_mtime_ns, file.st_nlink),
            "attributes": os.listxattr(self.secret),
            "folders": sorted(path.name for path in [*self.secret.parent.iterdir(), *self.open_folder.iterdir()]),
            "packages": sorted(Path(str(self.names["PACKAGES"])).glob("attack*")),
            "code": [path.read_text() for path in sorted(Path(str(self.names["ROOM"])).glob("*.py"))],
            "victim": (self.victim.poll(), status["State"][0] in "RSD", status["TracerPid"]),
            "priority": (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), os.sched_getscheduler(pid)),
            "limits": resource.prlimit(pid, resource.RLIMIT_NOFILE),
            "host": platform.node(),
            "processes": [pid for pid in filter(str.isdigit, os.listdir("/proc")) if name_of(pid) == "attack-left"],
            "heard": [heard(listener) for listener in self.listeners],
            "left": sorted(
                {*Path("/tmp").glob("left-for*"), *Path("/dev/shm").glob("left-for*"), *Path().glob("core*")}
            ),
        }

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        self.shared.unlink()
        ctypes.CDLL(None).shmctl(self.segment, 0, None)
        for listener in self.listeners:
            listener.close()


def name_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def heard(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_STREAM:
            listener.accept()
        else:
            listener.recv(100)
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("outside")
    os.environ["REWARDSMITH_SECRET"] = SECRET
    world = Outside(folder)
    yield world
    world.close()
    del os.environ["REWARDSMITH_SECRET"]


@pytest.fixture(scope="module", params=MODES)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(LIMITS, mode=request.param, workers=2) as it:
        yield it


def ran(name: str, sandbox: Sandbox, outside: Outside) -> list[Ran]:
    """How a program went, and its neighbor."""
    return sandbox.run([outside.program(ATTACKS[name]), NEIGHBOR])


def asked(name: str, sandbox: Sandbox, outside: Outside) -> tuple[list[tuple[Answered, Answered]], str]:
    """Two answers of a function, each with one of its neighbor, and what its program wrote."""
    child = sandbox.start(outside.program(CALLS[name]).source)
    neighbor = sandbox.start("def double(x): return 2 * x")
    answers = [(child.call("answer", [], {}), neighbor.call("double", [21], {})) for _ in range(2)]
    neighbor.close()
    return answers, child.close().stdout


@pytest.fixture(scope="module")
def timed(sandbox: Sandbox, outside: Outside) -> dict[str, Any]:
    """What came of the attacks that only the clock ends, which wait for it together."""
    names = [name for name, ends in ENDS.items() if ends == "time"]
    with ThreadPoolExecutor(len(names)) as pool:
        running = {name: pool.submit(ran if name in ATTACKS else asked, name, sandbox, outside) for name in names}
        return {name: done.result() for name, done in running.items()}


@pytest.fixture
def came_of(request: pytest.FixtureRequest, name: str, sandbox: Sandbox, outside: Outside) -> Any:
    if ENDS.get(name) == "time":
        return request.getfixturevalue("timed")[name]
    return (ran if name in ATTACKS else asked)(name, sandbox, outside)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_program_gets_nothing_changes_nothing_and_does_not_pass(name, came_of, outside):
    attack, neighbor = came_of
    assert outside.state() == outside.before
    assert SECRET not in attack.stdout + attack.stderr
    assert "ESCAPED" not in attack.stdout, attack.stdout
    assert attack.stdout.strip() != EXPECTED
    assert len(attack.stdout) + len(attack.stderr) <= LIMITS.output_bytes
    if ends := ENDS.get(name):
        assert attack.ended in ends.split()
    assert (neighbor.stdout, neighbor.exit_code, neighbor.ended) == ("42\n", 0, "")


@pytest.mark.parametrize("name", CALLS)
def test_a_function_gets_nothing_and_does_not_pass(name, came_of, outside):
    answers, written = came_of
    for answered, neighbor in answers:
        assert type(answered.value) in (bool, int, str, float, list, type(None))
        assert answered.value != EXPECTED
        assert answered.raised.isprintable()
        assert answered.unscored.isprintable()
        assert neighbor.value == 42
    assert "ESCAPED" not in written
    assert outside.state() == outside.before
    if name in ENDS:
        assert answers[0][0].raised == f"SandboxEnded: {ENDS[name]}"


def test_there_are_at_least_sixty_attacks():
    assert len(ATTACKS) + len(CALLS) >= 60
