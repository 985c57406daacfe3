"""A guardian: the process between a worker and its parent that ends the worker with all that it has started.

It outlives a parent that is killed. On Linux it adopts every orphan below it, so that programs with a session of their
own end too; elsewhere only the worker's process group does. It keeps the last bytes of the worker's standard error.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import selectors
import signal
import struct
import sys
import time
from collections.abc import Callable

KEPT = 2048
"""Bytes of standard error that are kept."""
PATIENCE = 10.0
"""Seconds that what is killed gets to be gone; a process in the kernel's hands cannot be waited for."""
_HEAD = struct.Struct("=QQQ")


class Tail:
    """The end of the worker's standard error: the guardian reads it off a pipe, both see it in shared memory.

    The head holds the byte from which the running call counts, the bytes read so far, and 1 while some are being read.
    """

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        os.set_blocking(self.reads, False)
        self._memory = mmap.mmap(-1, _HEAD.size + KEPT)

    def mark(self) -> None:
        """Forget what was written before now (worker)."""
        self._memory[:8] = struct.pack("=Q", self._written())

    def recent(self) -> bytes:
        """What was written since the mark, at most the last `KEPT` bytes (worker)."""
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        written, deadline = self._written(), time.monotonic() + 1.0
        while self._head()[1] < written and time.monotonic() < deadline:
            time.sleep(0.0005)
        return self.kept()

    def kept(self) -> bytes:
        """What was read since the mark, at most the last `KEPT` bytes."""
        mark, total, _ = self._head()
        wanted = min(max(total - mark, 0), KEPT)
        ring = self._memory[_HEAD.size :]
        end = total % KEPT
        return (ring[end:] + ring[:end])[KEPT - wanted :]

    def read(self) -> bool:
        """Read what is there now; False once nobody can write any more (guardian)."""
        for _ in range(64):
            _, total, _ = self._head()
            self._memory[16:24] = struct.pack("=Q", 1)
            try:
                new = os.read(self.reads, 1 << 16)
            except BlockingIOError:
                return True
            else:
                last = new[-KEPT:]
                start = (total + len(new) - len(last)) % KEPT  # in the ring
                for place, piece in ((start, last[: KEPT - start]), (0, last[KEPT - start :])):
                    self._memory[_HEAD.size + place : _HEAD.size + place + len(piece)] = piece
                self._memory[8:16] = struct.pack("=Q", total + len(new))
            finally:
                self._memory[16:24] = struct.pack("=Q", 0)
            if not new:
                return False
        return True

    def _head(self) -> tuple[int, int, int]:
        mark, total, reading = _HEAD.unpack_from(self._memory)
        return mark, total, reading

    def _written(self) -> int:
        """The bytes written so far, read or not; asked again while the guardian is reading."""
        import fcntl  # not at the top: this room is importable where there are no workers, as on Windows
        import termios

        while True:
            before = self._head()
            try:
                unread = int(struct.unpack("i", fcntl.ioctl(self.writes, termios.FIONREAD, b"\0" * 4))[0])
            except OSError:  # the reward has closed it
                return before[1]
            if before == self._head() and not before[2]:
                return before[1] + unread
            time.sleep(0)


def stand_over(work: Callable[[Tail], None], lifeline: int, parent: int) -> None:
    """Run `work` in a child, and end this process as that child ended (same signal or status), with all below it.

    It ends early once the parent hangs up, dies, or sends SIGTERM. What the child last wrote to standard error goes to
    the parent through `lifeline`.
    """
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans below come to this process
    tail = Tail()
    me, worker = os.getpid(), os.fork()
    if worker == 0:
        os.setsid()
        _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != me:
            os._exit(0)
        os.dup2(tail.writes, 2)
        os.close(lifeline)
        os.close(tail.reads)
        work(tail)
        return
    os.close(tail.writes)
    brood = _Brood(worker)
    # Read standard error and collect orphans, until the worker has ended or is to be ended.
    awake, wake = os.pipe()
    for end in (awake, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    told: list[int] = []
    signal.signal(signal.SIGCHLD, lambda number, _: None)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda number, _: told.append(number))
    ends = {lifeline}
    if hasattr(os, "pidfd_open"):  # the lifeline stays open in processes that the parent has forked
        with contextlib.suppress(OSError):
            ends.add(os.pidfd_open(parent))
    selector = selectors.DefaultSelector()  # descriptors keep the parent's numbers, too high for `select` in some
    for descriptor in (*ends, awake, tail.reads):
        selector.register(descriptor, selectors.EVENT_READ)
    while brood.reap() and brood.status is None and not told and os.getppid() == parent:
        ready = {key.fd for key, _ in selector.select()}
        if tail.reads in ready and not tail.read():
            selector.unregister(tail.reads)
        if awake in ready:
            os.read(awake, 4096)
        if ends & ready:
            break
    brood.end()
    tail.read()
    with contextlib.suppress(OSError):
        os.write(lifeline, tail.kept())
    if brood.status is None or not os.WIFSIGNALED(brood.status):
        os._exit(1 if brood.status is None else os.WEXITSTATUS(brood.status))
    import resource

    fatal = os.WTERMSIG(brood.status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        signal.signal(fatal, signal.SIG_DFL)
    os.kill(os.getpid(), fatal)
    os._exit(128 + fatal)


class _Brood:
    """The worker and what it has started. status: how the worker ended, None while it runs."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.status: int | None = None

    def reap(self) -> bool:
        """Collect whoever has ended; False once nobody is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == self.worker:
                    self.status = status
                if process == 0:
                    return True
        return False

    def end(self) -> None:
        """Kill them all, those too that come here as orphans when their parents die."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.status is None or sys.platform != "linux":  # elsewhere its group is all that can be found
                os.killpg(self.worker, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            if self.status is None:
                os.kill(self.worker, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while self.reap() and time.monotonic() < deadline:
            for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
                with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                    if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                        os.kill(int(name), signal.SIGKILL)
            time.sleep(0.001)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
