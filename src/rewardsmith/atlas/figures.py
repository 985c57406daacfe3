"""Drawings that several pages share; a page fills one with `partial`, as its `figure`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rewardsmith.atlas.criteria import Results, mean_of, values_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def dots(
    results: Results, axes: Axes, *, series: Mapping[str, str], rows: Mapping[str, str] | Sequence[str], label: str
) -> None:
    """Draw the mean over seeds of every row in every series, with its standard deviation.

    Args:
        series: its label → the name of its results, with {} in place of the row.
        rows: from top to bottom, as they stand in names of results; of a mapping, the values are shown.
        label: what is drawn, at the axis.
    """
    for (name, template), marker in zip(series.items(), "os^D", strict=False):
        runs = [values_of(results, template.format(row)) for row in rows]
        spread = [run.std() for run in runs]
        axes.errorbar([run.mean() for run in runs], range(len(runs)), xerr=spread, fmt=marker, label=name)
    shown = list(rows.values()) if isinstance(rows, Mapping) else [row.replace("_", " ") for row in rows]
    axes.set_yticks(range(len(shown)), shown)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.legend(frameon=False, fontsize=8)


def plane(
    results: Results,
    axes: Axes,
    *,
    x: tuple[str, str],
    y: tuple[str, str],
    squares: Collection[str] = (),
    chance: float = 0.5,
    told: Sequence[str] = (),
) -> None:
    """Draw every arm's mean of one metric against its mean of another, above a dashed line at chance.

    Args:
        x, y: a metric, and what it is called at its axis.
        squares: arms that are drawn as squares; others are circles.
        chance: of y.
        told: metrics whose means stand in the legend.
    """
    axes.axhline(chance, color="gray", linewidth=0.8, linestyle="--")
    for arm in [name.removeprefix(f"{x[0]}/") for name in results if name.startswith(f"{x[0]}/")]:
        spot = [[mean_of(results, f"{metric}/{arm}")] for metric, _ in (x, y)]
        notes = "".join(f" ({metric} {mean_of(results, f'{metric}/{arm}'):.2f})" for metric in told)
        axes.plot(*spot, "s" if arm in squares else "o", markersize=8, label=arm.replace("_", " ") + notes)
    axes.set_xlabel(x[1])
    axes.set_ylabel(y[1])
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.45, -0.16))
