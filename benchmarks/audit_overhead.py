"""What an audit costs beyond the reward's own time.

Every repeat runs one audit and one plain loop of exactly as many reward calls, in an order that alternates; a ratio
compares the two of the *same* repeat, so that a machine that slows down for a while slows both.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks.busy import bare_seconds, costing, sums
from benchmarks.ratios import Ratio, ratio
from rewardsmith.auditing import audit


class Setting(NamedTuple):
    """One audit to time: what a row costs, the budget, and how often."""

    seconds: float
    budget: int
    repeats: int


SETTINGS = (Setting(0.001, 15_000, 5), Setting(0.0001, 15_000, 5), Setting(0.01, 1_500, 3))
N_ROWS = 64


def measure(*, settings: tuple[Setting, ...] = SETTINGS) -> list[Ratio]:
    """Wall time of an audit with one worker over that of the bare calls, for rewards of several costs."""
    return [_compare(setting) for setting in settings]


def _compare(setting: Setting) -> Ratio:
    audited_seconds(setting._replace(budget=500))  # unmeasured: imports and file caches
    calls, ratios = 0, []
    for repeat in range(setting.repeats):
        if repeat % 2 and calls:  # as many calls as the audit before: same seed, same questions
            bare = bare_seconds(calls, seconds=setting.seconds)
            wall, calls = audited_seconds(setting)
        else:
            wall, calls = audited_seconds(setting)
            bare = bare_seconds(calls, seconds=setting.seconds)
        ratios.append(wall / bare)
    what = f"audit of a reward that costs {1e3 * setting.seconds:g} ms a row, one worker"
    return ratio(what, "the same number of bare calls", ratios, note=f"{calls:,} calls")


def audited_seconds(setting: Setting) -> tuple[float, int]:
    """Wall time of one audit, worker start-up included, and how many rows it scored."""
    start = time.perf_counter()
    report = audit(costing(setting.seconds), sums(N_ROWS), budget=setting.budget, workers=1)
    return time.perf_counter() - start, report.calls
