"""The process that watches over one program, from inside its sandbox, and the program that it starts.

Nothing of rewardsmith but files of this room is loaded here, so it starts almost as fast as the interpreter.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from rewardsmith.sandbox import confine, namespaces
from rewardsmith.sandbox.plain import dumps, pack, unpack

EVERY_S = 0.05  # between two looks at memory, processor time, processes and disk
TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def main(text: str) -> None:
    """Isolate this process, wait for a program, start it, watch it, report how it ended; return in the program."""
    settings = json.loads(text)
    work, control = settings["work"], settings["control"]
    if settings["enter"]:
        namespaces.enter(**settings["enter"], work=work, disk=settings["limits"]["disk_mib"] << 20)
    confine.call("prctl", confine.DUMPABLE, 0, 0, 0, 0)  # or the program, of the same user, could look in here
    confine.drop_privileges()
    os.write(control, b"ready\n")
    line = open(control, "rb", closefd=False).readline()  # noqa: SIM115
    if not line:
        os._exit(0)  # the parent closed this sandbox unused
    job = json.loads(line)
    for name, content in {"main.py": job["source"], **job["files"]}.items():
        path = os.path.join(work, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), content)
    stdin = os.memfd_create("stdin")
    write(os.dup(stdin), job["stdin"])
    os.lseek(stdin, 0, os.SEEK_SET)
    waits, confined = os.pipe()
    program = os.fork()
    if program:
        os.close(confined)
        report = watch(program, settings) if os.read(waits, 1) else {"failed": True}
        with contextlib.suppress(OSError):  # the parent has ended
            os.write(control, dumps(report))
        os._exit(0)  # as process 1, which takes all others with it
    os.dup2(stdin, 0)
    calls = settings["calls"] if job["serve"] else -1
    for number in {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, calls, confined}:
        with contextlib.suppress(OSError):  # that of the listing itself
            os.close(number)
    confine_program(settings)
    os.write(confined, b"x")
    os.close(confined)
    run(job, work, calls, settings["limits"]["output_bytes"])


def write(number: int, text: str) -> None:
    """Write a text and close the file; a lone surrogate, which JSON can hold, stays one."""
    with open(number, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        file.write(text)


def watch(program: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Return how the program ended; end it at a limit, or when the parent closes its end of the control channel."""
    ends, control = os.pidfd_open(program), settings["control"]
    events = select.poll()
    events.register(ends, select.POLLIN)
    events.register(control, select.POLLIN)
    ended, look, ready = "", time.monotonic() + EVERY_S, set[int]()
    while not ended and ends not in ready:
        ready = {number for number, _ in events.poll(EVERY_S * 1000)}
        if control in ready:
            ended = "closed"
        elif time.monotonic() >= look:
            ended, look = over(program, settings), time.monotonic() + EVERY_S
            while settings["namespaces"] and reap_another_than(program):
                pass
    os.kill(program, signal.SIGKILL)  # no harm where it has ended
    status = os.waitpid(program, 0)[1]
    return {"code": os.waitstatus_to_exitcode(status), "ended": ended or over(program, settings)}


def reap_another_than(program: int) -> bool:
    """Take note of the end of a process that lost its parent, and so became a child of process 1; False if none."""
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None and found.si_pid != program and os.waitpid(found.si_pid, 0)[0] > 0


def over(program: int, settings: dict[str, Any]) -> str:
    """Return the limit that the program, with all its processes, is over; "" if none."""
    limits, work = settings["limits"], settings["work"]
    spent, memory, tasks = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]), 0, 0
    for name in os.listdir("/proc") if settings["namespaces"] else [str(program)]:
        if name.isdigit() and name != "1":
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()  # from the state on, field 3 of proc(5)
            except OSError:
                continue  # it has ended
            spent += sum(map(int, fields[11:15])) / TICKS
            tasks += int(fields[17])
            memory += int(fields[21]) * PAGE
    disk = limits["disk_mib"] << 20
    if settings["namespaces"]:
        room = os.statvfs(work)
        used, files = (room.f_blocks - room.f_bfree) * room.f_frsize, room.f_files - room.f_ffree
    else:
        found = [os.path.join(folder, name) for folder, _, names in os.walk(work) for name in names]
        used, files = sum(os.lstat(path).st_blocks * 512 for path in found if os.path.lexists(path)), len(found)
    over_limit = {
        "processes": tasks > limits["processes"],
        "cpu": spent > limits["cpu_s"],
        "memory": memory > limits["memory_mib"] << 20,
        "disk": used >= disk or files >= disk // 1024,
    }
    return next((name for name, exceeded in over_limit.items() if exceeded), "")


