"""A batch of programs, each in a fresh sandbox of its own, which was started ahead of time."""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rewardsmith.sandbox.cell import Cell, Child, Relay
from rewardsmith.sandbox.layers import Mode, layers_of
from rewardsmith.sandbox.programs import Limits, Program, Ran, SandboxUnavailable


class Sandbox:
    """Run programs and functions that nobody has read, each in a fresh sandbox; a context manager.

    A program gets the interpreter with its packages, the folders of the system's programs and libraries, an empty
    working folder in memory, and nothing else: no file of yours, no environment variable, no network, no other
    process. It runs as user nobody, without capabilities. bubblewrap or namespaces of our own, Landlock and seccomp
    each hold on their own, and a layer that this machine lacks raises `SandboxUnavailable`.

    Mode "landlock" is for containers that forbid namespaces. It keeps Landlock, seccomp and the limits, and leaves this
    open: the program is one process of the same user; it can start threads but no process; it learns names, sizes and
    dates of files anywhere, though not their content; files that it deletes while they are open do not count for
    `disk_mib`, which holds for each file; its working folder lies on the disk and is flat, so it makes no folders, and
    changes no modes, owners and times of files.

    Args:
        limits: what each program may use.
        mode: "namespaces" takes bubblewrap where it is installed, else namespaces of our own; as root our own first,
            because there bubblewrap's user is root outside. "bubblewrap" and "unshare" take that one or raise.
        workers: programs at the same time; None is one for each core.

    >>> with Sandbox() as sandbox:  # doctest: +SKIP
    ...     sandbox.run([Program("print(int(input()) + 1)", stdin="41")])
    [Ran(stdout='42\\n', stderr='', exit_code=0, ended='')]
    """

    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008
        *,
        mode: Mode = "namespaces",
        workers: int | None = None,
    ) -> None:
        self.limits = limits
        self._ready: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        self._children: list[Child] = []
        failures = []
        for self.layer in layers_of(mode):
            try:
                first = Cell(self.layer, limits)
            except SandboxUnavailable as error:
                failures.append(str(error))
                continue
            self._ready.put(first)
            try:
                first.wait_until_ready()
                break
            except SandboxUnavailable as error:
                failures.append(f"{self.layer}: {error}")
                self.close()
        else:
            raise SandboxUnavailable(
                f"Sandbox: this machine gives no isolation in mode {mode!r} ({'; '.join(failures)}). Install "
                'bubblewrap (apt-get install bubblewrap), allow user namespaces, or accept less with mode="landlock".'
            )
        self.workers = workers or len(os.sched_getaffinity(0))
        for _ in range(self.workers - 1):
            self._ready.put(Cell(self.layer, limits))

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all children, and the sandboxes that wait for a program."""
        for child in self._children:
            child.close()
        while not self._ready.empty():
            self._ready.get().end()

    def run(self, programs: Sequence[Program]) -> list[Ran]:
        """Run each program in a fresh sandbox, several at the same time, and return how they went, in order."""
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._run, programs))

    def start(self, source: str, *, relay: Relay | None = None) -> Child:
        """Return a child that executes `source` as a module and then answers calls to its functions.

        Args:
            source: Python code. Where it raises or ends, each call answers with that.
            relay: makes a function `relay(name, *args, **kwargs)` known to `source`. The child asks through it, this
                process answers by calling this argument, and the child gets the value, or the exception: that of the
                builtin of the name in `raised`, else a RuntimeError. Where it answers unscored, so does the call.
        """
        child = Child(self._take(), source, relay)
        self._children.append(child)
        return child

    def _take(self) -> Cell:
        """Return a sandbox that waits for a program; its successor starts meanwhile."""
        self._ready.put(Cell(self.layer, self.limits))
        while (cell := self._ready.get()).process.poll() is not None:
            cell.end()  # it was ended from outside, as for want of memory
            self._ready.put(Cell(self.layer, self.limits))
        return cell

    def _run(self, program: Program) -> Ran:
        cell = self._take()
        try:
            cell.give(program)
            return cell.finish()
        finally:
            cell.end()
