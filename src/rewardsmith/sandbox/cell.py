"""One sandbox, from the side of the parent: started ahead of time, given one program, watched to its end."""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

from rewardsmith.sandbox.layers import command
from rewardsmith.sandbox.plain import dumps, pack, unpack
from rewardsmith.sandbox.programs import Answered, Limits, Program, Ran, SandboxUnavailable

Relay = Callable[[str, list[Any], dict[str, Any]], Answered]
START_S, END_S = 60.0, 20.0  # for the interpreter to start, and for the kernel to end all processes
STANDS = b"ready\n"  # a sandbox says so once, and then reports once how its program ended
FAILURES = {  # last words of a Python program that failed at a limit
    b"MemoryError": "memory",
    b"OSError: [Errno 12]": "memory",
    b"OSError: [Errno 28]": "disk",
    b"OSError: [Errno 27]": "disk",
    b"BlockingIOError: [Errno 11]": "processes",
    b"RuntimeError: can't start new thread": "processes",
}


class Cell:
    """A fresh sandbox for one program."""

    def __init__(self, layer: str, limits: Limits) -> None:
        self.limits, self.ended = limits, ""
        self.folder = tempfile.TemporaryDirectory(prefix="rewardsmith-") if layer == "landlock" else None
        self.control, control = socket.socketpair()
        self.calls, calls = socket.socketpair()
        with control, calls:
            inner = (control.fileno(), calls.fileno())
            self.process = subprocess.Popen(
                command(layer, limits, self.folder.name if self.folder else "/tmp", *inner),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=inner,
                env={},
                cwd="/",
                start_new_session=True,  # no terminal, and a process group of its own
            )
        sources: dict[str, Any] = {"stdout": self.process.stdout, "stderr": self.process.stderr}
        sources |= {"control": self.control, "calls": self.calls}
        self.arrived = {name: bytearray() for name in sources}
        self.selector = selectors.DefaultSelector()
        for name, source in sources.items():
            assert source is not None
            self.selector.register(source, selectors.EVENT_READ, name)

    def open(self, *names: str) -> bool:
        """Return whether one of the channels is open."""
        return any(key.data in names for key in self.selector.get_map().values())

    def wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Take what arrives until `done`; set `ended` where time or output runs out first."""
        deadline = time.monotonic() + seconds
        while not done() and not self.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                self.ended = "time"
                return
            for key, _ in self.selector.select(left):
                try:
                    data = os.read(key.fd, 65536)
                except ConnectionResetError:
                    data = b""
                self.arrived[key.data] += data
                if not data:
                    self.selector.unregister(key.fileobj)
            written = len(self.arrived["stdout"]) + len(self.arrived["stderr"])
            if max(written, len(self.arrived["calls"])) > self.limits.output_bytes:
                self.ended = "output"

    def wait_until_ready(self) -> None:
        """Wait for the sandbox to stand; raise SandboxUnavailable, with what it wrote, where it does not."""
        self.wait(lambda: b"\n" in self.arrived["control"] or not self.open("control"), START_S)
        if self.arrived["control"] != STANDS:
            self.wait(lambda: not self.open("stderr"), 1)
            raise SandboxUnavailable(f"it does not start: {last_line(self.arrived['stderr']) or self.ended}")

    def give(self, program: Program, *, serve: bool = False, relay: bool = False) -> None:
        """Start the program."""
        self.wait_until_ready()
        job = {"source": program.source, "stdin": program.stdin, "command": program.command, "serve": serve}
        self.control.sendall(dumps(job | {"files": dict(program.files), "relay": relay}))

    def finish(self) -> Ran:
        """Wait for the program to end, or end it at a limit."""
        self.wait(lambda: not self.open("control"), self.limits.wall_s)
        return self.close()

    def close(self) -> Ran:
        """End all processes of the sandbox, and return how the program went."""
        self.end()
        return self._ran()

    def end(self) -> None:
        """End all processes of the sandbox, which takes a second call."""
        if self.control.fileno() < 0:
            return
        if self.open("control"):
            self.control.shutdown(socket.SHUT_WR)  # the report still arrives
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.wait(lambda: not self.open("control", "stdout", "stderr"), END_S)  # nobody is left who could write
        self.selector.close()
        for channel in (self.control, self.calls, self.process.stdout, self.process.stderr):
            assert channel is not None
            channel.close()
        if self.folder:
            self.folder.cleanup()

    def _ran(self) -> Ran:
        report = json.loads(self.arrived["control"].removeprefix(STANDS) or b"{}")
        if "failed" in report:
            raise SandboxUnavailable(f"Sandbox: a layer fails: {last_line(self.arrived['stderr'])}")
        code = report.get("code")
        ended = self.ended or report.get("ended", "killed")
        if not ended and code:
            words = last_line(self.arrived["stderr"]).encode()
            ended = next((limit for start, limit in FAILURES.items() if words.startswith(start)), "")
            if code < 0:
                ended = "cpu" if code == -signal.SIGXCPU else "killed"
        if ended == "closed":
            ended, code = "", None
        longest = self.limits.output_bytes
        stdout, stderr = (self.arrived[name][:longest].decode(errors="replace") for name in ("stdout", "stderr"))
        return Ran(stdout, stderr, None if ended else code, ended)


class Child:
    """A sandboxed process that answers calls of its functions; made by `Sandbox.start`."""

    def __init__(self, cell: Cell, source: str, relay: Relay | None) -> None:
        self._cell, self._relay = cell, relay
        self._ran: Ran | None = None
        self._left_s = cell.limits.wall_s
        cell.give(Program(source), serve=True, relay=relay is not None)
        cell.calls.settimeout(cell.limits.wall_s)

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Answered:
        """Call a function of the child with plain data, and return its answer; see `Answered`."""
        nonce = secrets.token_hex(8)
        try:
            message = dumps({"id": nonce, "call": pack([name, args, kwargs])})
        except (TypeError, ValueError, RecursionError) as error:
            return Answered(unscored=f"an argument cannot travel: {error}")
        while (answer := self._exchange(message)) is not None:
            try:
                asked = unpack(answer["ask"]) if "ask" in answer and self._relay else None
                value = unpack(answer.get("value"))
                name, args, kwargs = asked or ("", [], {})
            except (TypeError, ValueError, KeyError, RecursionError):
                break  # not what `pack` returns
            if asked and self._relay:
                told = self._relay(name, args, kwargs)
                kind = "unscored" if told.unscored else "raised" if told.raised else "value"
                message = dumps([kind, pack(told.value) if kind == "value" else getattr(told, kind)])
                continue
            if answer.get("id") != nonce:
                break
            failed = {
                kind: plain_text(answer[kind]) or "Exception" for kind in ("raised", "unscored") if kind in answer
            }
            return Answered(**failed) if failed else Answered(value)
        ran = self.close()
        return Answered(raised=f"SandboxEnded: {ran.ended or f'exit code {ran.exit_code}'}")

    def _exchange(self, message: bytes) -> dict[str, Any] | None:
        """Send a message and return the next one of the child; None where it has ended, or sends what it must not."""
        cell, began = self._cell, time.monotonic()
        arrived = cell.arrived["calls"]
        if self._ran is not None or arrived:  # a message that nobody asked for
            return None
        try:
            cell.calls.sendall(message)
            cell.wait(lambda: b"\n" in arrived or not cell.open("calls"), self._left_s)
            line, _, rest = arrived.partition(b"\n")
            arrived[:] = rest
            answer = json.loads(line)
        except TimeoutError:
            cell.ended = "time"
            return None
        except (OSError, ValueError, RecursionError):
            return None
        finally:
            self._left_s -= time.monotonic() - began
        return answer if isinstance(answer, dict) else None

    def close(self) -> Ran:
        """End the child, and return what it wrote."""
        if self._ran is None:
            self._ran = self._cell.close()
        return self._ran


def last_line(text: bytearray) -> str:
    """Return the last line that is not empty."""
    return plain_text((text.decode(errors="replace").strip().splitlines() or [""])[-1])


def plain_text(text: object) -> str:
    """Return a text of a child fit for a report: cut, and without characters that steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:500])