def confine_program(settings: dict[str, Any]) -> None:
    """Give up, in the program's process before its first line, all that it does not need."""
    limits, work = settings["limits"], settings["work"]
    os.setsid()
    os.chdir(work)
    os.environ.clear()
    os.environ |= {"PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin", "HOME": work, "TMPDIR": work}
    os.environ |= {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a plugin may be installed where nothing can be read
    confine.call("prctl", confine.PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    confine.limit_resources(
        cpu_s=limits["cpu_s"],
        memory=limits["memory_mib"] << 20,
        file_size=limits["disk_mib"] << 20,
        # One above the limit, where `watch` sees it. In these namespaces only processes of this sandbox count.
        processes=limits["processes"] + 3 if settings["namespaces"] else None,
    )
    allowed = dict.fromkeys(settings["readable"], confine.READ)
    allowed |= dict.fromkeys(settings["devices"], confine.DEVICE)
    confine.landlock(allowed | {work: confine.TREE if settings["namespaces"] else confine.FLAT})
    confine.filter_calls(namespaces=settings["namespaces"])


def run(job: dict[str, Any], work: str, calls: int, longest: int) -> None:
    """Be the program: the command, or `source` as the main module of this interpreter, which then ends as ever."""
    if job["command"]:
        become(job["command"])
    space = ModuleType("program" if job["serve"] else "__main__")  # a module's `if __name__ == "__main__"` is not run
    path = os.path.join(work, "main.py")
    space.__dict__.update(__file__=path, __builtins__=builtins)
    for name in [name for name in sys.modules if name.startswith("rewardsmith")]:
        del sys.modules[name]
    sys.modules["__main__"] = sys.modules[space.__name__] = space
    sys.argv, sys.path[:0] = ["main.py"], [work]
    sys.excepthook = without_our_frames
    if job["serve"]:
        serve(space, path, job["relay"], calls, longest)
    else:
        execute(space, path)


def execute(space: ModuleType, path: str) -> None:
    """Execute a file as the module `space`."""
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, space.__dict__)


def become(command: list[str]) -> NoReturn:
    """Replace this process by the command; exit with 127 where it cannot be started, as a shell does."""
    for name in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(name, signal.SIG_DFL)  # which Python ignores
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def without_our_frames(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    """Print an uncaught exception as the interpreter does for a program of its own."""
    while frames and frames.tb_frame.f_code.co_filename in ("<string>", __file__):
        frames = frames.tb_next
    sys.__excepthook__(kind, error.with_traceback(frames), frames)


class Unscored(BaseException):
    """A value could not travel: no `except Exception` of a test takes it for a failure."""


def serve(space: ModuleType, path: str, relays: bool, calls: int, longest: int) -> None:
    """Execute the source, then answer calls to its functions until the parent closes the channel."""
    reads, writes = open(calls, "rb", closefd=False), open(calls, "wb", closefd=False)  # noqa: SIM115

    def send(message: dict[str, Any]) -> None:
        line = dumps(message)
        if len(line) > longest:
            raise Unscored(f"a value takes {len(line)} bytes, above the limit of {longest}")
        writes.write(line)
        writes.flush()

    def relay(name: str, *args: Any, **kwargs: Any) -> Any:
        send({"ask": pack([name, list(args), kwargs])})
        kind, told = json.loads(reads.readline())
        if kind == "unscored":
            raise Unscored(told)
        if kind == "raised":
            name, _, text = told.partition(": ")
            known = getattr(builtins, name, None)
            raise (known if isinstance(known, type) and issubclass(known, Exception) else RuntimeError)(text)
        return unpack(told)

    if relays:
        space.__dict__["relay"] = relay
    failed: BaseException | None = None
    try:
        execute(space, path)
    except BaseException as error:
        failed = error
    for line in reads:
        request = json.loads(line)
        try:
            if failed:
                raise failed
            name, args, kwargs = unpack(request["call"])
            value = space.__dict__[name](*args, **kwargs)
            try:
                send({"id": request["id"], "value": pack(value)})
            except Exception as error:
                raise Unscored(f"the value cannot travel: {error}") from None
        except Unscored as error:
            send({"id": request["id"], "unscored": str(error)})
        except BaseException as error:
            send({"id": request["id"], "raised": f"{type(error).__name__}: {error}"[:1000]})
