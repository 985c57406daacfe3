"""Choose the columns that `score_file` adds: one per reward, and the total of one reward's sources."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rewardsmith.data import Row
from rewardsmith.data.rows import number_columns
from rewardsmith.scoring.arguments import pseudo_ids
from rewardsmith.scoring.blocks import Results
from rewardsmith.scoring.loading import load_reward
from rewardsmith.scoring.targets import SourceSet, Target, as_sources, as_target
from rewardsmith.types import named_by

logger = logging.getLogger(__name__)
Given = str | Target | SourceSet | Callable[..., Any] | Mapping[str, Any]
"""A reward, by name or as an object, or several that make one: a recipe, or a mapping from names to rewards."""


def transformed(sources: SourceSet, rewards: Any, rows: Sequence[Row], **context: Any) -> list[float]:
    """Return the total of each row as the sources' transform makes it, given the columns by name.

    Args:
        rewards: (B, K) what the sources give; NaN where unscored.
        context: further arguments that the transform may name.
    """
    import torch

    names = dict.fromkeys(name for row in rows for name in row.columns)
    given = {name: [row.columns.get(name) for row in rows] for name in names}
    ids = given.pop("completion_ids", None) or [pseudo_ids(row.completion or "") for row in rows]
    lengths = torch.tensor([float(len(row or ())) for row in ids], dtype=torch.float64)
    context |= {"source_names": tuple(sources.targets), "lengths": lengths, **number_columns(given)}
    transform: Any = sources.transform
    totals = transform(torch.as_tensor(rewards, dtype=torch.float64), **named_by(transform, context).given)
    return [float(total) for total in totals]


class Total(NamedTuple):
    """The total of several columns, row by row."""

    sources: SourceSet
    labels: tuple[str, ...]

    def __call__(self, found: Mapping[str, Results], rows: Sequence[Row]) -> Results:
        """Return the total of each row; None, with the reason, if a source with weight is unscored."""
        columns = [found[label].rewards for label in self.labels]
        if self.sources.transform is None:
            weighted = zip(self.sources.weights.values(), columns, strict=True)
            parts = [[math.nan if r is None else weight * r for r in column] for weight, column in weighted if weight]
            totals = [sum(row) for row in zip(*parts, strict=True)] if parts else [0.0] * len(columns[0])
        else:
            known = [[math.nan if reward is None else reward for reward in column] for column in columns]
            totals = transformed(self.sources, list(zip(*known, strict=True)), rows)
        reasons: list[str | None] = [None] * len(totals)
        own = list(zip(self.sources.targets, self.labels, strict=True))
        for place, total in enumerate(totals):
            if not math.isfinite(total):
                named = [(name, found[label].reasons[place]) for name, label in own]
                why = [f"none: source {name} is unscored ({reason})" for name, reason in named if reason is not None]
                reasons[place] = why[0] if why else "none: the sources' total is not finite"
        return Results([total if math.isfinite(total) else None for total in totals], reasons)


class Columns(NamedTuple):
    """The rewards to score, and the columns to add.

    targets: label → reward.
    totals: label → the total of some of them.
    labels: of all columns, in order; "" is the column `reward`.
    """

    targets: dict[str, Target]
    totals: dict[str, Total]
    labels: tuple[str, ...]

    @property
    def added(self) -> dict[str, type]:
        """The columns by name, with their types."""
        return {name: kind for label in self.labels for name, kind in zip(names_of(label), (float, str), strict=True)}


def names_of(label: str) -> tuple[str, str]:
    """Return the column names of a reward and of its reason.

    >>> names_of(""), names_of("short")
    (('reward', 'reason'), ('reward/short', 'reason/short'))
    """
    return (f"reward/{label}", f"reason/{label}") if label else ("reward", "reason")


def columns_of(given: Given | Sequence[Given]) -> Columns:
    """Return the columns for the given rewards: one, several, or sources of one.

    Raises:
        TargetError: one cannot be loaded.
        ValueError: none is given, one twice, or a source without a name.
    """
    several: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    loaded: list[Target | SourceSet] = []
    for one in several:
        name = str(getattr(one, "name", "sources"))
        known = load_reward(one) if isinstance(one, str) else as_sources(one, name=name) or as_target(one)
        if isinstance(known, SourceSet) and known.transform is None and known.whole is not None:
            known = known.whole  # an object with sources that defines their total itself
        loaded.append(known)
    names = [one.name for one in loaded]
    if len(set(names)) < len(names):
        raise ValueError(f"score_file: a reward is given twice ({', '.join(names)}). Give each once.")
    # Without their module or folder, if the names stay different.
    short = [name.rpartition(":")[2] if ":" in name else Path(name).name for name in names]
    targets, totals, labels = dict[str, Target](), dict[str, Total](), list[str]()
    for brief, one in zip(short, loaded, strict=True):
        label = "" if len(loaded) == 1 else brief if short.count(brief) == 1 else one.name
        if isinstance(one, Target):
            targets[label] = one
            labels.append(label)
            continue
        if "" in one.targets:
            raise ValueError(f"score_file: a source of {one.name} has the name ''. Give it a name for its column.")
        own = {f"{label}/{name}" if label else name: target for name, target in one.targets.items()}
        if one.scope == "row":
            totals[label] = Total(one, tuple(own))
            labels.append(label)
        else:
            logger.warning(
                "score_file: %s needs the %s, not only a row, so only its sources' rewards are written. "
                "The total shows in training.", one.name, one.scope,
            )  # fmt: skip
        targets |= own
        labels += own
    if not targets:
        raise ValueError("score_file: no reward is given. Give at least one.")
    return Columns(targets, totals, tuple(labels))
