"""score_file: a file of rows to a file of rows with rewards, by a job that can be killed and repeated."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rewardsmith.data import has_text
from rewardsmith.errors import RewardsmithError, RowsError
from rewardsmith.rewards.blocks import RESULTS, Block, BlockScoring, Engine, LocalEngine, Parts, RowsFile
from rewardsmith.rewards.calling import CONCURRENCY, row_limit
from rewardsmith.rewards.contracts import check_columns
from rewardsmith.rewards.journal import Journal
from rewardsmith.rewards.progress import Bar
from rewardsmith.rewards.targets import Target, as_target, load_target, source_digest

Records = list[dict[str, Any]]


class ScoreSummary(NamedTuple):
    """What a job came to.

    unscored: reason → rows. n_found: rows whose blocks were finished when this run began. seconds: of this run.
    """

    out: Path
    n_rows: int
    n_scored: int
    unscored: dict[str, int]
    n_found: int
    seconds: float


class _Plan(NamedTuple):
    rows: RowsFile
    n_rows: int
    digests: list[str]


def score_file(
    rows: str | Path,
    reward: str | Target | Callable[..., Any],
    out: str | Path,
    *,
    engine: Engine | None = None,
    timeout: float | None = None,
    batch_size: int = 16,
    concurrency: int = CONCURRENCY,
    block_size: int = 1024,
    limit: int | None = None,
    conversational: bool = False,
    progress: bool = False,
) -> ScoreSummary:
    """Score every row of a file, and write the file again with the columns `reward` and `reason`.

    Rows keep their order and columns; `reward` is null where a row is unscored, and `reason` says why. Finished blocks
    of rows are kept in the folder `OUT.parts`, batches of the others in journals there. Killed, the same call scores
    only what is not there, on whichever engine; done, it scores nothing. Any engine cuts the same blocks and batches,
    so results do not depend on it.

    Args:
        rows: a `.jsonl`, `.json`, `.parquet` or `.csv` file; each row needs `prompt` and `completion`; one
            whose completion holds no text is unscored.
        reward: a name that `load_target` knows, or what it gives.
        out: a `.jsonl` or `.parquet` file.
        engine: `LocalEngine(workers)` or `engines.ray.RayEngine(workers)`.
        timeout: seconds that one row may take; None is 30, and no limit for a reward model or a judge.
        batch_size: rows per call of a batched reward; a reward model makes its own batches.
        concurrency: rows that an async reward works on at once, where the reward does not say.
        block_size: rows that are finished together.
        conversational: give the reward messages where the file has strings.
        progress: draw a bar on standard error.

    Raises:
        RowsError: the rows cannot be read.
        RewardsmithError: `OUT.parts` holds another job, or `out` is a file that no job of ours has written.
    """
    start = time.monotonic()
    path, folder = _checked(Path(out))
    target = load_target(reward) if isinstance(reward, str) else as_target(reward)
    plan = _surveyed(RowsFile(Path(rows), _positive(block_size), limit, conversational))
    check_columns(target.reward, plan.rows.columns)
    job = BlockScoring(target, folder.resolve(), row_limit(target.reward, timeout), batch_size, concurrency)
    lock = Journal(folder / "job", _header(job, plan))
    try:
        parts = Parts(folder)
        n_found = _score(plan, job, parts, engine or LocalEngine(), Bar() if progress else None)
        if not path.is_file():
            _write(path, _Joined(plan, parts))
    finally:
        lock.close()
    counts = Counter(reason for index in range(len(plan.digests)) for _, reason in parts.read(index).results)
    unscored = Counter[str]()
    for reason, n in counts.items():
        if reason is not None:
            unscored[reason.partition(":")[0]] += n
    n_scored = counts[None]
    return ScoreSummary(path, plan.n_rows, n_scored, dict(sorted(unscored.items())), n_found, time.monotonic() - start)


def _positive(block_size: int) -> int:
    if block_size < 1:
        raise ValueError(f"score_file: block_size is {block_size}, which cannot be. Pass at least 1.")
    return block_size


def _checked(out: Path) -> tuple[Path, Path]:
    if out.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"score_file: {out} ends in {out.suffix!r}. Name a .jsonl or a .parquet file to write.")
    folder = out.with_name(f"{out.name}.parts")
    if out.exists() and not (folder / "job").is_file():
        raise RewardsmithError(
            f"score_file: {out} exists and is of no job that can be continued. Remove it, or choose another name."
        )
    return out, folder


def _surveyed(rows: RowsFile) -> _Plan:
    """The columns of all rows, and the digest of every block: reading errors show before anything is scored."""
    columns: dict[str, None] = {}
    n_texts = 0
    for block in rows.blocks():
        columns.update(dict.fromkeys(name for row in block.rows for name in row.columns))
        n_texts += sum(has_text(row.completion) for row in block.rows)
    whole = replace(rows, columns=tuple(columns))
    n_rows, digests = 0, []
    for block in whole.blocks():
        n_rows += len(block.rows)
        digests.append(block.digest)
    if not digests:
        raise RowsError(f"score_file: {rows.path} holds no rows. Each row needs a `prompt` and a `completion`.")
    if not n_texts and "completion_ids" not in columns:
        raise RowsError(
            f"score_file: none of the {n_rows} rows of {rows.path} has a `completion` with text. "
            "Rename the column that holds it."
        )
    return _Plan(whole, n_rows, digests)


def _header(job: BlockScoring, plan: _Plan) -> dict[str, Any]:
    return {
        "target": job.target.name,
        "source": source_digest(job.target),
        "timeout": job.timeout,
        "batch_size": job.batch_size,
        "block_size": plan.rows.block_size,
        "rows": hashlib.blake2b("".join(plan.digests).encode(), digest_size=16).hexdigest(),
    }


def _score(plan: _Plan, job: BlockScoring, parts: Parts, engine: Engine, bar: Bar | None) -> int:
    """Score the blocks that are not finished; the rows of those that are."""
    found = {index for index in range(len(plan.digests)) if parts.has(index)}
    n_found = sum(min(plan.rows.block_size, plan.n_rows - index * plan.rows.block_size) for index in found)
    advance: Callable[[int], None] = bar.advance if bar else lambda n_rows: None
    if bar:
        bar.expect(plan.n_rows)
        bar.advance(n_found)
    missing: Iterator[Block] = (block for block in plan.rows.blocks() if block.index not in found)
    try:
        for index, results in engine(missing, job, advance) if len(found) < len(plan.digests) else ():
            parts.keep(index, plan.digests[index], results)
            job.journal(index).unlink(missing_ok=True)
    finally:
        if bar:
            bar.close()
    return n_found


class _Joined:
    """The records of each block with what they got; can be gone through again."""

    def __init__(self, plan: _Plan, parts: Parts) -> None:
        self._plan, self._parts = plan, parts

    def __iter__(self) -> Iterator[Records]:
        for index, records in enumerate(self._plan.rows.records()):
            part = self._parts.read(index)
            if part.digest != self._plan.digests[index] or len(part.results) != len(records):
                raise RewardsmithError(
                    f"score_file: {self._parts.path(index)} holds results of other rows. Delete it to score them again."
                )
            yield [
                {**record, "reward": reward, "reason": reason}
                for record, (reward, reason) in zip(records, part.results, strict=True)
            ]


def _write(out: Path, blocks: Iterable[Records]) -> None:
    """The output as a whole or not at all."""
    unfinished = out.with_name(f"{out.name}.tmp")
    if out.suffix == ".parquet":
        _parquet(unfinished, blocks, name=out.stem)
    else:
        _jsonl(unfinished, blocks)
    os.replace(unfinished, out)


def _jsonl(path: Path, blocks: Iterable[Records]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for records in blocks:
            file.writelines(json.dumps(record, ensure_ascii=False, default=_plain) + "\n" for record in records)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _parquet(path: Path, blocks: Iterable[Records], *, name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    added = pa.schema([("reward", pa.float64()), ("reason", pa.string())])
    try:
        schema = pa.schema([])
        for records in blocks:
            given = [{name: value for name, value in record.items() if name not in RESULTS} for record in records]
            own = pa.Table.from_pylist(given).schema
            schema = pa.unify_schemas([schema, own], promote_options="permissive")
        schema = pa.unify_schemas([schema, added])
        with pq.ParquetWriter(path, schema) as writer:
            for records in blocks:
                writer.write_table(pa.Table.from_pylist(records, schema=schema))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RewardsmithError(
            f"score_file: the rows fit no Parquet table ({error}). Rename {name}.parquet.parts to {name}.jsonl.parts "
            f"and write {name}.jsonl: nothing is scored again."
        ) from error


__all__ = ["ScoreSummary", "score_file"]
