"""Repeats of one ratio: median and quartiles."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Ratio(NamedTuple):
    """One figure: something's time over the time of what it is compared with, over the repeats of one run.

    note: what else the reader needs, such as how many rows.
    """

    what: str
    over: str
    median: float
    low: float
    high: float
    repeats: int
    note: str = ""


def ratio(what: str, over: str, values: Sequence[float], *, note: str = "") -> Ratio:
    """Median and quartiles of at least two repeats.

    >>> ratio("a", "b", [1.0, 2.0, 3.0])[2:6]
    (2.0, 1.5, 2.5, 3)
    """
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Ratio(what, over, median, low, high, len(values), note)
