"""Blocks of rows: what a scoring job is cut into, so that any number of machines can share it and none repeats it."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from rewardsmith._disk import replacing
from rewardsmith.data import Row
from rewardsmith.data.records import records_of
from rewardsmith.data.rows import as_row
from rewardsmith.errors import RowsError
from rewardsmith.scoring.calling import CONCURRENCY, ignore, is_model
from rewardsmith.scoring.journal import sealed, unsealed
from rewardsmith.scoring.keys import keys_of
from rewardsmith.scoring.score_rows import in_either_form
from rewardsmith.scoring.scorer import Scorer
from rewardsmith.scoring.targets import Target
from rewardsmith.scoring.work import Scored

ORPHAN = 60.0
"""Seconds to wait for a block's journal: the worker of a job that has ended, on Ray, needs some to die."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a file. index: which block it is, from 0. keys: what each row is known by."""

    index: int
    rows: list[Row]
    keys: list[str]

    @property
    def digest(self) -> str:
        """A digest of the rows' content."""
        return hashlib.blake2b("".join(self.keys).encode(), digest_size=16).hexdigest()


class Read(NamedTuple):
    """Records of a file, the rows that they are, and what each row is known by."""

    records: list[Mapping[str, Any]]
    rows: list[Row]
    keys: list[str]


@dataclass(frozen=True)
class RowsFile:
    """A file of rows, or what else `records_of` reads, block by block and, where it is large, never as a whole.

    source: a `Path`, or rows in hand that can be gone through several times.
    columns: those of all rows together; a row that lacks one has None there, whatever block it is in.
    conversational: turn strings into messages.
    added: the columns that scoring adds, which no row may have.
    kept: all of it, where it was read before and is small. n_rows, digests: of all of it, and of each block.
    """

    source: Any
    block_size: int
    limit: int | None = None
    conversational: bool = False
    columns: tuple[str, ...] = ()
    added: tuple[str, ...] = ("reward", "reason")
    kept: Read | None = None
    n_rows: int = 0
    digests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What errors call it."""
        return str(self.source) if isinstance(self.source, Path) else type(self.source).__name__

    def records(self) -> Iterator[list[Mapping[str, Any]]]:
        """The records of each block, as the file has them."""
        source = str(self.source) if isinstance(self.source, Path) else self.source
        found = records_of("score_file", source) if self.kept is None else self.kept.records
        records = itertools.islice(found, self.limit)
        while block := list(itertools.islice(records, self.block_size)):
            yield block

    def read(self) -> Iterator[Read]:
        """Every block, its rows as they are in the file.

        Raises:
            RowsError: a row cannot be read, or has a column that scoring adds.
        """
        name = self.name
        for index, records in enumerate(self.records()):
            start = index * self.block_size
            if self.kept is not None:
                own = slice(start, start + self.block_size)
                yield Read(records, self.kept.rows[own], self.kept.keys[own])
                continue
            rows: list[Row] = []
            for n, record in enumerate(records, start + 1):
                where = f"row {n} of {name}"
                row = as_row(record, where=where, caller="score_file")
                if not row.columns.keys().isdisjoint(self.added):
                    taken = next(added for added in self.added if added in row.columns)
                    raise RowsError(
                        f"score_file: {where} has a column `{taken}` already, which scoring adds. Rename it."
                    )
                rows.append(row.conversational() if self.conversational else row)
            yield Read(records, rows, keys_of(rows))

    def blocks(self) -> Iterator[Block]:
        """Every block, its rows with the columns of all rows."""
        absent = dict.fromkeys(self.columns)
        for index, (_, rows, keys) in enumerate(self.read()):
            whole = [
                row
                if tuple(row.columns) == self.columns
                else Row(row.prompt, row.completion, {**absent, **row.columns})
                for row in rows
            ]
            yield Block(index, whole, keys)


@dataclass(frozen=True)
class BlockScoring:
    """How blocks are scored: what a worker anywhere must know.

    folder: where journals are kept. source: a digest of the reward's code.
    """

    target: Target
    folder: Path
    timeout: float | None
    batch_size: int
    concurrency: int = CONCURRENCY
    memory: int | None = None
    source: str | None = None

    @property
    def processes(self) -> int:
        """How many processes score for one worker: none but itself for a model, else 1 that can be ended."""
        return 0 if is_model(self.target) else 1

    def journal(self, index: int) -> Path:
        """Where a block that is being scored keeps what it has."""
        return self.folder / f"{index:07d}.journal"


class BlockScorer:
    """Scores blocks with one reward that is loaded once; a block that was cut short goes on from its journal.

    job: may be exchanged for one that differs in its folder alone.
    """

    def __init__(self, job: BlockScoring, *, workers: int, progress: Any = False) -> None:
        """Prepare; `workers` and `progress` as in `Scorer`."""
        self.job = job
        self._scorer = Scorer(
            job.target,
            workers=workers,
            timeout=math.inf if job.timeout is None else job.timeout,
            batch_size=job.batch_size,
            concurrency=job.concurrency,
            memory=job.memory,
            progress=progress,
        )

    def __call__(self, block: Block) -> list[Scored]:
        """One result per row of the block, in order."""
        header = {"block": block.index, "rows": block.digest}
        self._scorer.journal_to(self.job.journal(block.index), header, patience=ORPHAN)
        return in_either_form(self._scorer, block.rows, block.keys)

    def close(self) -> None:
        """End the workers and release the journal."""
        self._scorer.close()


Engine = Callable[[Iterable[Block], BlockScoring, Callable[[int], None]], Iterator[tuple[int, list[Scored]]]]
"""Blocks, how to score them, and what to tell how many rows are done, to (index, results) in any order.

