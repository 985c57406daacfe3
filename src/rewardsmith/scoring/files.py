"""score_file: write a file of rows again with rewards, by a job that can be killed and continued."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from numbers import Number
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from rewardsmith import __version__
from rewardsmith.data import Row
from rewardsmith.data.column_names import flag
from rewardsmith.data.keys import is_missing
from rewardsmith.data.records import ReadOptions
from rewardsmith.data.rows import check_answers, has_text
from rewardsmith.errors import RewardsmithError, RowsError
from rewardsmith.scoring.blocks import Block, BlockScoring, Engine, LocalEngine, Parts, Read, Results, RowsFile
from rewardsmith.scoring.called import check_columns
from rewardsmith.scoring.calling import CONCURRENCY, row_limit
from rewardsmith.scoring.columns import Columns, Given, columns_of, names_of
from rewardsmith.scoring.digest import source_digest
from rewardsmith.scoring.journal import CODE, Journal, header_of
from rewardsmith.scoring.output import Records, file_digest, write_records
from rewardsmith.scoring.progress import Bar

logger = logging.getLogger(__name__)
MOST_KEPT, SAMPLED = 1 << 25, 64
"""Characters of rows to keep in memory, estimated from every 64th record; larger files are read again when needed."""


class ScoreSummary(NamedTuple):
    """The result of a job.

    n_scored: rows with a reward; of several rewards, rows that all of them scored.
    unscored: reason → number of rows; of several rewards, the sum over them.
    n_found: rows of blocks that were finished before this run.
    seconds: duration of this run.
    made: when the output was written, if this run found it finished; else None.
    by_reward: for several rewards, label → reason → number of rows, with the scored ones under "scored".
    first: reason → detail of its first row; of several rewards, of the first one that has it.
    """

    out: Path
    n_rows: int
    n_scored: int
    unscored: dict[str, int]
    n_found: int
    seconds: float
    made: str | None = None
    by_reward: dict[str, dict[str, int]] | None = None
    first: dict[str, str] | None = None


class _Job(NamedTuple):
    """The scoring of one reward."""

    scoring: BlockScoring
    lock: Journal
    parts: Parts


def score_file(
    rows: str | Path | Iterable[Mapping[str, Any]],
    reward: Given | Sequence[Given],
    out: str | Path,
    *,
    engine: Engine | None = None,
    timeout: float | None = None,
    batch_size: int = 16,
    concurrency: int = CONCURRENCY,
    memory: int | None = None,
    block_size: int | None = None,
    limit: int | None = None,
    conversational: bool = False,
    progress: bool = False,
    **reading: Unpack[ReadOptions],
) -> ScoreSummary:
    """Score every row of a file, and write the file again with the columns `reward` and `reason`.

    Rows keep their order and columns. `reward` is null for an unscored row, and `reason` says why. Several rewards get
    columns of their own, `reward/NAME` and `reason/NAME`. So does each source of a recipe or of a mapping from names to
    rewards; `reward` is then their total, if it depends on one row only.

    Finished blocks of rows are stored in the folder `OUT.parts`, with journals for the batches of the others. After a
    kill, the same call repeats at most the calls that were running, on any engine; after the end, it scores nothing.
    After an edit of the reward's code it scores all rows again. If a result depends on which rows share a batch, pass
    `block_size`: then every engine makes the same blocks and batches.

    Args:
        rows: what `read_rows` reads. Each row needs a prompt and a completion; a completion without text is unscored.
        reward: a name for `load_reward`, its result, or a list of these.
        out: a `.jsonl` or `.parquet` file; see `scoring.output.write_records` for NaN and broken text.
        engine: `LocalEngine(workers)` or `engines.ray.RayEngine(workers)`.
        timeout, batch_size, concurrency, memory: as in `Scorer`.
        block_size: rows per block. None takes that of the job on disk; for a new job a 32nd of the rows, at least 64
            and at most 1024, or on Ray a quarter of a worker's share, in whole batches.
        conversational: give the reward messages instead of the file's strings. Without it, a block on whose every row
            the reward raises is tried in the other form.
        progress: draw a bar on standard error.
        reading: options of `read_rows`: the split and the columns.

    Raises:
        RowsError: the rows cannot be read.
        RewardsmithError: `OUT.parts` holds another job, or no job of ours wrote `out`.
    """
    start = time.monotonic()
    path = Path(out)
    if path.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"score_file: {path} ends in {path.suffix!r}. Name a .jsonl or .parquet file as output.")
    folder = path.with_name(f"{path.name}.parts")
    if isinstance(rows, str | Path) and path.exists() and Path(rows).exists() and path.samefile(rows):
        raise RewardsmithError(f"score_file: {path} is the file of the rows. Name another output file.")
    if path.exists() and not (folder / "job").is_file():
        raise RewardsmithError(
            f"score_file: {path} exists, and no job that can be continued wrote it. Remove it, or choose another name."
        )
    columns = columns_of(reward)
    if block_size is not None and block_size < 1:
        raise ValueError(f"score_file: block_size is {block_size}. Pass at least 1.")
    engine = LocalEngine() if engine is None else engine

    def size(n_rows: int) -> int:
        """Return the rows per block: as given, else as in the job on disk, as the engine wants, or the default."""
        known = block_size or header_of(folder / "job").get("block_size")
        if known is None and hasattr(engine, "block_size"):
            known = engine.block_size(n_rows, batch_size)
        return known or min(1024, max(64, -(-n_rows // 32)))

    given = RowsFile(_source(rows), 1024, limit, conversational, added=tuple(columns.added), reading=reading)
    plan = _surveyed(given, size)
    bar = Bar() if progress else None
    with contextlib.ExitStack() as stack:
        if bar:
            stack.callback(bar.close)
            bar.expect(plan.n_rows * len(columns.targets))
        common = {"batch_size": batch_size, "concurrency": concurrency, "memory": memory}
        top, jobs = _opened(stack, folder, columns, plan, {"timeout": timeout, **common})
        if path.exists() and any(job.lock.emptied for job in jobs.values()):
            logger.warning("score_file: %s is from earlier code. It is replaced when this run ends.", path)
        n_found = min(_score(plan, job, engine, bar) for job in jobs.values())
        joined = _Joined(plan, columns, jobs)
        known = top.records if n_found == plan.n_rows and path.is_file() else []
        outputs = [record for record in known if record.get("output") == path.name]
        made = str(outputs[-1]["at"]) if outputs else None
        if outputs and outputs[-1]["digest"] != file_digest(path):
            logger.warning("score_file: %s was changed after it was written. It is written again.", path)
            made = None
        if made is None:
            write_records(path, joined, columns.added)
            at = datetime.now().astimezone().isoformat(timespec="seconds")
            top.append({"output": path.name, "digest": file_digest(path), "at": at})
        else:
            for _ in joined:  # counts the results
                pass
    by_reward = {label or "reward": dict(sorted(joined.tallies[label].items())) for label in columns.labels}
    unscored = joined.tallies[""] if "" in columns.labels else sum(joined.tallies.values(), Counter[str]())
    n_scored = joined.tallies[""]["scored"] if "" in columns.labels else joined.n_whole
    counts = {reason: n for reason, n in sorted(unscored.items()) if reason != "scored"}
    return ScoreSummary(
        path, plan.n_rows, n_scored, counts, n_found, time.monotonic() - start, made,
        by_reward if len(columns.labels) > 1 else None, joined.first,
    )  # fmt: skip


def _source(rows: Any) -> Any:
    """Return rows that can be iterated several times."""
    if isinstance(rows, str | Path):
        return Path(rows)
    if not isinstance(rows, Iterable):
        raise RowsError(
            f"score_file: rows is a {type(rows).__name__}. Give a file's name, a list of mappings or a Dataset."
        )
    if not isinstance(rows, Iterator | list | tuple):
        return rows
    return [{"prompt": r.prompt, "completion": r.completion, **r.columns} if isinstance(r, Row) else r for r in rows]


def _surveyed(rows: RowsFile, block_size: Callable[[int], int]) -> RowsFile:
    """Read all rows once: their columns, the digests of the blocks, and, if they are few, the rows themselves.

    Errors of the input thus show before anything is scored.
    """
    columns: dict[str, None] = {}
    kept: Read | None = Read([], [], [])
    ids, n_texts, size = bytearray(), 0, 0
    for found in rows.read():
        for names in dict.fromkeys(tuple(row.columns) for row in found.rows):
            columns.update(dict.fromkeys(names))
        n_texts += sum(type(row.completion) is str or has_text(row.completion) for row in found.rows)
        ids += bytes.fromhex("".join(found.keys))
        size += SAMPLED * sum(len(repr(record)) for record in found.records[::SAMPLED])
        kept = None if size > MOST_KEPT else kept
        if kept is not None:
            kept.records.extend(found.records)
            kept.rows.extend(found.rows)
            kept.keys.extend(found.keys)
    n_rows = len(ids) // 16
    if not n_rows:
        raise RowsError(f"score_file: {rows.name} holds no rows. Each row needs a `prompt` and a `completion`.")
    if not n_texts and "completion_ids" not in columns:
        given = (record.get("completion") for records in rows.records() for record in records)
        numbers = [type(value).__name__ for value in given if isinstance(value, Number) and not is_missing(value)][:1]
        how = f"Name the column that holds it with {flag('completion_column')}"
        todo = f"Convert its numbers ({numbers[0]}) to text" if numbers else how
        raise RowsError(f"score_file: none of the {n_rows} rows of {rows.name} has a `completion` with text. {todo}.")
    if rows.reading.get("answer_column") is not None:
        every = (row for found in rows.read() for row in found.rows)
        check_answers("score_file", rows.name, every, rows.reading)
    each = block_size(n_rows)
    blocks = (ids[16 * start : 16 * (start + each)].hex().encode() for start in range(0, n_rows, each))
    digests = tuple(hashlib.blake2b(keys, digest_size=16).hexdigest() for keys in blocks)
    return replace(rows, columns=tuple(columns), block_size=each, kept=kept, n_rows=n_rows, digests=digests)


def _opened(
    stack: contextlib.ExitStack, folder: Path, columns: Columns, plan: RowsFile, options: dict[str, Any]
) -> tuple[Journal, dict[str, _Job]]:
    """Return the output's journal, and the jobs by label: one in the folder itself, several in folders inside it."""
    digest = hashlib.blake2b("".join(plan.digests).encode(), digest_size=16).hexdigest()
    shared = {"block_size": plan.block_size, "rows": digest}
    out = folder.with_suffix("")
    both = f"{out} and the folder {folder}" if out.exists() else f"the folder {folder}"
    remedy = f"Delete {both} to score anew, or choose another output."

    def opened(place: Path, header: dict[str, Any]) -> Journal:
        journal = Journal(place / "job", {**header, **shared}, anew=CODE, remedy=remedy)
        stack.callback(journal.close)
        return journal

    top = None if len(columns.labels) == 1 else opened(folder, {"rewards": list(columns.labels)})
    jobs = {}
    for label, target in columns.targets.items():
        check_columns(target.reward, plan.columns)
        # A digest separates labels that differ only in other characters.
        apart = hashlib.blake2b(label.encode(), digest_size=4).hexdigest()
        name = f"{re.sub(r'[^A-Za-z0-9_-]+', '_', label)[:40]}-{apart}"
        place = (folder / name if top else folder).resolve()
        given = {**options, "timeout": row_limit(target.reward, options["timeout"])}
        scoring = BlockScoring(target, place, source=source_digest(target), **given)
        header = {"target": target.name, "source": scoring.source, "version": __version__}
        limits = {"timeout": scoring.timeout, "batch_size": scoring.batch_size, "memory": scoring.memory}
        lock = opened(place, header | limits)
        if lock.emptied:
            for left in [*place.glob("*.json"), *place.glob("*.journal")]:
                left.unlink()
        jobs[label] = _Job(scoring, lock, Parts(place, lock.key))
    return top or next(iter(jobs.values())).lock, jobs


