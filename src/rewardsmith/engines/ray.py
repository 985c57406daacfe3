"""Scoring over Ray Data: the blocks of a job go to the workers of a cluster, each of which loads the reward once."""

from __future__ import annotations

import logging
import math
import os
import pickle
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardsmith.errors import RewardsmithError, missing_extra
from rewardsmith.scoring import Block, BlockScoring, Scored
from rewardsmith.scoring.blocks import BlockScorer

logger = logging.getLogger(__name__)
ATTEMPTS = ".attempts"


@dataclass(frozen=True)
class RayEngine:
    """Blocks on the workers of a Ray cluster, for `rewards.score_file`.

    A worker that dies is replaced, and its block goes on from the block's journal. Results come back as Ray's own
    return values; where the output's folder is on a disk that all nodes see, the journals are there too, so that not
    even the batches of an unfinished block are repeated.

    workers: how many; None: as many as the cluster has room for.
    num_cpus, num_gpus: what each of them takes.
    most_attempts: how often a block may be begun in one run: what ends its worker every time would go on for ever.
    """

    workers: int | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    most_attempts: int = 5

    def __call__(
        self, blocks: Iterable[Block], job: BlockScoring, advance: Callable[[int], None]
    ) -> Iterator[tuple[int, list[Scored]]]:
        """Every block's results as it is finished.

        Raises:
            RewardsmithError: Ray is not installed, there is no room for a worker, or a worker fails or dies repeatedly.
        """
        ray = _ray()
        ours = not ray.is_initialized()
        if ours:
            _start(ray, None if self.workers is None else math.ceil(self.workers * self.num_cpus))
        for left in job.folder.glob(f"*{ATTEMPTS}"):
            left.unlink()
        try:
            for index, results, said in self._results(ray, blocks, job):
                for message in said:
                    logger.warning("%s", message)
                if isinstance(results, str):
                    raise RewardsmithError(_failure(f"block {index}: {results}"))
                _attempts(job, index).unlink(missing_ok=True)
                advance(len(results))
                yield index, results
        except ray.exceptions.RayError as error:
            lines = re.findall(r"^[\w.]+(?:Error|Exception): .+", str(error), re.MULTILINE)
            raise RewardsmithError(_failure(lines[0] if lines else type(error).__name__)) from error
        finally:
            if ours:
                ray.shutdown()

    def _results(
        self, ray: Any, blocks: Iterable[Block], job: BlockScoring
    ) -> Iterator[tuple[int, list[Scored] | str, list[str]]]:
        """Every block's results, or what went wrong, and the warnings that came with it."""
        import cloudpickle
        import pyarrow as pa

        # One by one into the object store, which spills to disk: the rows need never be in memory together.
        data = ray.data.from_arrow_refs([ray.put(pa.table({"block": [pickle.dumps(block)]})) for block in blocks])
        data.context.enable_progress_bars = False
        scored = data.map_batches(
            RayWorker,
            fn_constructor_args=(cloudpickle.dumps(job), list(sys.path), self.most_attempts),
            compute=ray.data.ActorPoolStrategy(size=self._size(ray)),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
        )  # by Ray's default a worker that dies is replaced, and what it had begun is begun again
        for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from (pickle.loads(result) for result in batch["result"].to_pylist())

    def _size(self, ray: Any) -> int:
        if self.workers is not None:
            return self.workers
        has = ray.cluster_resources()
        room = [has.get(kind, 0.0) / need for kind, need in (("CPU", self.num_cpus), ("GPU", self.num_gpus)) if need]
        if not room or min(room) < 1:
            raise RewardsmithError(
                f"RayEngine: the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, no room for a "
                f"worker of {self.num_cpus:g} and {self.num_gpus:g}. Ask for less, or say how many workers to wait for."
            )
        return int(min(room))


class _Said(logging.Handler):
    """Keeps warnings, such as that of a damaged journal, until they go to the driver with a block's results."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class RayWorker:
    """What runs on a worker: blocks in, their results out, pickled both ways."""

    def __init__(self, job: bytes, path: list[str], most_attempts: int) -> None:
        """Load the reward, which may lie where the driver looks for modules."""
        import cloudpickle

        sys.path += [place for place in path if place not in sys.path]
        self._job: BlockScoring = cloudpickle.loads(job)
        self._most_attempts = most_attempts
        self._said = _Said(logging.WARNING)
        logging.getLogger("rewardsmith").addHandler(self._said)
        self._scorer = BlockScorer(self._job, workers=self._job.processes)

    def __call__(self, batch: Any) -> Any:
        """One block, scored."""
        import pyarrow as pa

        return pa.table({"result": [self._scored(pickle.loads(block)) for block in batch["block"].to_pylist()]})

    def _scored(self, block: Block) -> bytes:
        found: list[Scored] | str
        try:
            found = self._begun(block)
        except Exception as error:  # as a value, so that it is neither retried nor buried in Ray's own traceback
            found = f"{type(error).__name__}: {error}"
        said, self._said.messages = self._said.messages, []
        return pickle.dumps((block.index, found, said))

    def _begun(self, block: Block) -> list[Scored]:
        attempts = _attempts(self._job, block.index)
        attempts.parent.mkdir(parents=True, exist_ok=True)  # where this machine does not see the driver's disk
        with attempts.open("ab") as file:
            file.write(b".")
        if attempts.stat().st_size > self._most_attempts:
            raise RewardsmithError(f"it has ended its worker {self._most_attempts} times")
        return self._scorer(block)


def _failure(what: str) -> str:
    return (
        f"RayEngine: a worker failed ({what[:500].rstrip('.')}). What is finished is kept: mend the reward, or "
        "give each worker more memory, and run the same command."
    )


def _attempts(job: BlockScoring, index: int) -> Path:
    return job.journal(index).with_suffix(ATTEMPTS)


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_extra("RayEngine", "ray", error) from error
    return ray


def _start(ray: Any, num_cpus: int | None) -> None:
    """Join the cluster of RAY_ADDRESS, or make one of this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        ray.init(num_cpus=num_cpus, include_dashboard=False, **quiet)
