"""Lay out a report's figures as numbers for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rewardsmith.auditing.report import Rate


class ForestGroup(NamedTuple):
    """Drawn rates of one probe, highest lower bound first, and the number of others above 0."""

    probe: str
    rates: tuple[Rate, ...]
    n_more: int


class Forest(NamedTuple):
    """Drawn rates by probe, highest lower bound first, and what was left out.

    n_more: kinds above 0 of the probes that are not drawn; n_never: kinds that never scored higher.
    """

    groups: tuple[ForestGroup, ...]
    n_more: int
    n_never: int


def forest(rates: Sequence[Rate], *, per_probe: int = 4, probes: int = 10) -> Forest:
    """Group the rates above 0 by probe, keep the highest lower bounds, and count exact repeats once."""
    distinct = list(dict.fromkeys(rates))
    shown = sorted((rate for rate in distinct if rate.rate > 0), key=lambda r: (-r.low, -r.rate, r.probe, r.label))
    names = list(dict.fromkeys(rate.probe for rate in shown))  # by each probe's highest lower bound
    by_probe = {name: tuple(rate for rate in shown if rate.probe == name) for name in names}
    groups = tuple(
        ForestGroup(name, by_probe[name][:per_probe], max(len(by_probe[name]) - per_probe, 0))
        for name in names[:probes]
    )
    n_more = sum(len(by_probe[name]) for name in names[probes:])
    return Forest(groups=groups, n_more=n_more, n_never=len(distinct) - len(shown))


class Bar(NamedTuple):
    """One bar, in percent of the figure's width and height, and the scores it counts."""

    left: float
    width: float
    height: float
    low: float
    high: float
    n: int


class Strip(NamedTuple):
    """The histogram of one kind of answer: bars, number of scores, mean, number not finite."""

    name: str
    bars: tuple[Bar, ...]
    n: int
    mean: float | None
    n_unscored: int


class Histogram(NamedTuple):
    """Strips over a common score axis [low, high] and a common height scale."""

    strips: tuple[Strip, ...]
    low: float
    high: float


def histogram(levels: Mapping[str, Sequence[float | None]], *, bins: int = 24) -> Histogram | None:
    """Bin each level's scores over their common range; None without a finite score.

    The height of a bar is its share of its own strip, over the largest share of any strip. Bins are half open
    [a, b), the last one closed.
    """
    finite = {name: [v for v in values if v is not None and math.isfinite(v)] for name, values in levels.items()}
    scores = [value for values in finite.values() for value in values]
    if not scores:
        return None
    low, high = min(scores), max(scores)
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = (high - low) / bins
    if not (math.isfinite(step) and step > 0):  # the range overflows or underflows a float
        return None
    counts = {name: [0] * bins for name in finite}
    for name, values in finite.items():
        for value in values:
            counts[name][min(int((value - low) / step), bins - 1)] += 1
    top = max(count / len(finite[name]) for name in counts if finite[name] for count in counts[name])
    strips = tuple(
        Strip(
            name=name,
            bars=tuple(
                Bar(100 * i / bins, 100 / bins, 100 * count / n / top, low + i * step, low + (i + 1) * step, count)
                for i, count in enumerate(counts[name])
                if count
            ),
            n=n,
            mean=math.fsum(values) / n if n else None,
            n_unscored=len(levels[name]) - n,
        )
        for name, values in finite.items()
        for n in [len(values)]
    )
    return Histogram(strips=strips, low=low, high=high)
