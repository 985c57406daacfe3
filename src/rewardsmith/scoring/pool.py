"""The parent's side of the workers: send them calls, enforce the time limit, and replace those that die."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace

from rewardsmith.errors import TargetError
from rewardsmith.scoring.calling import Caller
from rewardsmith.scoring.channel import Broken, CallDone, Message, Ready, RowDone, with_tail
from rewardsmith.scoring.targets import Target
from rewardsmith.scoring.waiting import MOST_MEASURED
from rewardsmith.scoring.work import Scored, Task, Unit
from rewardsmith.scoring.worker_process import WorkerProcess

START_LIMIT = 600.0
"""Seconds that a worker may take to load the reward: models load slowly, but a hung import must end."""
ASYNC_GRACE = 1.0
"""Extra seconds for an event loop to time out its own calls."""
FIRST_CALL, MOST_EXTRA, FIRST_CALLS = 5, 30.0, 3
"""Extra time of a worker's first call while the reward's speed is unknown, in time limits and at most in seconds, and
how many calls get it: some rewards load data in their first call, and some hang from the start."""


def payload_of(target: Target) -> bytes:
    """Return a target without its rows as bytes for `Pool`.

    Raises:
        TargetError: it cannot be pickled.
    """
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(replace(target, rows=None))
    except Exception as error:
        raise TargetError(
            f"Scorer: {target.name} cannot be sent to a worker process ({type(error).__name__}: {error}). "
            "Name it as `module:name` with load_target, or score with workers=0."
        ) from error
    return pickled


class Pool:
    """Worker processes for one reward.

    A sync worker has one call running and the next one waiting in its socket, or more if calls are short. Async workers
    run `concurrency` calls in total.

    busy: processor seconds of each sync call but the first of each worker, which may load something.
    """

    def __init__(
        self,
        payload: bytes,
        caller: Caller,
        *,
        name: str,
        workers: int,
        concurrency: int,
        memory: int | None,
        spare: int,
        allow: Callable[[int], bool],
    ) -> None:
        """Prepare a pool without workers.

        Args:
            spare: workers more that start when a call overruns the time limit, so that calls hang at the same time.
            allow: gets the number of rows of a call and returns whether to send it.
        """
        self._payload, self._name, self._size = payload, name, workers
        self._spare, self._allow, self.busy = spare, allow, list[float]()
        self._per_row, self._is_async, self._threads = caller.row is not None, caller.is_async, caller.threads
        self._concurrency, self._memory = concurrency, memory
        self._workers: list[WorkerProcess] = []
        self._number = 0
        self._longest_first: float | None = None
        self._first_calls = FIRST_CALLS

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def run(
        self, units: Iterable[Unit], stop: Callable[[], bool], write: Callable[[int], None]
    ) -> Generator[Unit, None, None]:
        """Yield every unit when it is complete, until `stop` returns True.

        `write` gets the number of rows to send, before they are sent and before any result is awaited.
        """
        queue = deque(unit.task() for unit in units)
        for worker in [worker for worker in self._workers if not worker.is_free()]:
            self._drop(worker)
        try:
            while (queue or any(worker.tasks for worker in self._workers)) and not stop():
                self._feed(queue, write)
                with selectors.PollSelector() as selector:  # few descriptors, and no system call to create or fill it
                    for worker in self._workers:
                        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
                        selector.register(worker.channel, events, worker)
                    deadlines = [d for worker in self._workers if (d := self._deadline(worker)) is not None]
                    patience = min([1.0, *(deadline - time.monotonic() for deadline in deadlines)])
                    for key, events in selector.select(max(0.0, patience)):
                        if events & selectors.EVENT_WRITE:
                            key.data.flush()
                for worker in list(self._workers):
                    yield from self._collect(worker, queue)
        except GeneratorExit:
            self.close()  # the workers still run calls that nobody waits for
            raise
        if any(worker.tasks for worker in self._workers):
            self.close()

    def _drop(self, worker: WorkerProcess, *, patience: float = 0.0) -> str:
        self._workers.remove(worker)
        return worker.end(patience=patience)

    def _feed(self, queue: deque[Task], write: Callable[[int], None]) -> None:
        while len(self._workers) < min(self._size, len(queue) + sum(bool(w.tasks) for w in self._workers)):
            self._workers.append(WorkerProcess(self._payload, self._memory, threads=self._threads))
        n_rows = 0
        while queue:
            freest = min(self._workers, key=lambda worker: len(worker.tasks))
            if freest.tasks and self._is_async:
                running = [task for worker in self._workers for task in worker.tasks.values()]
                if len(running) >= self._concurrency or any(t.alone for t in (queue[0], *freest.tasks.values())):
                    break
            elif freest.tasks and (not freest.has_room(queue[0]) or len(queue) < len(self._workers)):
                break  # a call waits behind another only if there are enough for all workers
            if not self._allow(len(queue[0].indices)):
                queue.clear()
                break
            self._number += 1
            task = queue.popleft()
            n_rows += 0 if task.unit.begun else len(task.unit.rows)
            task.unit.begun = True
            allowed = task.unit.limit
            if allowed is not None and freest.cold:  # extra time for what a first call may load
                if self._longest_first is not None:
                    allowed += 2 * self._longest_first
                elif self._first_calls > 0:
                    allowed += min(FIRST_CALL * allowed, MOST_EXTRA)
            freest.send(self._number, task, allowed, limits_itself=self._is_async)
        write(n_rows)
        for worker in self._workers:
            worker.flush()

    def _deadline(self, worker: WorkerProcess) -> float | None:
        if not worker.ready:
            return worker.since + START_LIMIT
        running = list(worker.tasks)[: None if self._is_async else 1]
        ends = [worker.started[n] + allowed for n in running if (allowed := worker.allowed[n]) is not None]
        return min(ends) + (ASYNC_GRACE if self._is_async else 0.0) if ends else None

    def _collect(self, worker: WorkerProcess, queue: deque[Task]) -> Iterator[Unit]:
        messages, closed = worker.receive()
        for message in messages:
            try:
                done = self._handle(worker, message, queue)
            except (LookupError, ValueError):  # a valid message, but not about one of its calls
                closed = worker.garbled = True
                break
            if done is not None:
                yield done
        deadline = self._deadline(worker)
        if closed:
            yield from self._lost(worker, queue, "crash")
        elif deadline is not None and time.monotonic() >= deadline and not messages:
            self._grow()
            yield from self._lost(worker, queue, "timeout")
        elif self._spare and worker.ready and worker.cold and worker.tasks:
            number, task = next(iter(worker.tasks.items()))
            if task.unit.limit is not None and time.monotonic() >= worker.started[number] + task.unit.limit:
                self._grow()  # it loads something, or it hangs: others can tell

    def _grow(self) -> None:
        """Add the spare workers, if there are any and calls are not concurrent already."""
        if not self._is_async:
            self._size, self._spare = self._size + self._spare, 0

    def _handle(self, worker: WorkerProcess, message: Message, queue: deque[Task]) -> Unit | None:
        """Handle a message, and return the unit that it completes, if any."""
        if isinstance(message, Ready):
            worker.ready = True
            worker.restart_clocks()
            return None
        if isinstance(message, Broken):
            self._drop(worker)
            raise TargetError(
                f"Scorer: {self._name} loads here but not in a worker process ({message.why.rstrip('.')}"
                f"{self._memory_note(message.why)}). "
                "Give it as `module:name` or `file.py:name`, or score with workers=0."
            )
        task = worker.tasks[message.number]
        self.busy += [] if worker.cold or len(self.busy) >= MOST_MEASURED else [message.busy]
        if isinstance(message, RowDone):
            self._warmed(worker, message.number, message.result)
            index = task.indices[message.position]
            if task.unit.results[index] is not None:
                raise LookupError("the row already has a result")
            task.settle([index], [self._explained(message.result)])
            task.unit.seconds += message.result.seconds
            over = not task.remaining()
            if not self._is_async:
                worker.started[message.number] = time.monotonic()  # the limit is per row, and the next row starts now
        else:
            self._replied(worker, message, queue)
            over = True
        if over:
            worker.forget(message.number)
            worker.slowest = max(task.unit.seconds / len(task.unit.rows), worker.slowest / 2)
            if not self._is_async:
                worker.restart_clocks()
        return task.unit if over and task.unit.done else None

    def _replied(self, worker: WorkerProcess, message: CallDone, queue: deque[Task]) -> None:
        task, reply = worker.tasks[message.number], message.reply
        if reply.results is None:
            reply = reply._replace(detail=reply.detail + self._memory_note(reply.detail))
            if reply.reason == "timeout" and worker.cold:
                self._first_calls -= 1
        elif len(reply.results) != len(task.indices):
            raise ValueError("a reply of another length")
        else:
            if reply.results:
                self._warmed(worker, message.number, reply.results[0])
            reply = reply._replace(results=[self._explained(result) for result in reply.results])
        queue.extendleft(reversed(task.apply(reply)))

    def _warmed(self, worker: WorkerProcess, number: int, result: Scored) -> None:
        """Record a first result: the reward has loaded its data, so the clocks of the other calls start now."""
        if not worker.cold or result.reason in ("exception", "timeout"):
            self._first_calls -= worker.cold and result.reason == "timeout"
            return
        took = time.monotonic() - worker.started[number]
        self._longest_first = max(took, self._longest_first or 0.0)
        worker.cold = False
        for other in self._workers if not self._is_async else ():  # now the time is known that a first call needs
            if other.cold:
                other.allow_at_most(2 * self._longest_first)
        worker.restart_clocks()
        if not self._is_async:  # an async call keeps its original limit
            worker.allowed = {number: task.unit.limit for number, task in worker.tasks.items()}

    def _explained(self, result: Scored) -> Scored:
        note = self._memory_note(result.detail)
        return result._replace(detail=result.detail + note) if note else result

    def _memory_note(self, detail: str) -> str:
        """Return a note on the memory limit for a failure that it may have caused."""
        if self._memory is None or "memory" not in detail.lower():
            return ""
        return f" (the limit is {self._memory / 2**30:.3g} GiB)"

    def _lost(self, worker: WorkerProcess, queue: deque[Task], reason: str) -> Iterator[Unit]:
        """Drop a worker that overran its limit or died: fail the call that it ran, and queue its other calls again."""
        how = self._drop(worker, patience=1.0 if reason == "crash" and not worker.garbled else 0.0)
        how = "it wrote into its parent's channel" if worker.garbled else how
        if not worker.ready:
            after = f"it did not load within {START_LIMIT:g} s" if reason == "timeout" else f"it died: {how}"
            raise TargetError(
                f"Scorer: a worker process could not load {self._name} ({with_tail(after, worker.tail)}). "
                "Check that the module imports in a fresh process, or score with workers=0."
            )
        if reason == "timeout" and worker.cold:
            self._first_calls -= 1
        tasks = list(worker.tasks.items())
        again: list[Task] = []
        for position, (number, task) in enumerate(tasks):
            suspects = len(tasks) if self._is_async else 1
            if position >= suspects:
                again.append(task)
            elif suspects > 1:
                again.append(Task(task.unit, task.remaining(), task.split, alone=True))
            else:
                ended = f"its process ended: {how}{self._memory_note('memory')}"
                late = f"no result within {task.unit.limit:g} s" if reason == "timeout" else ended
                seconds = time.monotonic() - worker.started[number]
                task.unit.seconds += seconds
                left = task.remaining()
                if self._per_row and not self._is_async:  # rows come in order: the first without a result was running
                    Task(task.unit, left[:1], task.split).fail(reason, with_tail(late, worker.tail), seconds)
                    again += [Task(task.unit, left[1:], task.split)] if left[1:] else []
                else:
                    blamed = Task(task.unit, left, task.split, alone=self._is_async)
                    again += blamed.fail(reason, with_tail(late, worker.tail), seconds)
        queue.extendleft(reversed(again))
        for unit in {id(task.unit): task.unit for _, task in tasks}.values():
            if unit.done:
                yield unit