def _score(plan: RowsFile, job: _Job, engine: Engine, bar: Bar | None) -> int:
    """Score the unfinished blocks, and return the number of rows in finished ones."""
    found, damaged = set[int](), list[Path]()
    for index, digest in enumerate(plan.digests):
        part = job.parts.read(index, digest)
        # A row whose endpoint gave no answer is tried again.
        if part is not None and not any(r is not None and r.partition(":")[0] == "endpoint" for r in part.reasons):
            found.add(index)
        elif part is None and job.parts.path(index).exists():
            damaged.append(job.parts.path(index))
    if damaged:
        logger.warning("score_file: %d parts are damaged, the first %s. Their rows are scored again.",
                       len(damaged), damaged[0])  # fmt: skip
    n_found = sum(min(plan.block_size, plan.n_rows - index * plan.block_size) for index in found)
    if bar:
        bar.advance(n_found)
    missing: Iterator[Block] = (block for block in plan.blocks() if block.index not in found)
    advance = bar.advance if bar else lambda n_rows: None
    for index, results in engine(missing, job.scoring, advance) if len(found) < len(plan.digests) else ():
        job.parts.keep(index, plan.digests[index], results)
        if not any(result.reason == "endpoint" for result in results):  # else the journal keeps the answered rows
            job.scoring.journal(index).unlink(missing_ok=True)
    return n_found


