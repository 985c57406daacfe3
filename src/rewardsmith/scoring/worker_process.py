"""A worker process in its parent: start it, send calls, receive messages, and end it with all its processes."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time

from rewardsmith.scoring.channel import LONGEST, Message, Ready, decode, frame, unframe
from rewardsmith.scoring.guardian import KEPT
from rewardsmith.scoring.work import Task
from rewardsmith.scoring.worker import Order

GRACE = 15.0
"""Seconds for a guardian to end all processes, before it is killed itself."""
AHEAD, MOST_CALLS = 0.02, 64
"""Limits of the work that waits at a worker, in seconds and in calls, for when its parent is busy."""
_BOOT = "import sys; from rewardsmith.scoring.worker import main; main(*map(int, sys.argv[1:]))"


class WorkerProcess:
    """One process with the calls that were sent to it, oldest first.

    allowed: call number → its time limit in seconds. started: → its start. cold: it has sent no result yet.
    garbled: it has sent an invalid message. slowest: seconds per row of the slowest of its last calls.
    """

    def __init__(self, payload: bytes, memory: int | None, *, threads: bool) -> None:
        # By default one thread per worker, and the same set order in all of them.
        defaults = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false"}
        path = os.pathsep.join(filter(None, sys.path))
        self.channel, theirs = socket.socketpair()
        self._lifeline, far = socket.socketpair()
        with theirs, far:
            ends = theirs.fileno(), far.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, *map(str, ends), str(os.getpid())],
                pass_fds=ends,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**defaults, **os.environ, "PYTHONPATH": path},
            )
        self.channel.setblocking(False)
        setup = pickle.dumps((sys.path, payload, memory, threads), pickle.HIGHEST_PROTOCOL)
        self.outbox, self._inbox = bytearray(frame(setup)), bytearray()
        self.tasks: dict[int, Task] = {}
        self.allowed: dict[int, float | None] = {}
        self.started: dict[int, float] = {}
        self.ready, self.cold, self.garbled = False, True, False
        self.since, self.slowest = time.monotonic(), 0.0
        self.tail = b""
        self.flush()

    def has_room(self, task: Task) -> bool:
        """Return whether it may get one more call: up to two always, and more while their rows are quick."""
        if len(self.tasks) < 2 or self.cold:
            return len(self.tasks) < 2
        n_rows = sum(len(each.indices) for each in (*self.tasks.values(), task))
        return len(self.tasks) < MOST_CALLS and n_rows * self.slowest <= AHEAD

    def send(self, number: int, task: Task, allowed: float | None, *, limits_itself: bool) -> None:
        """Queue a call for the next `flush`; an async one `limits_itself`, row by row."""
        rows = pickle.dumps(task.rows, pickle.HIGHEST_PROTOCOL)
        order = Order(number, rows, allowed if limits_itself else None, task.unit.check_mutation)
        self.outbox += frame(pickle.dumps(tuple(order), pickle.HIGHEST_PROTOCOL))
        self.tasks[number], self.allowed[number], self.started[number] = task, allowed, time.monotonic()

    def forget(self, number: int) -> None:
        """Remove a finished call."""
        del self.tasks[number], self.allowed[number], self.started[number]

    def allow_at_most(self, extra: float) -> None:
        """Lower the limits of its calls to their own and so many seconds more."""
        for number, task in self.tasks.items():
            if (allowed := self.allowed[number]) is not None and (limit := task.unit.limit) is not None:
                self.allowed[number] = min(allowed, limit + extra)

    def restart_clocks(self) -> None:
        """Set the start of all its calls to now."""
        self.started = dict.fromkeys(self.tasks, time.monotonic())

    def flush(self) -> None:
        """Send as much as the socket accepts."""
        try:
            while self.outbox:
                del self.outbox[: self.channel.send(self.outbox)]
        except BlockingIOError:
            pass
        except OSError:  # it died; `receive` finds the last results
            self.outbox.clear()

    def receive(self) -> tuple[list[Message], bool]:
        """Return the new messages, and whether the channel has ended: closed, or after an invalid message."""
        closed = True
        try:
            while received := self.channel.recv(1 << 16):
                self._inbox += received
                if len(received) < 1 << 16:
                    closed = False
                    break
        except BlockingIOError:
            closed = False
        except OSError:
            pass
        messages: list[Message] = []
        try:
            messages.extend(map(decode, unframe(self._inbox, longest=LONGEST)))
        except ValueError:
            closed = self.garbled = True
        return messages, closed

    def is_free(self) -> bool:
        """Return whether it is alive and has no call."""
        if self.tasks or self.process.poll() is not None:
            return False
        messages, closed = self.receive()
        self.ready = self.ready or Ready() in messages
        return not closed and all(message == Ready() for message in messages)

    def dismiss(self) -> None:
        """Make the guardian end all processes, without waiting for it."""
        with contextlib.suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_WR)

    def end(self, *, patience: float = 0.0) -> str:
        """End the process and its descendants; return how it ended, on its own if it does so within `patience`.

        `tail` is then the end of its standard error.
        """
        if not self._read_tail(patience):
            self.dismiss()
            if not self._read_tail(GRACE):
                self.process.kill()
        code = self.process.wait()
        self.channel.close()
        self._lifeline.close()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def _read_tail(self, patience: float) -> bool:
        """Read the guardian's last bytes until it closes the socket; False if it does not."""
        deadline = time.monotonic() + patience
        with contextlib.suppress(OSError):  # a timeout, too
            while len(self.tail) < 2 * KEPT:
                self._lifeline.settimeout(max(deadline - time.monotonic(), 1e-3))
                received = self._lifeline.recv(KEPT)
                self.tail += received
                if not received:
                    return True
        return False
