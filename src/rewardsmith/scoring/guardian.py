"""A guardian: a process between a worker and its parent that ends the worker with all processes it started.

It outlives a killed parent. On Linux it adopts all orphans of the worker, so that programs in other sessions end too;
elsewhere only the worker's process group ends. It keeps the last bytes of the worker's standard error.
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
"""Seconds that killed processes get to end; one that is blocked in the kernel cannot be waited for."""
_HEAD = struct.Struct("=QQQ")


class Tail:
    """The end of the worker's standard error, which the guardian reads from a pipe into shared memory.

    The head holds the byte where the running call starts, the bytes read so far, and 1 during a read.
    """

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        os.set_blocking(self.reads, False)
        self._memory = mmap.mmap(-1, _HEAD.size + KEPT)

    def mark(self) -> None:
        """Forget the output so far (called in the worker)."""
        self._memory[:8] = struct.pack("=Q", self._written())

    def recent(self) -> bytes:
        """Return the output since the mark, at most the last `KEPT` bytes (called in the worker)."""
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        written, deadline = self._written(), time.monotonic() + 1.0
        while self._head()[1] < written and time.monotonic() < deadline:
            time.sleep(0.0005)
        return self.kept()

    def kept(self) -> bytes:
        """Return the bytes read since the mark, at most the last `KEPT`."""
        mark, total, _ = self._head()
        wanted = min(max(total - mark, 0), KEPT)
        ring = self._memory[_HEAD.size :]
        end = total % KEPT
        return (ring[end:] + ring[:end])[KEPT - wanted :]

    def read(self) -> bool:
        """Read the available output; False once all writers have closed the pipe (called in the guardian)."""
        for _ in range(64):
            _, total, _ = self._head()
            self._memory[16:24] = struct.pack("=Q", 1)
            try:
                new = os.read(self.reads, 1 << 16)
            except BlockingIOError:
                return True
            else:
                last = new[-KEPT:]
                start = (total + len(new) - len(last)) % KEPT  # position in the ring
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
        """Return the number of bytes written so far, read or not; retried while the guardian reads."""
        import fcntl  # here, because the package must import on systems without workers, such as Windows
        import termios

        while True:
            before = self._head()
            try:
                unread = int(struct.unpack("i", fcntl.ioctl(self.writes, termios.FIONREAD, b"\0" * 4))[0])
            except OSError:  # the reward has closed its standard error
                return before[1]
            if before == self._head() and not before[2]:
                return before[1] + unread
            time.sleep(0)


def guard(work: Callable[[Tail], None], lifeline: int, parent: int) -> None:
    """Run `work` in a child; when it ends, end all its processes and exit with its signal or status.

    It ends the child early once the parent closes the socket, dies, or sends SIGTERM. The last standard error of the
    child goes to the parent through `lifeline`.
    """
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans of the worker become children of this process
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
    # Read standard error and collect orphans, until the worker has ended or must be ended.
    awake, wake = os.pipe()
    for end in (awake, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signals: list[int] = []
    signal.signal(signal.SIGCHLD, lambda number, _: None)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda number, _: signals.append(number))
    ends = {lifeline}
    if hasattr(os, "pidfd_open"):  # the lifeline stays open in forks of the parent
        with contextlib.suppress(OSError):
            ends.add(os.pidfd_open(parent))
    selector = selectors.DefaultSelector()  # descriptors keep the parent's numbers, which `select` may not accept
    for descriptor in (*ends, awake, tail.reads):
        selector.register(descriptor, selectors.EVENT_READ)
    while brood.reap() and brood.status is None and not signals and os.getppid() == parent:
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
    """The worker and the processes it started. status: how the worker ended, None while it runs."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.status: int | None = None

    def reap(self) -> bool:
        """Collect the processes that have ended; False once none is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == self.worker:
                    self.status = status
                if process == 0:
                    return True
        return False

    def end(self) -> None:
        """Kill all of them, also those that become orphans and children of this process meanwhile."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.status is None or sys.platform != "linux":  # on other systems only the group can be found
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
