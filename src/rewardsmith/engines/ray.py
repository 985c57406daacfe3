"""Scoring over Ray: blocks of a job go to the workers of a cluster, and each worker loads the reward once."""

from __future__ import annotations

import logging
import math
import os
import pickle
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

from rewardsmith.errors import RewardsmithError, missing_extra
from rewardsmith.scoring.blocks import Block, BlockScorer, BlockScoring
from rewardsmith.scoring.work import Scored

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RayEngine:
    """Scoring of blocks on the workers of a Ray cluster, for `scoring.score_file`.

    A worker is an actor that takes one block at a time, so the file is read no faster than it is scored. A worker that
    dies is replaced, and its block continues from the block's journal. Results are Ray's own return values. Where the
    output's folder is on a disk that all nodes share, the journals are there too, and even the finished batches of an
    unfinished block are kept.

    The workers of the last job keep their reward loaded until this process ends, another reward is scored, or `close`
    is called.

    workers: number of workers; None for as many as the cluster has room for.
    num_cpus, num_gpus: resources of each worker.
    most_attempts: how often a block may be started in one run, so that a block that kills its worker ends the run.
    """

    workers: int | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    most_attempts: int = 5

    def __call__(
        self, blocks: Iterable[Block], job: BlockScoring, advance: Callable[[int], None]
    ) -> Iterator[tuple[int, list[Scored]]]:
        """Yield each block's results when it is finished.

        Raises:
            RewardsmithError: Ray is not installed, there is no room for a worker, or a worker fails or dies repeatedly.
        """
        ray = self._started()
        import cloudpickle

        context, n_workers = ray.get_runtime_context(), self._size(ray)
        session = context.gcs_address, context.get_job_id(), context.get_node_id()
        reward = cloudpickle.dumps(replace(job, folder=Path()))
        key = (session, reward, n_workers, self.num_cpus, self.num_gpus)
        if not _POOLS or _POOLS[0].key != key:  # workers that have loaded this reward in this session are kept
            if _POOLS and _POOLS[0].key[0] == session:
                self.close()
            _POOLS[:] = [_Pool(ray, self, job, n_workers, key)]
        pool = _POOLS[0]
        try:
            for index, results, said in pool.run(iter(blocks), job.folder, self.most_attempts):
                for message in said:
                    logger.warning("%s", message)
                if isinstance(results, str):
                    raise RewardsmithError(_failure(f"block {index}: {results}"))
                advance(len(results))
                yield index, results
        except ray.exceptions.RayError as error:
            self.close()
            lines = re.findall(r"^[\w.]+(?:Error|Exception): .+", str(error), re.MULTILINE)
            raise RewardsmithError(_failure(lines[0] if lines else type(error).__name__)) from error
        except BaseException:
            self.close()  # its workers are busy with blocks that nobody waits for
            raise

    def block_size(self, n_rows: int, batch_size: int) -> int:
        """Return the number of rows in a block: four blocks per worker, whole batches, at most 1024 rows."""
        workers = self._size(self._started()) if self.workers is None else self.workers
        batches = math.ceil(n_rows / (4 * workers * batch_size))
        return batch_size * max(1, min(batches, 1024 // batch_size))

    def close(self) -> None:
        """End the workers that the last job left."""
        for pool in _POOLS:
            pool.close()
        _POOLS.clear()

    def _started(self) -> Any:
        """Return Ray, connected to the cluster of RAY_ADDRESS, or to workers of this machine without one."""
        try:
            import ray
        except ImportError as error:
            raise missing_extra("RayEngine", "ray", error) from error
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
            if not os.environ.get("RAY_ADDRESS"):
                needed = None if self.workers is None else math.ceil(self.workers * self.num_cpus)
                quiet |= {"num_cpus": needed, "include_dashboard": False}
            ray.init(**quiet)
        return ray

    def _size(self, ray: Any) -> int:
        if self.workers is not None:
            return self.workers
        has = ray.cluster_resources()
        room = [has.get(kind, 0.0) / need for kind, need in (("CPU", self.num_cpus), ("GPU", self.num_gpus)) if need]
        if not room or min(room) < 1:
            raise RewardsmithError(
                f"RayEngine: the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, too few for "
                f"a worker of {self.num_cpus:g} and {self.num_gpus:g}. Ask for less, or pass workers= to wait for them."
            )
        return int(min(room))


class _Pool:
    """Actors that have loaded one reward, or are loading it. key: identifies the engine, job and Ray session."""

    def __init__(self, ray: Any, engine: RayEngine, job: BlockScoring, n_workers: int, key: tuple[Any, ...]) -> None:
        import cloudpickle

        self.key, self._ray = key, ray
        self._actor = ray.remote(RayWorker).options(num_cpus=engine.num_cpus, num_gpus=engine.num_gpus)
        self._job = cloudpickle.dumps(job)
        self._free: list[Any] = []
        self._loading = dict(self._begun() for _ in range(n_workers))

    def _begun(self) -> tuple[Any, Any]:
        actor = self._actor.remote()
        return actor.load.remote(self._job, list(sys.path)), actor

    def close(self) -> None:
        """End the actors."""
        for actor in (*self._free, *self._loading.values()):
            self._ray.kill(actor)

    def run(
        self, blocks: Iterator[Block], folder: Path, most_attempts: int
    ) -> Iterator[tuple[int, list[Scored] | str, list[str]]]:
        """Yield each block's results, or the error message, and its warnings."""
        died = self._ray.exceptions.RayActorError
        running: dict[Any, tuple[Any, Block]] = {}
        waiting: list[Block] = []  # blocks whose worker has died
        attempts, deaths = Counter[int](), 0
        while True:
            while self._free and (block := waiting.pop() if waiting else next(blocks, None)) is not None:
                attempts[block.index] += 1
                if attempts[block.index] > most_attempts:
                    yield block.index, f"it has ended its worker {most_attempts} times", []
                    return
                actor = self._free.pop()
                running[actor.score.remote(folder, pickle.dumps(block))] = actor, block
            if not running and (self._free or not self._loading):
                return
            (done,), _ = self._ray.wait([*running, *self._loading], num_returns=1)
            if done in self._loading:
                actor = self._loading.pop(done)
                try:
                    self._ray.get(done)
                    self._free.append(actor)
                except died:
                    deaths += 1
                    if deaths >= most_attempts:
                        raise
                    self._loading |= [self._begun()]
                continue
            actor, block = running.pop(done)
            try:
                found = pickle.loads(self._ray.get(done))
            except died:
                waiting.append(block)
                self._loading |= [self._begun()]
                continue
            self._free.append(actor)
            yield found


_POOLS: list[_Pool] = []
"""The workers of the last job, if any."""


class RayWorker:
    """An actor that receives pickled blocks and returns pickled results."""

    def load(self, job: bytes, path: list[str]) -> None:
        """Load the reward, which may be in a folder on the driver's module path."""
        import cloudpickle

        sys.path += [place for place in path if place not in sys.path]
        self._said = BufferingHandler(sys.maxsize)  # keeps warnings until they go to the driver with a block's results
        self._said.setLevel(logging.WARNING)
        logging.getLogger("rewardsmith").addHandler(self._said)
        loaded: BlockScoring = cloudpickle.loads(job)
        self._scorer = BlockScorer(loaded, workers=loaded.processes)

    def score(self, folder: Path, block: bytes) -> bytes:
        """Return the block's index, its results or the error message, and its warnings."""
        given: Block = pickle.loads(block)
        self._scorer.job = replace(self._scorer.job, folder=folder)
        found: list[Scored] | str
        try:
            found = self._scorer(given)
        except Exception as error:  # as a value, so that it is not buried in Ray's own traceback
            found = f"{type(error).__name__}: {error}"
        said = [record.getMessage() for record in self._said.buffer]
        self._said.flush()
        return pickle.dumps((given.index, found, said))


def _failure(what: str) -> str:
    return (
        f"RayEngine: a worker failed ({what[:500].rstrip('.')}). Finished blocks are kept. Repair the reward, or give "
        "each worker more memory, and run the same command."
    )
