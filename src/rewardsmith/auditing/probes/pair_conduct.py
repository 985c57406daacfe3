"""Conduct of a reward on preference pairs: the questions of `probes.conduct`, asked of ordinary answers."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

from rewardsmith.auditing.asking import Ask, Asking
from rewardsmith.auditing.baseline import CONDUCT_ROWS, Conduct, score_repeatedly
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.auditing.probes import conduct
from rewardsmith.scoring import Scored


class Repeated(NamedTuple):
    """What `probes.conduct` starts from: repeated scores, the unit of their differences, and the error level."""

    conduct: Conduct
    unit: float
    alpha: float


def _repeated(panel: PairPanel) -> Generator[list[Ask], list[list[Scored]], Repeated]:
    rows = tuple(
        panel.row(pair, panel.text(pair, side)) for pair in range(len(panel.rows)) for side in ("chosen", "rejected")
    )[:CONDUCT_ROWS]
    (earliest,) = yield [Ask(rows)]  # scored for the panel, so nothing is sent
    repeated = yield from score_repeatedly(rows, earliest)
    return Repeated(repeated, panel.gap, panel.alpha)


def determinism(panel: PairPanel) -> Asking:
    """The same call twice."""
    outcome = yield from conduct.determinism((yield from _repeated(panel)))
    return outcome


def batch_dependence(panel: PairPanel) -> Asking:
    """The same rows in reverse order, and one by one."""
    outcome = yield from conduct.batch_dependence((yield from _repeated(panel)))
    return outcome


def latency(panel: PairPanel) -> Asking:
    """How long a row takes."""
    outcome = yield from conduct.latency((yield from _repeated(panel)))
    return outcome
