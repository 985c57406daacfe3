"""Build the baseline of several summed sources: given completions, scored by each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewardsmith.auditing.asking import Ask, Building
from rewardsmith.data import Row
from rewardsmith.errors import EndpointError, RowsError
from rewardsmith.measures.source_scales import (
    Floats,
    Scales,
    SourceTable,
    combined_table,
    source_scales,
    weighted_table,
)
from rewardsmith.scoring import SourceSet
from rewardsmith.scoring.columns import transformed

ALIVE = 0.2  # least share of groups within which a source with signal varies


@dataclass(frozen=True)
class SourceBaseline:
    """Completions scored by every source.

    table: the scores, and each source's part of a row's reward; rows: (n) in its order.
    scales: spread of the sources; used: spread of their parts of the reward.
    alpha: the error level per question. generator: of the bootstrap over groups.
    """

    table: SourceTable
    rows: Sequence[Row]
    scales: Scales
    used: Scales
    alpha: float
    generator: np.random.Generator

    @property
    def alive(self) -> list[int]:
        """The indices of the sources that carry signal."""
        places = range(len(self.table.names))
        return [k for k in places if self.scales.alive[k] >= ALIVE and self.table.used[k]]

    @property
    def log_ratios(self) -> Floats:
        """(K, K) log s_i/s_j of the raw sources, or of the weighted ones where nearer to 0; never below 0.

        Weights that equalize the scales are no fault, nor are weights that rank the sources.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            raw, weighted = (np.log(std[:, None] / std[None, :]) for std in (self.scales.std, self.used.std))
        ratios: Floats = np.maximum(np.fmin(raw, weighted), 0.0)
        return ratios


def source_baseline(table: SourceTable, rows: Sequence[Row], *, alpha: float, seed: int = 0) -> SourceBaseline:
    """Make the baseline from a table of scores."""
    generator = np.random.default_rng(seed)
    scales = source_scales(table.rewards, table.groups, generator=generator)
    used = source_scales(table.parts, table.groups, generator=generator, resamples=1)
    return SourceBaseline(table, rows, scales, used, alpha, generator)


def build_source_baseline(
    sources: SourceSet,
    rows: Sequence[Row],
    groups: NDArray[np.int64],
    formed: Mapping[str, Sequence[Row]],
    *,
    alpha: float,
    seed: int,
) -> Building[SourceBaseline]:
    """Score the rows with every source, each in the format that it reads.

    Rows without an answer from an endpoint are left out, and so are groups with one row left.
    """
    columns = yield [Ask(formed[name], source=name) for name in sources.targets]
    lost = np.array([[score.reason == "endpoint" for score in column] for column in columns]).any(axis=0)
    several = np.bincount(groups[~lost], minlength=groups.max() + 1) > 1
    kept = np.flatnonzero(~lost & several[groups]).tolist()
    if not len(kept):
        first = next(score.detail for column in columns for score in column if score.reason == "endpoint")
        raise EndpointError(f"audit: no group of completions got its answers from the sources' endpoints. {first}")
    groups = np.unique(groups[kept], return_inverse=True)[1].astype(np.int64)
    rewards = np.array([[math.nan if score.reward is None else score.reward for score in column] for column in columns])
    answered = [rows[i] for i in kept]
    return source_baseline(_table(sources, rewards.T[kept], groups, answered), answered, alpha=alpha, seed=seed)


def grouped(rows: Sequence[Row]) -> tuple[list[Row], NDArray[np.int64]]:
    """Return the rows of prompts (or `group` values) with several completions, and (n,) group numbers."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.completion is not None:
            groups.setdefault(repr(row.columns.get("group", row.prompt_text)), []).append(row)
    several = [group for group in groups.values() if len(group) > 1]
    numbers = [number for number, group in enumerate(several) for _ in group]
    return [row for group in several for row in group], np.array(numbers, dtype=np.int64)


def _table(sources: SourceSet, rewards: Floats, groups: NDArray[np.int64], rows: Sequence[Row]) -> SourceTable:
    names = tuple(sources.targets)
    if sources.transform is None:
        return weighted_table(names, np.array([sources.weights[name] for name in names]), rewards, groups)
    sizes = np.bincount(groups)
    if len(set(sizes.tolist())) > 1:
        raise RowsError(
            f"audit: {sources.name} sees whole groups, but the prompts have {min(sizes)} to {max(sizes)} completions. "
            "Give every prompt as many."
        )

    def combined(rewards: Floats) -> Floats:
        return np.array(transformed(sources, rewards, rows, group_size=int(sizes[0])))

    return combined_table(names, rewards, groups, combined)
