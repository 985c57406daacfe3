"""The parent's side of the workers: keeps them fed, enforces the limit, and replaces those that die."""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from rewardsmith.errors import TargetError
from rewardsmith.rewards.calling import Caller, Reply, Verdict
from rewardsmith.rewards.work import Task, Unit
from rewardsmith.rewards.worker import Order, frame, unframe

START_LIMIT = 600.0
"""Seconds a worker may take to load the reward; models load slowly, a hung import must still end."""
ASYNC_GRACE = 1.0
"""Seconds beyond the limit that an event loop gets to time its calls out itself."""
_BOOT = "import sys; from rewardsmith.rewards.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"


class _Worker:
    """One process with the calls it has been sent, oldest first."""

    def __init__(self, payload: bytes, name: str) -> None:
        self.name = name
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_defaults()},
            )
        self.channel.setblocking(False)
        self.outbox, self.inbox = bytearray(frame((sys.path, payload))), bytearray()
        self.tasks: dict[int, Task] = {}
        self.started: dict[int, float] = {}
        self.ready = False
        self.since = time.monotonic()
        self.flush()

    def send(self, number: int, task: Task) -> None:
        rows = pickle.dumps(task.rows, pickle.HIGHEST_PROTOCOL)
        self.outbox += frame(tuple(Order(number, rows, task.limit, task.unit.check_mutation)))
        self.tasks[number] = task
        self.started[number] = time.monotonic()
        self.flush()

    def flush(self) -> None:
        try:
            while self.outbox:
                del self.outbox[: self.channel.send(self.outbox)]
        except BlockingIOError:
            pass
        except OSError:  # it died; the read side tells how far it came
            self.outbox.clear()

    def receive(self) -> tuple[list[Any], bool]:
        """The messages that have come, and whether the worker has closed its end."""
        try:
            while received := self.channel.recv(1 << 18):
                self.inbox += received
                if len(received) < 1 << 18:
                    return unframe(self.inbox), False
        except BlockingIOError:
            return unframe(self.inbox), False
        except OSError:
            pass
        return unframe(self.inbox), True

    def kill(self, *, patience: float = 0.0) -> str:
        """End the process and all it has started; say how it ended, of itself if it does so within `patience`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        code = self.process.poll()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.channel.close()
        if code is None:
            code = self.process.returncode
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _defaults() -> dict[str, str]:
    # One thread per worker unless the caller says otherwise, and the same set order in each of them.
    return {
        name: os.environ.get(name, value)
        for name, value in (("OMP_NUM_THREADS", "1"), ("PYTHONHASHSEED", "0"), ("TOKENIZERS_PARALLELISM", "false"))
    }


class Pool:
    """Worker processes for one reward.

    A sync worker has one call running and the next one waiting in its socket; async ones have `concurrency` running
    among them.
    """

    def __init__(self, payload: bytes, caller: Caller, *, name: str, workers: int, concurrency: int) -> None:
        self._payload, self._name, self._size = payload, name, workers
        self._per_row, self._is_async = caller.row is not None, caller.is_async
        self._concurrency = concurrency
        self._workers: list[_Worker] = []
        self._number = 0

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def run(self, units: Iterable[Unit]) -> Generator[Unit, None, None]:
        """Every unit, as it is completed."""
        queue = deque(unit.task() for unit in units)
        for worker in [w for w in self._workers if w.tasks or w.process.poll() is not None]:
            self._drop(worker)
        try:
            while queue or any(worker.tasks for worker in self._workers):
                self._feed(queue)
                self._wait()
                for worker in list(self._workers):
                    yield from self._collect(worker, queue)
        except GeneratorExit:
            self.close()  # calls nobody waits for any more are still in the workers
            raise

    def _drop(self, worker: _Worker, *, patience: float = 0.0) -> str:
        self._workers.remove(worker)
        return worker.kill(patience=patience)

    def _feed(self, queue: deque[Task]) -> None:
        while len(self._workers) < min(self._size, len(queue) + sum(bool(w.tasks) for w in self._workers)):
            self._workers.append(_Worker(self._payload, self._name))
        while queue:
            idlest = min(self._workers, key=lambda worker: len(worker.tasks))
            if idlest.tasks and not self._joins(idlest, queue):
                break
            self._number += 1
            idlest.send(self._number, queue.popleft())

    def _joins(self, worker: _Worker, queue: deque[Task]) -> bool:
        """Whether the next call may go to a worker that has one already."""
        if not self._is_async:  # it waits behind the first only while there is more than enough for everyone
            return len(worker.tasks) < 2 and len(queue) >= len(self._workers)
        running = [task for other in self._workers for task in other.tasks.values()]
        return len(running) < self._concurrency and not any(task.alone for task in (queue[0], *worker.tasks.values()))

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
                selector.register(worker.channel, events, worker)
            deadlines = [d for worker in self._workers if (d := self._deadline(worker)) is not None]
            patience = min([1.0, *(deadline - time.monotonic() for deadline in deadlines)])
            for key, events in selector.select(max(0.0, patience)):
                if events & selectors.EVENT_WRITE:
                    key.data.flush()

    def _deadline(self, worker: _Worker) -> float | None:
        if not worker.ready:
            return worker.since + START_LIMIT
        running = list(worker.tasks)[: None if self._is_async else 1]
        ends = [worker.started[n] + limit for n in running if (limit := worker.tasks[n].limit) is not None]
        return min(ends) + (ASYNC_GRACE if self._is_async else 0.0) if ends else None

    def _collect(self, worker: _Worker, queue: deque[Task]) -> Iterator[Unit]:
        dead_before = worker.process.poll() is not None  # asked before reading: what it sent before dying counts
        messages, closed = worker.receive()
        for message in messages:
            yield from self._heard(worker, message, queue)
        deadline = self._deadline(worker)
        if closed or dead_before:
            yield from self._lost(worker, queue, "crash")
        elif deadline is not None and time.monotonic() >= deadline and not messages:
            yield from self._lost(worker, queue, "timeout")

    def _heard(self, worker: _Worker, message: tuple[Any, ...], queue: deque[Task]) -> Iterator[Unit]:
        now = time.monotonic()
        if message[0] == "ready":
            worker.ready = True
            worker.started = dict.fromkeys(worker.tasks, now)
            return
        if message[0] == "broken":
            self._drop(worker)
            raise TargetError(
                f"Scorer: {self._name} loads here but not in a worker process ({message[1].rstrip('.')}). "
                "Give it as `module:name` or `file.py:name`, or score with workers=0."
            )
        number = message[1]
        task = worker.tasks[number]
        if message[0] == "row":
            verdict = Verdict(*message[3])
            task.settle(message[2], verdict)
            task.unit.seconds += verdict.seconds
            if not self._is_async:
                worker.started[number] = now  # the limit is per row: the next row starts now
            over = not task.remaining()
        else:
            queue.extendleft(reversed(task.apply(Reply(*message[2]))))
            over = True
        if over:
            del worker.tasks[number], worker.started[number]
            if not self._is_async:
                worker.started = dict.fromkeys(worker.tasks, now)
            if task.unit.done:
                yield task.unit

    def _lost(self, worker: _Worker, queue: deque[Task], reason: str) -> Iterator[Unit]:
        """A worker overran its limit or died: blame the call it was in, put the others back, and drop it."""
        how = self._drop(worker, patience=1.0 if reason == "crash" else 0.0)
        if not worker.ready:
            after = f"it did not load within {START_LIMIT:g} s" if reason == "timeout" else f"it died: {how}"
            raise TargetError(
                f"Scorer: a worker process could not load {self._name} ({after}). "
                "Check that the module imports in a fresh process, or score with workers=0."
            )
        tasks = list(worker.tasks.items())
        again: list[Task] = []
        for position, (number, task) in enumerate(tasks):
            suspects = len(tasks) if self._is_async else 1
            rest = Task(task.unit, task.remaining(), task.apart, alone=True)
            if position >= suspects:
                again.append(Task(task.unit, task.indices, task.apart, task.alone))
            elif suspects > 1:
                again.append(rest)
            else:
                seconds = time.monotonic() - worker.started[number]
                detail = f"no result within {task.limit:g} s" if reason == "timeout" else f"its process ended: {how}"
                again += self._blame(task, reason, detail, seconds)
        queue.extendleft(reversed(again))
        for unit in {id(task.unit): task.unit for _, task in tasks}.values():
            if unit.done:
                yield unit

    def _blame(self, task: Task, reason: str, detail: str, seconds: float) -> list[Task]:
        task.unit.seconds += seconds
        left = task.remaining()
        if self._per_row and not self._is_async:  # rows come in order, so the first without a result was running
            Task(task.unit, left[:1], task.apart).fail(reason, detail, seconds)
            return [Task(task.unit, left[1:], task.apart)] if left[1:] else []
        return Task(task.unit, left, task.apart, alone=self._is_async).fail(reason, detail, seconds)
