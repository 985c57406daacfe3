"""Blocks of rows: the units of a scoring job, which any number of machines can share without repeating one."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from rewardsmith._disk import replacing
from rewardsmith.data import Row
from rewardsmith.data.records import ReadOptions, selected
from rewardsmith.data.rows import as_row
from rewardsmith.errors import RowsError
from rewardsmith.scoring.arguments import ignore
from rewardsmith.scoring.calling import CONCURRENCY, is_model
from rewardsmith.scoring.journal import sealed, unsealed
from rewardsmith.scoring.keys import keys_of
from rewardsmith.scoring.score_rows import in_either_form
from rewardsmith.scoring.scorer import Scorer
from rewardsmith.scoring.targets import Target
from rewardsmith.scoring.work import Scored

ORPHAN = 60.0
"""Seconds to wait for a block's journal: after a job on Ray has ended, its worker takes some to die."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a file. index: position of the block, from 0. keys: digests that identify the rows."""

    index: int
    rows: list[Row]
    keys: list[str]

    @property
    def digest(self) -> str:
        """Digest of the rows' content."""
        return hashlib.blake2b("".join(self.keys).encode(), digest_size=16).hexdigest()


class Read(NamedTuple):
    """Records of a file, the rows made of them, and the keys that identify the rows."""

    records: list[Mapping[str, Any]]
    rows: list[Row]
    keys: list[str]


@dataclass(frozen=True)
class RowsFile:
    """A file of rows, or another source that `read_rows` reads, block by block; a large one is never read as a whole.

    source: a `Path`, or rows in memory that can be iterated several times.
    columns: those of all rows together; a row that lacks one has None there, in every block.
    conversational: turn strings into messages.
    added: the columns that scoring adds; no row may have one of them.
    reading: options of `read_rows`.
    kept: all of it, if it was already read and is small. n_rows, digests: of all of it, and of each block.
    """

    source: Any
    block_size: int
    limit: int | None = None
    conversational: bool = False
    columns: tuple[str, ...] = ()
    added: tuple[str, ...] = ("reward", "reason")
    reading: ReadOptions = field(default_factory=ReadOptions)
    kept: Read | None = None
    n_rows: int = 0
    digests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name in error messages."""
        return str(self.source) if isinstance(self.source, Path) else type(self.source).__name__

    def records(self) -> Iterator[list[Mapping[str, Any]]]:
        """Yield the records of each block, as they are in the file."""
        source = str(self.source) if isinstance(self.source, Path) else self.source
        found = selected("score_file", source, self.reading) if self.kept is None else self.kept.records
        records = itertools.islice(found, self.limit)
        while block := list(itertools.islice(records, self.block_size)):
            yield block

    def read(self) -> Iterator[Read]:
        """Yield every block, with its rows as they are in the file.

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
                row = as_row(record, where=where, caller="score_file", reading=self.reading)
                if not row.columns.keys().isdisjoint(self.added):
                    taken = next(added for added in self.added if added in row.columns)
                    raise RowsError(
                        f"score_file: {where} already has a column `{taken}`, which scoring adds. Rename it."
                    )
                rows.append(row.conversational() if self.conversational else row)
            yield Read(records, rows, keys_of(rows))

    def blocks(self) -> Iterator[Block]:
        """Yield every block, its rows with the columns of all rows."""
        absent = dict.fromkeys(self.columns)
        for index, (_, rows, keys) in enumerate(self.read()):
            whole = [
                row if tuple(row.columns) == self.columns else replace(row, columns={**absent, **row.columns})
                for row in rows
            ]
            yield Block(index, whole, keys)


@dataclass(frozen=True)
class BlockScoring:
    """Settings of block scoring, for a worker on any machine.

    folder: where journals are. source: a digest of the reward's code.
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
        """The number of scoring processes of one worker: 0 for a model, else 1 that can be killed."""
        return 0 if is_model(self.target) else 1

    def journal(self, index: int) -> Path:
        """Return the path of an unfinished block's journal."""
        return self.folder / f"{index:07d}.journal"


class BlockScorer:
    """Score blocks with one reward that is loaded once; an interrupted block continues from its journal.

    job: may be replaced by one that differs only in its folder.
    """

    def __init__(self, job: BlockScoring, *, workers: int, progress: Any = False) -> None:
        """Prepare a scorer; `workers` and `progress` as in `Scorer`."""
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
        """Return one result per row of the block, in order."""
        header = {"block": block.index, "rows": block.digest}
        self._scorer.journal_to(self.job.journal(block.index), header, patience=ORPHAN)
        return in_either_form(self._scorer, block.rows, block.keys)

    def close(self) -> None:
        """End the workers and release the journal."""
        self._scorer.close()


Engine = Callable[[Iterable[Block], BlockScoring, Callable[[int], None]], Iterator[tuple[int, list[Scored]]]]
"""Blocks, the settings, and a callback for the number of finished rows, to (index, results) in any order.

An engine may have a method `block_size(n_rows, batch_size)`: the number of rows per block of a new job.
"""


@dataclass(frozen=True)
class LocalEngine:
    """Score blocks in turn on this machine, each with `workers` processes; None uses as many as the reward needs."""

    workers: int | None = None

    def __call__(
        self, blocks: Iterable[Block], job: BlockScoring, advance: Callable[[int], None]
    ) -> Iterator[tuple[int, list[Scored]]]:
        workers = job.processes if self.workers is None else self.workers
        bar = SimpleNamespace(advance=advance, expect=ignore, close=ignore)  # the job knows the number of rows
        with closing(BlockScorer(job, workers=workers, progress=bar)) as scorer:
            for block in blocks:
                yield block.index, scorer(block)


class Results(NamedTuple):
    """Results of rows as they are stored and written: their rewards, and the reasons with their details."""

    rewards: list[float | None]
    reasons: list[str | None]


@dataclass(frozen=True)
class Parts:
    """The finished blocks of a job, one file each, written as a whole or not at all.

    key: seals this job's files; a file that is damaged or of another job counts as missing.
    """

    folder: Path
    key: bytes

    def path(self, index: int) -> Path:
        """Return the path of a block's results."""
        return self.folder / f"{index:07d}.json"

    def keep(self, index: int, digest: str, results: list[Scored]) -> None:
        """Write a finished block; `digest` is that of its rows."""
        rewards = [result.reward for result in results]
        reasons = [f"{result.reason}: {result.detail}" if result.detail else result.reason for result in results]
        with replacing(self.path(index)) as file:
            file.write(sealed({"digest": digest, "rewards": rewards, "reasons": reasons}, self.key))

    def read(self, index: int, digest: str) -> Results | None:
        """Return a finished block's results, or None."""
        try:
            part = unsealed(self.path(index).read_bytes(), self.key)
        except FileNotFoundError:
            return None
        if part is None or part["digest"] != digest:
            return None
        return Results(part["rewards"], part["reasons"])
