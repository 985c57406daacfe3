"""Turn scores of completions into credits of items, and report them by subset, by section and overall."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard, TypeVar

from rewardsmith.data import BenchmarkRow
from rewardsmith.measures.intervals import share_right

T = TypeVar("T")
Rows = Sequence[BenchmarkRow]
Scores = Sequence[Sequence[float | None]]
"""Per item one score per completion, the chosen ones first, in the order of the item; None or NaN: unscored."""


class SubsetScore(NamedTuple):
    """A subset's score, its interval, the number of items, and how many were left out as unscored.

    Without a scored item the value is NaN and the interval (0, 1).
    """

    value: float
    low: float
    high: float
    n: int
    n_unscored: int = 0


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """Scores of a reward on a benchmark, in shares; NaN where unknown, never 0.

    overall: the figure that leaderboards list; NaN unless every section has a score.
    sections: the scores it averages. subsets: the scores below those, in the order of the rows.
    parts: parts of a score: the terms of Ties, or RM-Bench's levels, as "hard" and "chat/hard".
    missing: published subsets without a scored item.
    unscored: items left out, as "subset/id", because a completion has no score; `reasons` counts such completions by
        reason, if the reward was run here.
    """

    protocol: str
    overall: float
    sections: Mapping[str, float]
    subsets: Mapping[str, SubsetScore]
    parts: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Items that count."""
        return sum(subset.n for subset in self.subsets.values())

    @property
    def n_unscored(self) -> int:
        """Items left out."""
        return len(self.unscored)

    def record(self) -> dict[str, Any]:
        """Return the result as plain mappings and lists, for JSON."""
        return {
            "protocol": self.protocol,
            "overall": self.overall,
            "n": self.n,
            "n_unscored": self.n_unscored,
            "sections": dict(self.sections),
            "subsets": {name: subset._asdict() for name, subset in self.subsets.items()},
            "parts": dict(self.parts),
            "missing": list(self.missing),
            "unscored": list(self.unscored),
            "reasons": dict(self.reasons),
        }

    def as_text(self) -> str:
        """Return a few lines for the shell, in percent."""
        lines = [f"{self.protocol}: {_percent(self.overall)} overall, {self.n} items"]
        lines += [f"  {name}: {_percent(value)}" for name, value in self.sections.items() if name not in self.subsets]
        lines += [
            f"    {name}: {_percent(s.value)} ({100 * s.low:.1f} to {100 * s.high:.1f}), n = {s.n}"
            for name, s in self.subsets.items()
        ]
        lines += [f"    {name}: {_percent(value)}" for name, value in self.parts.items()]
        if self.missing:
            lines.append(f"  Missing: {', '.join(self.missing)}")
        if self.unscored:
            why = "".join(f"; {n} × {reason}" for reason, n in self.reasons.items())
            shown = ", ".join(self.unscored[:5]) + (", …" if self.n_unscored > 5 else "")
            lines.append(f"  Left out with an unscored completion: {self.n_unscored} items ({shown}){why}")
        return "\n".join(lines)


def _percent(share: float) -> str:
    return "not known" if math.isnan(share) else f"{100 * share:.1f}"


def credits_of(
    caller: str,
    rows: Rows,
    scores: Scores,
    credit: Callable[[list[float], list[float]], T],
    *,
    keep_unscored: bool = False,
) -> list[T | None]:
    """Return `credit` of each item's chosen and rejected scores; None if a score is missing.

    Args:
        keep_unscored: pass a missing score as NaN instead.

    Raises:
        ValueError: naming `caller`, if a completion has no entry in `scores`.
    """
    if len(rows) != len(scores):
        raise ValueError(f"{caller}: got {len(rows)} items and {len(scores)} lists of scores. Pass one list per item.")
    found: list[T | None] = []
    for place, (row, given) in enumerate(zip(rows, scores, strict=True)):
        n_chosen, n_all = len(row.chosen), len(row.chosen) + len(row.rejected)
        if len(given) != n_all:
            raise ValueError(
                f"{caller}: {name_of(rows, place)} has {n_all} completions and {len(given)} scores. "
                "Pass one score per completion, the chosen ones first; None where there is none."
            )
        known = [float(score) if is_scored(score) else math.nan for score in given if keep_unscored or is_scored(score)]
        found.append(credit(known[:n_chosen], known[n_chosen:]) if len(known) == n_all else None)
    return found


def is_scored(score: float | None) -> TypeGuard[float]:
    """Return whether a score exists and is finite."""
    return score is not None and math.isfinite(score)


def name_of(rows: Rows, place: int) -> str:
    """Return an item's name in results: its subset, and its id or else its place."""
    row = rows[place]
    return f"{row.subset}/{place if row.item_id is None else row.item_id}"


def unscored_names(rows: Rows, credits: Sequence[object | None]) -> tuple[str, ...]:
    """Return the names of the items without a credit."""
    return tuple(name_of(rows, place) for place, credit in enumerate(credits) if credit is None)


def by_subset(rows: Rows, credits: Sequence[float | None], *, alpha: float) -> dict[str, SubsetScore]:
    """Return the mean credit of each subset; for credits in [0, 1] Wilson's interval is wide enough."""
    scores = {}
    for subset in dict.fromkeys(row.subset for row in rows):
        own = [(credit, row.key) for row, credit in zip(rows, credits, strict=True) if row.subset == subset]
        share = share_right([credit for credit, _ in own], [key for _, key in own], alpha=alpha)
        scores[subset] = SubsetScore(*share, n_unscored=sum(credit is None for credit, _ in own))
    return scores


def weighted_mean(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return Σ w x / Σ w over the names whose value is not NaN; NaN if there is none."""
    known = {name: weight for name, weight in weights.items() if not math.isnan(values.get(name, math.nan))}
    total = sum(known.values())
    return sum(values[name] * weight for name, weight in known.items()) / total if total else math.nan


def complete_mean(values: Mapping[str, float]) -> float:
    """Return the mean of all values; NaN if any is NaN."""
    return sum(values.values()) / len(values)
