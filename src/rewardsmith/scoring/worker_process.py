"""A worker process as its parent sees it: started, sent calls, listened to, and ended with all it has started."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time

from rewardsmith.scoring.channel import LONGEST, Message, Ready, frame, heard, unframe
from rewardsmith.scoring.guardian import KEPT
from rewardsmith.scoring.work import Task
from rewardsmith.scoring.worker import Order

GRACE = 15.0
"""Seconds that a guardian gets to end what is below it, before it is killed itself."""
AHEAD, MOST_CALLS = 0.02, 64
"""Seconds of work that a worker may have waiting, and calls: what it does while its parent does something else."""
_BOOT = "import sys; from rewardsmith.scoring.worker import main; main(*map(int, sys.argv[1:]))"


class WorkerProcess:
    """One process with the calls it has been sent, oldest first.

    allowed: number of a call → seconds that it may take. started: → when it began. cold: nothing has come back yet.
    garbled: it has sent what is no message. slowest: seconds a row of one of its last calls, the slowest of them.
    """

    def __init__(self, payload: bytes, memory: int | None) -> None:
        # One thread per worker unless the caller says otherwise, and the same set order in each of them.
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
        setup = pickle.dumps((sys.path, payload, memory), pickle.HIGHEST_PROTOCOL)
        self.outbox, self._inbox = bytearray(frame(setup)), bytearray()
        self.tasks: dict[int, Task] = {}
        self.allowed: dict[int, float | None] = {}
        self.started: dict[int, float] = {}
        self.ready, self.cold, self.garbled = False, True, False
        self.since, self.slowest = time.monotonic(), 0.0
        self.tail = b""
        self.flush()

    def has_room(self, task: Task) -> bool:
        """Tell whether it may have one more call: two always, and more while their rows are quick."""
        if len(self.tasks) < 2 or self.cold:
            return len(self.tasks) < 2
        n_rows = sum(len(each.indices) for each in (*self.tasks.values(), task))
        return len(self.tasks) < MOST_CALLS and n_rows * self.slowest <= AHEAD

    def send(self, number: int, task: Task, allowed: float | None, *, limits_itself: bool) -> None:
        """Give it a call, with the next `flush`; one that is async `limits_itself`, row by row."""
        rows = pickle.dumps(task.rows, pickle.HIGHEST_PROTOCOL)
        order = Order(number, rows, allowed if limits_itself else None, task.unit.check_mutation)
        self.outbox += frame(pickle.dumps(tuple(order), pickle.HIGHEST_PROTOCOL))
        self.tasks[number], self.allowed[number], self.started[number] = task, allowed, time.monotonic()

    def forget(self, number: int) -> None:
        """The call is over."""
        del self.tasks[number], self.allowed[number], self.started[number]

    def restart_clocks(self) -> None:
        """The calls that it has begin now."""
        self.started = dict.fromkeys(self.tasks, time.monotonic())

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self.outbox:
                del self.outbox[: self.channel.send(self.outbox)]
        except BlockingIOError:
            pass
        except OSError:  # it died; the read side tells how far it came
            self.outbox.clear()

    def receive(self) -> tuple[list[Message], bool]:
        """The messages that have come, and whether no more can come: it has closed its end, or sent what is none."""
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
            messages.extend(map(heard, unframe(self._inbox, longest=LONGEST)))
        except ValueError:
            closed = self.garbled = True
        return messages, closed

    def is_idle(self) -> bool:
        """Whether it lives and has nothing to do."""
        if self.tasks or self.process.poll() is not None:
            return False
        messages, closed = self.receive()
        self.ready = self.ready or Ready() in messages
        return not closed and all(message == Ready() for message in messages)

    def dismiss(self) -> None:
        """Tell the guardian to end everything, and do not wait for it."""
        with contextlib.suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_WR)

    def end(self, *, patience: float = 0.0) -> str:
        """End the process and all it has started; say how it ended, of itself if it does so within `patience`.

        `tail` is then what it last wrote to standard error.
        """
        if not self._last_words(patience):
            self.dismiss()
            if not self._last_words(GRACE):
                self.process.kill()
        code = self.process.wait()
        self.channel.close()
        self._lifeline.close()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def _last_words(self, patience: float) -> bool:
        """Listen until the guardian has hung up; False if it has not."""
        deadline = time.monotonic() + patience
        with contextlib.suppress(OSError):  # of which a timeout is one
            while len(self.tail) < 2 * KEPT:
                self._lifeline.settimeout(max(deadline - time.monotonic(), 1e-3))
                received = self._lifeline.recv(KEPT)
                self.tail += received
                if not received:
                    return True
        return False
