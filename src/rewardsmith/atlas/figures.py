"""Drawings that pages share, with intervals over seeds.

A page fills a drawing with `partial`, as its `figure`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith._pictures import HOUSE_STYLE, picture_uri
from rewardsmith.atlas.criteria import Results, mean_of, values_of
from rewardsmith.measures.intervals import student_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1c2330"
MARKERS = "os^DvP*X<"  # more than colors, so that no two of many arms share both
ABBREVIATIONS = frozenset({
    "auc", "auroc", "bce", "bt", "carm", "ce", "cream", "dno", "dpo", "ece", "fapo", "grpo", "ipo", "kl", "lsc", "mad",
    "mm", "mrr", "par", "ppo", "rlcr", "rlvr", "rpo", "sft", "srlm", "uwo",
})  # fmt: skip
SPELLINGS = {"carlo": "Carlo", "log10": "log₁₀", "monte": "Monte", "r2": "r²", "r3": "R³", "slic": "SLiC"}


def plain(name: str) -> str:
    """Return a name of results as words.

    >>> plain("gold_at_kl_1"), plain("par_10")
    ('gold at KL 1', 'PAR 10')
    """
    return " ".join(word.upper() if word in ABBREVIATIONS else SPELLINGS.get(word, word) for word in name.split("_"))


def spread(results: Results, name: str) -> tuple[float, float]:
    """Return a result's mean over seeds and half the width of its 95 % interval, 0 of one seed.

    name: "metric/arm", or two such with " − " between them for their difference, paired by seed.
    """
    first, minus, other = name.partition(" − ")
    values = values_of(results, first) - (values_of(results, other) if minus else 0.0)
    mean = float(values.mean())
    return mean, student_interval(values.tolist())[1] - mean if len(values) > 1 else 0.0


def dots(
    results: Results,
    axes: Axes,
    *,
    series: Mapping[str, str],
    rows: Mapping[str, str] | Sequence[str] = (),
    label: str,
) -> None:
    """Draw the mean over seeds of every row in every series, with its interval.

    Args:
        series: its label → the name of its results, with {} in place of the row; a row that it lacks is left out.
        rows: from top to bottom, as they stand in names of results; of a mapping, the values are shown. By default
            every row of the first series.
        label: what is drawn, at the axis.
    """
    before, _, after = next(iter(series.values())).partition("{}")
    all_rows = [name.removeprefix(before).removesuffix(after) for name in results if name.startswith(before)]
    shown = rows if isinstance(rows, Mapping) else {row: plain(row) for row in rows or all_rows}
    drawn: list[tuple[float, float]] = []
    for place, ((name, template), marker) in enumerate(zip(series.items(), MARKERS, strict=False)):
        shift = 0.2 * (place - (len(series) - 1) / 2)  # intervals of one row do not cover each other
        found = [(height + shift, template.format(row)) for height, row in enumerate(shown)]
        present = [(height, *spread(results, of)) for height, of in found if of in results]
        heights, means, widths = np.reshape(present, (-1, 3)).T
        axes.errorbar(means, heights, xerr=widths, fmt=marker, markersize=5, elinewidth=1.6, label=name)
        drawn += zip(means, widths, strict=True)
    axes.set_yticks(range(len(shown)), list(shown.values()))
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(*_limits(drawn))
    axes.locator_params(axis="x", nbins=5)  # marks of many digits do not run into each other
    axes.set_xlabel(fill(label, 40))
    axes.figure.set_figheight(0.9 + (0.22 + 0.06 * len(series)) * len(shown))  # type: ignore[union-attr]
    if len(series) > 1:
        _legend(axes)


def plane(
    results: Results,
    axes: Axes,
    *,
    x: tuple[str, str],
    y: tuple[str, str],
    arms: Mapping[str, str] | None = None,
    level: tuple[str, float | str] | None = ("chance", 0.5),
    in_legend: Sequence[str] = (),
) -> None:
    """Draw every arm's mean of one metric against its mean of another, with their intervals.

    Args:
        x, y: a metric, and what it is called at its axis.
        arms: those drawn, and what each is called; by default all.
        level: what a dashed line across is called, and where it stands; a name of results stands for its mean.
        in_legend: metrics whose means stand in the legend.
    """
    found = [name.removeprefix(f"{x[0]}/") for name in results if name.startswith(f"{x[0]}/")]
    arms = arms or {arm: plain(arm) for arm in found}
    across, up = ([spread(results, f"{metric}/{arm}") for arm in arms] for metric, _ in (x, y))
    for place, (arm, (right, wide), (top, high)) in enumerate(zip(arms, across, up, strict=True)):
        notes = "".join(f" ({plain(metric)} {mean_of(results, f'{metric}/{arm}'):.2f})" for metric in in_legend)
        marker = MARKERS[place % len(MARKERS)]
        axes.errorbar([right], [top], xerr=[wide], yerr=[high], fmt=marker, elinewidth=1.0, label=arms[arm] + notes)
    if level is not None:
        name, height = level
        up.append((mean_of(results, height) if isinstance(height, str) else height, 0.0))
        axes.axhline(up[-1][0], color=INK, linewidth=0.8, linestyle="--", label=name)
    axes.set(xlabel=x[1], ylabel=fill(y[1], 32), xlim=_limits(across), ylim=_limits(up))
    _legend(axes)


def curves(
    results: Results,
    axes: Axes,
    *,
    at: Sequence[float] | Mapping[str, str],
    lines: Mapping[str, str],
    label: tuple[str, str],
    dashed: tuple[str, ...] = (),
    doubling: bool = False,
) -> None:
    """Draw means over seeds as lines, with their intervals as bands.

    Args:
        at: the places along x, as they stand in names of results; of a mapping, the values are shown.
        lines: its label → the name of its results, with {0} in place of the place; see `spread`.
        label: what x and y are.
        dashed: how the labels of dashed lines begin; from the seventh on, all are.
        doubling: whether x doubles from one mark to the next.
    """
    places = range(len(at)) if isinstance(at, Mapping) else at
    drawn = [(0.0, 0.0)]
    for (name, template), marker in zip(lines.items(), MARKERS * 2, strict=False):
        spreads = [spread(results, template.format(place)) for place in at]
        means, widths = np.array(spreads).T
        style = "--" if name.startswith(dashed) or len(axes.lines) > 5 else "-"  # there are six colors
        (line,) = axes.plot(places, means, style, marker=marker, markersize=4, label=name)
        axes.fill_between(places, means - widths, means + widths, color=line.get_color(), alpha=0.1, linewidth=0)
        drawn += spreads
    axes.axhline(0.0, color=INK, linewidth=0.6)
    if doubling:
        axes.set_xscale("log", base=2)
        axes.tick_params(axis="x", labelsize=7)
    axes.set_xticks(places, [str(place) for place in (at.values() if isinstance(at, Mapping) else at)])
    axes.set(xlabel=label[0], ylabel=fill(label[1], 32), ylim=_limits(drawn))
    _legend(axes)


def heat_map(results: Results, axes: Axes, *, rows: Mapping[str, str], columns: Mapping[str, str], label: str) -> None:
    """Draw the means over seeds of results "row/column" as a matrix of rates, with their intervals.

    Args:
        rows, columns: as they stand in names of results → what is shown.
        label: what the rates are.
    """
    spreads = np.array([[spread(results, f"{row}/{column}") for column in columns] for row in rows])  # (K, J, 2)
    rate, half = spreads[..., 0], np.nan_to_num(spreads[..., 1])
    draw_matrix(axes, rate, rate - half, rate + half, rows=list(rows.values()), columns=list(columns.values()))
    axes.set_xlabel(fill(label, 60))


def draw_matrix(
    axes: Axes, rate: ArrayLike, low: ArrayLike, high: ArrayLike, *, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Draw a matrix of rates, colored by their logarithm from .0001 to 1, each with its interval below it.

    Args:
        rate, low, high: (K, J), such as of `measures.generalization_matrix`.
        rows, columns: K and J names.
    """
    rates, lows, highs = (np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0) for values in (rate, low, high))
    shade = (np.log10(np.clip(np.nan_to_num(rates), 1e-4, 1.0)) + 4) / 4  # 0 at .0001, 1 at 1
    axes.imshow(shade, cmap="Blues", vmin=0.0, vmax=1.9, aspect="auto")
    ink = "#101418"  # the cells are light on a dark page, too, so that this color must not change there
    for (k, j), value in np.ndenumerate(rates):
        bounds = f"{100 * lows[k, j]:.2f} to {100 * highs[k, j]:.2f}"
        for shift, text, size in ((-0.12, f"{value:.2%}", 8), (0.24, bounds, 6)):
            axes.text(j, k + shift, text, ha="center", va="center", color=ink, fontsize=size)
    axes.set_xticks(range(len(columns)), [fill(name, 11) for name in columns])
    axes.set_yticks(range(len(rows)), [fill(name, 18) for name in rows])
    axes.grid(visible=False)
    axes.figure.set_figheight(0.9 + 0.45 * len(rows))  # type: ignore[union-attr]


