"""What a benchmark says of a reward: by subset, by section and in all, with what was left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class SubsetScore(NamedTuple):
    """A subset's score, an interval of it, the items it rests on, and how many were left out as unscored.

    Without a scored item the value is NaN and the interval (0, 1).
    """

    value: float
    low: float
    high: float
    n: int
    n_unscored: int = 0


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """How a reward does on a benchmark, in shares; what cannot be told is NaN, never 0.

    overall: the figure that leaderboards list; NaN unless every section has a score.
    sections: the scores it is the mean of. subsets: the scores below those, in the order of the rows.
    parts: what a score is made of: the terms of Ties, or RM-Bench's levels, as "hard" and "chat/hard".
    missing: published subsets without a scored item.
    unscored: items left out, as "subset/id", because one of their completions has no score; `reasons` counts such
        completions by why, where the reward was asked here.
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
        """Everything as plain mappings and lists, for JSON."""
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
        """A few lines for the shell, in percent."""
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
            lines.append(f"  Left out, a completion being unscored: {self.n_unscored} items ({shown}){why}")
        return "\n".join(lines)


def _percent(share: float) -> str:
    return "not known" if math.isnan(share) else f"{100 * share:.1f}"
