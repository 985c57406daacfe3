"""A batch of programs, each in a sandbox of its own. PLAIN FIRST VERSION: NOTHING IS ISOLATED YET."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from rewardsmith.sandbox.programs import Answered, Limits, Program, Ran

Relay = Callable[[str, list[Any], dict[str, Any]], Answered]

_SERVE = """
import builtins, json, os, sys
_in, _out = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
os.dup2(os.open("/dev/null", os.O_RDONLY), 0); os.dup2(2, 1)
class _Unscored(BaseException): pass
def _send(message):
    print(json.dumps(message), file=_out, flush=True)
def relay(name, *args, **kwargs):
    _send({"ask": [name, args, kwargs]})
    told = json.loads(_in.readline())
    if told["unscored"]: raise _Unscored(told["unscored"])
    if told["raised"]:
        kind, _, text = told["raised"].partition(": ")
        kind = getattr(builtins, kind, None)
        raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else RuntimeError)(text)
    return told["value"]
_space = {"__name__": "__main__"}
first = json.loads(_in.readline())
if first["relay"]: _space["relay"] = relay
try:
    exec(first["source"], _space)
    _failed = ""
except BaseException as error:
    _failed = f"{type(error).__name__}: {error}"
for line in _in:
    request = json.loads(line)
    try:
        if _failed: answer = {"raised": _failed}
        else: answer = {"value": _space[request["name"]](*request["args"], **request["kwargs"])}
    except _Unscored as error: answer = {"unscored": str(error)}
    except Exception as error: answer = {"raised": f"{type(error).__name__}: {error}"}
    try: _send(answer)
    except (TypeError, ValueError) as error: _send({"unscored": str(error)})
"""


class Sandbox:
    """Run programs and functions that nobody has read, each in a fresh sandbox; a context manager.

    Args:
        limits: what each program may use.
        mode: "namespaces" takes bubblewrap, or else namespaces of our own, and raises `SandboxUnavailable` where
            neither works. "landlock" makes do without namespaces.
        workers: programs at the same time; None is one for each core.
    """

    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008
        *,
        mode: Literal["namespaces", "bubblewrap", "unshare", "landlock"] = "namespaces",
        workers: int | None = None,
    ) -> None:
        self.limits, self.mode, self.workers = limits, mode, workers or 2

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all children."""

    def run(self, programs: Sequence[Program]) -> list[Ran]:
        """Run each program in a fresh sandbox, several at the same time, and return how they went, in order."""
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._run, programs))

    def _run(self, program: Program) -> Ran:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {"main.py": program.source, **program.files}.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            command = program.command or (sys.executable, "main.py")
            try:
                done = subprocess.run(
                    command,
                    input=program.stdin,
                    capture_output=True,
                    encoding="utf-8",
                    timeout=self.limits.wall_s,
                    cwd=folder,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return Ran("", "", None, "time")
        return Ran(done.stdout, done.stderr, done.returncode, "")

    def start(self, source: str, *, relay: Relay | None = None) -> Child:
        """Return a child that has executed `source` as a module and then answers calls to its functions.

        Args:
            source: Python code. Where it raises or ends, each call answers with that.
            relay: makes a function `relay(name, *args, **kwargs)` known to `source`. The child asks through it, this
                process answers by calling this argument, and the child gets the value, or the exception: that of the
                builtin of the name in `raised`, else a RuntimeError. Where it answers unscored, so does the call.
        """
        return Child(source, relay)


class Child:
    """A sandboxed process that answers calls; made by `Sandbox.start`."""

    def __init__(self, source: str, relay: Relay | None) -> None:
        self.relay = relay
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._send({"source": source, "relay": relay is not None})

    def _send(self, message: object) -> None:
        assert self.process.stdin is not None
        print(json.dumps(message), file=self.process.stdin, flush=True)

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Answered:
        """Call a function of the child with plain data, and return its answer; see `Answered`."""
        assert self.process.stdout is not None
        self._send({"name": name, "args": args, "kwargs": kwargs})
        while line := self.process.stdout.readline():
            answer = json.loads(line)
            if "ask" not in answer or self.relay is None:
                return Answered(**answer)
            told = self.relay(*answer["ask"])
            self._send({"value": told.value, "raised": told.raised, "unscored": told.unscored})
        return Answered(raised="SandboxEnded: exit code 0")

    def close(self) -> Ran:
        """End the child, and return what it wrote."""
        self.process.kill()
        stdout, stderr = self.process.communicate()
        return Ran(stdout, stderr, None, "")
