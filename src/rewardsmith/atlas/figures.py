"""Drawings that several pages share; a page fills one with `partial`, as its `figure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rewardsmith.atlas.criteria import Results, values_of

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
