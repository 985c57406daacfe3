"""The pictures of a report, as numbers for the page to draw, and the house style for pictures made by matplotlib."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.auditing.report import Rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOUSE_STYLE: Mapping[str, Any] = {
    "figure.figsize": (7.2, 3.4),
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.edgecolor": "#9aa3b2",
    "axes.labelcolor": "#1c2330",
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": "cycler('color', ['#2f6db3', '#c2410c', '#1b7f5c', '#7c5cbf', '#64748b', '#b7791f'])",
    "grid.color": "#e3e6ec",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "xtick.color": "#5b6475",
    "ytick.color": "#5b6475",
}
"""Settings for `matplotlib.rc_context(HOUSE_STYLE)`, so that pictures in sections match the page around them."""


class ForestGroup(NamedTuple):
    """The rates of one probe that are drawn, surest first, and how many more of it were paid."""

    probe: str
    rates: tuple[Rate, ...]
    n_more: int


class Forest(NamedTuple):
    """Rates worth a picture, the probe with the surest rate first, and what was left out of it.

    n_more: paid kinds of the probes that are not drawn at all; n_never: kinds that were never paid more.
    """

    groups: tuple[ForestGroup, ...]
    n_more: int
    n_never: int


def forest(rates: Sequence[Rate], *, per_probe: int = 4, probes: int = 10) -> Forest:
    """Group the rates above zero by probe; keep those whose lower bounds are highest. Exact repeats count once."""
    distinct = list(dict.fromkeys(rates))
    paid = sorted((rate for rate in distinct if rate.rate > 0), key=lambda r: (-r.low, -r.rate, r.probe, r.label))
    names = list(dict.fromkeys(rate.probe for rate in paid))  # ordered by each probe's surest rate
    by_probe = {name: tuple(rate for rate in paid if rate.probe == name) for name in names}
    groups = tuple(
        ForestGroup(name, by_probe[name][:per_probe], max(len(by_probe[name]) - per_probe, 0))
        for name in names[:probes]
    )
    n_more = sum(len(by_probe[name]) for name in names[probes:])
    return Forest(groups=groups, n_more=n_more, n_never=len(distinct) - len(paid))


class Bar(NamedTuple):
    """One bar, in percent of the picture's width and height, and the scores it counts."""

    left: float
    width: float
    height: float
    low: float
    high: float
    n: int


class Strip(NamedTuple):
    """The histogram of one kind of answer: its bars, how many scores, their mean, how many were not finite."""

    name: str
    bars: tuple[Bar, ...]
    n: int
    mean: float | None
    n_unscored: int


class Histogram(NamedTuple):
    """Strips over one common score axis [low, high] and one common height scale, so that they compare by eye."""

    strips: tuple[Strip, ...]
    low: float
    high: float


def histogram(levels: Mapping[str, Sequence[float | None]], *, bins: int = 24) -> Histogram | None:
    """Bin each level's scores over their common range; None where no finite score exists.

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


def picture_uri(figure: Figure) -> str:
    """A matplotlib figure as a `data:` address of an SVG image: sharp at any size, and sealed off from the page.

    The same figure gives the same bytes: no date, identifiers from a fixed salt.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "rewardsmith"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