One that has a method `block_size(n_rows, batch_size)` says how many rows go into a block of a new job.
"""


@dataclass(frozen=True)
class LocalEngine:
    """Blocks one after another on this machine, each by `workers` processes; None: as many as the reward needs."""

    workers: int | None = None

    def __call__(
        self, blocks: Iterable[Block], job: BlockScoring, advance: Callable[[int], None]
    ) -> Iterator[tuple[int, list[Scored]]]:
        workers = job.processes if self.workers is None else self.workers
        bar = SimpleNamespace(advance=advance, expect=ignore, close=ignore)  # the job knows how many rows there are
        scorer = BlockScorer(job, workers=workers, progress=bar)
        try:
            for block in blocks:
                yield block.index, scorer(block)
        finally:
            scorer.close()


class Results(NamedTuple):
    """What rows got, as kept on disk and written out: their rewards, and the reasons with their details."""

    rewards: list[float | None]
    reasons: list[str | None]


@dataclass(frozen=True)
class Parts:
    """The finished blocks of a job, a file each, which is there as a whole or not at all.

    key: of the job, under which each is sealed; one that is damaged or of another job counts as not there.
    """

    folder: Path
    key: bytes

    def path(self, index: int) -> Path:
        """Where a block's results are."""
        return self.folder / f"{index:07d}.json"

    def keep(self, index: int, digest: str, results: list[Scored]) -> None:
        """Write a finished block; `digest` is that of its rows."""
        rewards = [result.reward for result in results]
        reasons = [f"{result.reason}: {result.detail}" if result.detail else result.reason for result in results]
        with replacing(self.path(index)) as file:
            file.write(sealed({"digest": digest, "rewards": rewards, "reasons": reasons}, self.key))

    def read(self, index: int, digest: str) -> Results | None:
        """A finished block's results, or None."""
        try:
            part = unsealed(self.path(index).read_bytes(), self.key)
        except FileNotFoundError:
            return None
        if part is None or part["digest"] != digest:
            return None
        return Results(part["rewards"], part["reasons"])