class _Joined:
    """The records of each block with their results; can be iterated several times.

    tallies: label → reason, or "scored" → number of rows. n_whole: rows that every reward scored. first: reason → its
        first detail. All of them are of the last iteration.
    """

    def __init__(self, plan: RowsFile, columns: Columns, jobs: dict[str, _Job]) -> None:
        self._plan, self._columns, self._jobs = plan, columns, jobs
        self.tallies: dict[str, Counter[str]] = {}
        self.n_whole = 0
        self.first: dict[str, str] = {}

    def __iter__(self) -> Iterator[Records]:
        self.tallies, self.n_whole = {label: Counter() for label in self._columns.labels}, 0
        self.first = {}
        names = [name for label in self._columns.labels for name in names_of(label)]
        blocks = self._plan.blocks() if self._columns.totals else None
        for index, records in enumerate(self._plan.records()):
            found: dict[str, Results] = {}
            for label, job in self._jobs.items():
                part = job.parts.read(index, self._plan.digests[index])
                if part is None:
                    raise RewardsmithError(
                        f"score_file: {job.parts.path(index)} was changed while this job ran. "
                        "Run the same command again to score its rows again."
                    )
                found[label] = part
            if blocks is not None:
                rows = next(blocks).rows
                found |= {label: total(found, rows) for label, total in self._columns.totals.items()}
            unscored = set[int]()
            for label, results in found.items():
                missing = {place: reason for place, reason in enumerate(results.reasons) if reason is not None}
                unscored.update(missing)
                if len(missing) < len(records):
                    self.tallies[label]["scored"] += len(records) - len(missing)
                for given in missing.values():
                    reason, _, detail = given.partition(":")
                    self.tallies[label][reason] += 1
                    if detail:
                        self.first.setdefault(reason, detail.strip())
            self.n_whole += len(records) - len(unscored)
            whole = [dict(record) for record in records]
            columns = [column for label in self._columns.labels for column in found[label]]
            for name, column in zip(names, columns, strict=True):
                for record, value in zip(whole, column, strict=True):
                    record[name] = value
            yield whole