def _limits(spreads: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Fit an axis to the means; intervals stretch it to twice as much at most, as those of few seeds are wide."""
    means, widths = np.array([one for one in spreads if np.isfinite(one).all()] or [(0.0, 1.0)]).T
    span = float(np.ptp(means)) or float(widths.max()) or 1.0
    low = max(float((means - widths).min()), float(means.min()) - span / 2)
    high = min(float((means + widths).max()), float(means.max()) + span / 2)
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def _legend(axes: Axes) -> None:
    figure, labels = axes.figure, axes.get_legend_handles_labels()[1]
    columns = 1 if max(map(len, labels)) > 28 else 2
    figure.set_figheight(figure.get_figheight() + 0.17 * math.ceil(len(labels) / columns))  # type: ignore[union-attr]
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def picture(draw: Callable[[Axes], None]) -> str:
    """Return a drawing as the `data:` address of an SVG image that follows the reader's theme."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.spines.left": False, "ytick.major.size": 0}, fname=HOUSE_STYLE):
        figure = Figure(figsize=(4.2, 3.0), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        figure.draw_without_rendering()
        if axes.xaxis.label.get_window_extent().x1 > figure.bbox.x1:  # beside wide labels of rows
            axes.set_xlabel(axes.get_xlabel(), loc="right")
        return picture_uri(figure)
