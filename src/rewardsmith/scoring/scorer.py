"""The one scoring path: from rows to a finite reward each, or the reason why there is none."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

from rewardsmith import __version__
from rewardsmith.data import Row
from rewardsmith.data.rows import has_text
from rewardsmith.errors import EndpointError
from rewardsmith.scoring.called import check_columns
from rewardsmith.scoring.calling import CONCURRENCY, Caller, check_options, own_concurrency, row_limit
from rewardsmith.scoring.digest import source_digest
from rewardsmith.scoring.inline import Inline
from rewardsmith.scoring.journal import CODE, Journal, Recorded, record_of, recorded, under_way
from rewardsmith.scoring.keys import keys_of
from rewardsmith.scoring.pool import Pool, payload_of
from rewardsmith.scoring.progress import Bar
from rewardsmith.scoring.targets import Target, as_target
from rewardsmith.scoring.work import NO_TEXT, SPENT, UNASKED, RowParts, Scored, Unit

logger = logging.getLogger(__name__)
MOST_SILENT = 8
"""The job ends after this many rows without a usable answer from the reward's endpoint, with no scored row between."""
MOST_SPARE = 4
"""Workers at most that start in addition when calls overrun the time limit and `most_timeouts` is set."""


class Scorer:
    """Score rows with one reward, fail-closed: in worker processes, under a time limit, once per distinct row.

    A context manager. With a `journal`, every finished batch is on disk before the next is awaited, and a killed job
    continues: the same calls in the same order score only the missing rows. An async reward is called row by row,
    several rows at once, and each row is on disk when it is done.

    calls: rows sent to the reward, with journaled ones of this job, so that a resumed job reports the same number. A
        row that is sent again because its batch failed counts once.
    caller, engine: how the reward is called, and what runs the calls.
    notes: what `note` has added, here or before the job was resumed.
    """

    def __init__(
        self,
        target: Target | Callable[..., Any],
        *,
        workers: int = 1,
        timeout: float | None = None,
        batch_size: int = 16,
        concurrency: int = CONCURRENCY,
        journal: str | Path | None = None,
        journal_header: Mapping[str, Any] | None = None,
        most_timeouts: int | None = None,
        most_calls: int | None = None,
        memory: int | None = None,
        progress: bool | Bar = False,
    ) -> None:
        """Prepare a scorer; workers start with the first rows.

        Args:
            target: the result of `load_target`, or any function in a known contract.
            workers: processes. 0 scores in this process, where nothing can end a call that hangs or crashes; `timeout`
                then limits async rewards only.
            timeout: seconds per call. A batch that takes longer is scored again row by row, so a row is unscored only
                if it alone takes longer. None is 30, and no limit for a reward model or one with an attribute
                `concurrency`; `math.inf` has no limit.
            batch_size: rows per call of a batched (TRL) reward. A reward with a `plan`, such as a reward model, makes
                its own batches, and an async one is called row by row, or list by list if it has `lists`.
            concurrency: rows that an async reward works on at once, each with its own time limit from its sending. The
                reward's attribute `concurrency`, as judges have, takes precedence.
            journal: the file to continue from and to write to; `journal_header` identifies the job further, as by a
                seed.
            most_timeouts: after this many timeouts no further row is sent. The rest are unscored with the reason
                "unasked", and are neither counted nor journaled. None never stops. After the first one, up to 4 workers
                more start, so that rows hang at the same time.
            most_calls: rows sent at most, also of batches that failed and are split; the rest are "unasked".
            memory: bytes of address space per worker, with the reward's modules. A row that needs more is unscored with
                that reason. None sets no limit. It needs a worker.
            progress: True draws a bar on standard error; a `Bar` is updated.
        """
        check_options(workers, batch_size, concurrency, timeout, memory)
        self.target = as_target(target)
        self.calls = 0
        self._microseconds = 0
        self._unscored = Counter[str]()
        self._late = self._silent = 0
        self._memory = memory
        self._any_scored, self._last_silence = False, ""
        self._timeout, self._batch_size = row_limit(self.target.reward, timeout), batch_size
        self.concurrency = own_concurrency(self.target.reward) or concurrency
        self._most_timeouts = math.inf if most_timeouts is None else most_timeouts
        self._most_calls = math.inf if most_calls is None else most_calls
        self._sent, self._workers = 0, workers
        self.caller = Caller(self.target.reward)
        self._payload = payload_of(self.target) if workers else b""
        self.engine = self._new_engine()
        self._bar = (Bar() if progress else None) if isinstance(progress, bool) else progress
        self._seen: dict[str, Scored] = {}
        self._wholes: dict[str, list[Scored]] = {}
        self._columns: frozenset[str] | None = None
        self._journal: Journal | None = None
        self._on_disk: dict[str, Recorded] = {}
        self._first, self._lines = True, list[dict[str, Any]]()
        self.notes = dict[str, Any]()
        if journal is not None:
            self.journal_to(journal, journal_header or {})

    def _new_engine(self) -> Inline | Pool:
        if not self._workers:
            return Inline(self.caller, concurrency=self.concurrency, allow=self._allow)
        return Pool(
            self._payload,
            self.caller,
            name=self.target.name,
            workers=min(self._workers, self.concurrency) if self.caller.is_async else self._workers,
            concurrency=self.concurrency,
            memory=self._memory,
            spare=0 if math.isinf(self._most_timeouts) else min(MOST_SPARE, int(self._most_timeouts) - 1),
            allow=self._allow,
        )

    def _allow(self, n_rows: int) -> bool:
        """Count rows that are about to be sent; False if they are too many."""
        allowed = self._sent + n_rows <= self._most_calls
        self._sent += n_rows if allowed else 0
        return allowed

    @property
    def at_once(self) -> int:
        """How many calls run at once."""
        return self.concurrency if self.caller.is_async else max(self._workers, 1)

    def in_threads(self, on: bool) -> None:
        """Call a sync reward in `concurrency` threads at once from now on, or one call at a time again."""
        self.engine.close()
        self.caller = Caller(self.target.reward, threads=on)
        self.engine = self._new_engine()

    @cached_property
    def _source(self) -> str | None:
        return source_digest(self.target, here=isinstance(self.engine, Inline))

    def journal_to(self, path: str | Path, header: Mapping[str, Any], *, patience: float = 0.0) -> None:
        """Continue with another journal as a new scorer would, with the same workers and reward.

        Args:
            header: identifies the new journal's job further.
            patience: seconds to wait for a job that has the journal open.
        """
        if self._journal is not None:
            self._journal.close()
        self.forget()
        self._journal, self._on_disk = None, {}
        own = {
            "target": self.target.name,
            "contract": self.target.contract,
            "source": self._source,
            "version": __version__,
            "timeout": self._timeout,
            "batch_size": self._batch_size,
            "memory": self._memory,
        }
        self._journal = Journal(Path(path), {**own, **header}, patience=patience, anew=CODE)
        self._first, self._lines = True, []
        for record in self._journal.records:
            self._on_disk.update(recorded(record))
            self.notes.update(record.get("notes", {}))
        if n_rows := under_way(self._journal.records):
            logger.warning(
                "Journal: %s continues. %d rows that the last run sent have no result on disk. They are scored again.",
                path, n_rows,
            )  # fmt: skip

    def _write(self, n_rows: int = 0) -> None:
        """Journal the results so far, and that so many rows are about to be sent."""
        if n_rows and self._journal is not None:
            self._lines.append({"sent": n_rows, "first": self._first})
            self._first = False
        if self._lines and self._journal is not None:
            lines, self._lines = self._lines, []
            self._journal.append(*lines)

    def note(self, **facts: Any) -> None:
        """Add JSON values to `notes`, which a resumed job has too."""
        self.notes |= facts
        self._lines.append({"sent": 0, "first": False, "notes": facts})
        self._write()

    @property
    def seconds(self) -> float:
        """Seconds inside the reward, with failed calls and journaled rows of this job."""
        return self._microseconds / 1e6

    @property
    def unscored(self) -> Counter[str]:
        """Reason → number of rows, in alphabetical order."""
        return Counter(dict(sorted(self._unscored.items())))

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def forget(self) -> None:
        """Forget all results, so that the next call sends every row to the reward again."""
        self._seen.clear()
        self._wholes.clear()

    def close(self) -> None:
        """End the workers and release the journal."""
        self.engine.close()
        if self._journal is not None:
            self._journal.close()
        if self._bar is not None:
            self._bar.close()

    def score(
        self,
        rows: Sequence[Row],
        *,
        nonce: str = "",
        batch_size: int | None = None,
        whole: bool = False,
        check_mutation: bool = False,
        keys: Sequence[str] | None = None,
    ) -> list[Scored]:
        """Return one result per row, in order.

        Rows with equal content and `nonce` are scored once, within this call, across calls and across resumed runs. A
        row whose completion has no text is unscored and not sent, unless it has `completion_ids`.

        Args:
            nonce: a new one sends known rows to the reward again.
            batch_size: for this call only.
            whole: send the rows as exactly one call, in this order, with duplicates; if it fails, every row has the
                reason. Its limit is the time limit for every `batch_size` rows.
            check_mutation: compare the inputs before and after each call.
            keys: the rows' keys (`keys_of`), if already known.

        Raises:
            TargetError: no column provides a required parameter, or a worker cannot load the reward.
            EndpointError: the reward's server gives no usable answer.
        """
        if not rows:
            return []
        columns = frozenset[str]().union(*(row.columns for row in rows))
        if columns != self._columns:
            check_columns(self.target.reward, columns)
            self._columns = columns
        keys = keys_of(rows, nonce, check_mutation) if keys is None else keys
        size = batch_size or self._batch_size
        if self._bar is not None:
            self._bar.expect(len(rows))
        if whole:
            key = hashlib.blake2b("whole".join(["", *keys]).encode(), digest_size=16).hexdigest()
            limit = None if self._timeout is None else self._timeout * math.ceil(len(rows) / size)
            batch = [(row.prompt, row.completion, row.columns) for row in rows]
            self._settle([([key], batch)], limit=limit, whole=True, check_mutation=check_mutation)
            found = self._wholes[key]
            if any(result.reason == "endpoint" for result in found):  # without an answer, so they are sent again
                del self._wholes[key]
            return list(found)
        seen, fresh = self._seen, dict[str, Row]()
        for key, row in zip(keys, rows, strict=True):
            if key in seen or key in fresh:
                continue
            if type(row.completion) is str or has_text(row.completion) or "completion_ids" in row.columns:
                fresh[key] = row
            else:
                seen[key] = NO_TEXT
                self._unscored["none"] += 1
        names, parts = list(fresh), [(row.prompt, row.completion, row.columns) for row in fresh.values()]
        # Batches are cut before the journal is read, so that a resumed job makes the same batches as the first.
        size = 1 if self.caller.is_async and not self.caller.in_batches else size
        cuts: Sequence[Sequence[int]] = [range(i, min(i + size, len(parts))) for i in range(0, len(parts), size)]
        plan = getattr(self.target.reward, "lists" if self.caller.is_async else "plan", None)
        if plan is not None and batch_size is None and parts:  # the reward's own batches, such as rows of equal length
            with contextlib.suppress(Exception):  # an error here recurs in the row's own call, which records it
                cuts = plan(**self.caller.arguments(parts))
        batches = [([names[i] for i in cut], [parts[i] for i in cut]) for cut in cuts]
        self._settle(batches, limit=self._timeout, whole=False, check_mutation=check_mutation)
        self._step(len(rows) - len(fresh))
        found = [seen[key] for key in keys]
        for key, result in zip(keys, found, strict=True):
            if result.reason == "endpoint":
                seen.pop(key, None)
        return found

    def _settle(
        self,
        batches: Sequence[tuple[list[str], list[RowParts]]],
        *,
        limit: float | None,
        whole: bool,
        check_mutation: bool,
    ) -> None:
        units: list[Unit] = []
        names: list[list[str]] = []
        for keys, rows in batches:
            if whole and keys[0] in self._wholes:
                self._step(len(rows))
                continue
            missing = [key not in self._on_disk for key in keys]
            for key, found in ((key, self._on_disk[key]) for key in keys if key in self._on_disk):
                self._note(found.results)
                self._sent += len(found.results)
                self._remember([key], found.results, found.microseconds, whole=whole)
            if any(missing):
                left = rows if whole else list(compress(rows, missing))
                units.append(Unit(len(units), left, limit, whole, check_mutation, self._note))
                names.append(list(compress(keys, missing)))
        open_units = set(range(len(units)))
        try:
            stop = lambda: self._late >= self._most_timeouts or self._silent >= MOST_SILENT  # noqa: E731
            for unit in self.engine.run(units, stop, self._write):
                self._record(unit, names[unit.index])
                open_units.remove(unit.index)
            for index in sorted(open_units):  # units that were not finished
                if not whole:
                    self._record(units[index], names[index])
        finally:
            self._write()
        if self._silent >= MOST_SILENT or (self._silent and not self._any_scored):
            kept = "" if self._journal is None else " Scored rows are kept, and the same command continues."
            raise EndpointError(
                f"Scorer: {self.target.name} got no usable answer from its endpoint for {self._silent} rows in a row. "
                f"{self._last_silence.rstrip('.')}.{kept}"
            )
        unasked = UNASKED if self._late >= self._most_timeouts else SPENT
        for index in sorted(open_units):
            keys, results = names[index], units[index].results
            if whole:
                self._wholes[keys[0]] = [result or unasked for result in results]
            else:
                self._seen.update((key, unasked) for key, result in zip(keys, results, strict=True) if result is None)
            self._step(sum(whole or result is None for result in results))

    def _note(self, results: Sequence[Scored]) -> None:
        """Record rows' results as they come, before their unit is done."""
        for result in results:
            if result.reward is not None:
                self._any_scored, self._silent = True, 0
            elif result.reason == "timeout":
                self._late += 1
            elif result.reason == "endpoint":
                self._silent, self._last_silence = self._silent + 1, result.detail

    def _record(self, unit: Unit, keys: list[str]) -> None:
        """Journal and remember the finished rows of a unit."""
        results = [result for result in unit.results if result is not None]
        if not unit.whole:
            keys = [key for key, result in zip(keys, unit.results, strict=True) if result is not None]
        microseconds = round(unit.seconds * 1e6)
        if self._journal is not None:
            answered = [result.reason != "endpoint" for result in results]
            if all(answered) if unit.whole else any(answered):
                kept = keys if unit.whole else list(compress(keys, answered))
                given = list(compress(results, answered))
                self._lines.append(record_of(kept, given, whole=unit.whole, microseconds=microseconds))
        self._remember(keys, results, microseconds, whole=unit.whole)

    def _remember(self, keys: list[str], results: list[Scored], microseconds: int, *, whole: bool) -> None:
        """Keep and count results under their keys: one each, or all under the first key."""
        if whole:
            self._wholes[keys[0]] = results
        else:
            self._seen.update(zip(keys, results, strict=True))
        self.calls += len(results)
        self._microseconds += microseconds
        for result in results:
            if result.reason is not None:
                self._unscored[result.reason] += 1
        self._step(len(results))

    def _step(self, n: int) -> None:
        if self._bar is not None:
            self._bar.advance(n)
