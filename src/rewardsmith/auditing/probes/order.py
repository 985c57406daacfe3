"""Ask whether a model that compares two answers favors a place."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith.auditing.asking import Answer, Ask, Building, Outcome
from rewardsmith.auditing.finding import Ladder, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import Floats, PairPanel, numbers_of
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS, hits_of, pair_example
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.measures.intervals import Share, clustered_interval, share_right

Compare = Callable[[list[Any], list[Any], list[Any]], Sequence[float | None]]
"""(prompts, first answers, second answers) to P(the first is better); `PairwiseReward.compare`, or a judge."""
BIASES: Ladder = ((0.2, "high"), (0.05, "medium"))


class OrderEffect(NamedTuple):
    """What a place is worth.

    bias: mean of P(a first) + P(b first) − 1 over pairs {a, b}, in [−1, 1]: how much more often, in expectation, the
        first answer wins than the second, whichever it is; 0 of a model that only reads the answers.
    interval: of the bias, over prompts.
    inconsistent: share of pairs of which the two orders name different winners.
    chosen_first, chosen_second: share ranked right where the better answer is read first, and second.
    """

    bias: float
    interval: tuple[float, float]
    inconsistent: Share
    chosen_first: Share
    chosen_second: Share


def order_effect(
    chosen_first: ArrayLike,
    rejected_first: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
) -> OrderEffect:
    """How much the verdicts on the same two answers depend on which of them is read first.

    Args:
        chosen_first: (n,) P(the chosen answer is better) where it is read first.
        rejected_first: (n,) P(the rejected answer is better) where it is read first. A pair of which either is NaN does
            not count.
        clusters: (n,) what pairs share, such as the prompt; every pair for itself if None.
        alpha: 1 − coverage of the intervals.

    >>> round(order_effect([0.9, 0.8], [0.3, 0.6]).bias, 6)
    0.3
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (chosen_first, rejected_first))
    for found in (first, second):
        bad = found[~np.isnan(found) & ((found < 0) | (found > 1))]
        if found.ndim != 1 or len(bad):
            what = f"shape {found.shape}" if found.ndim != 1 else f"{bad[0]}"
            raise ValueError(
                f"order_effect: {what} is no list of probabilities. Give P(the first is better) for each pair."
            )
    if first.shape != second.shape:
        raise ValueError(
            f"order_effect: {len(first)} verdicts with the chosen answer first and {len(second)} with the rejected. "
            "Give both orders of every pair."
        )
    names = range(len(first)) if clusters is None else clusters
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    groups = [name for name, held in zip(names, known, strict=True) if held]
    bias = first + second - 1
    turned = [float((a - 0.5) * (0.5 - b) < 0) for a, b in zip(first, second, strict=True)]
    return OrderEffect(
        float(bias.mean()) if len(bias) else math.nan,
        clustered_interval(bias.tolist(), groups, alpha=alpha),
        share_right(turned, groups, alpha=alpha),
        share_right(hits_of(first - 0.5), groups, alpha=alpha),
        share_right(hits_of(0.5 - second), groups, alpha=alpha),
    )


def position_bias(compare: Compare, rows: Sequence[PreferenceRow], *, alpha: float = 0.05) -> OrderEffect:
    """Ask a comparer of every strict pair in both orders.

    >>> rows = [PreferenceRow("Name a city.", "Ulm", "blue")]
    >>> position_bias(lambda prompts, firsts, seconds: [0.75] * len(prompts), rows).bias
    0.5
    """
    strict = [row for row in rows if not row.is_tie]
    prompts, chosen, rejected = ([getattr(row, name) for row in strict] for name in ("prompt", "chosen", "rejected"))
    there, back = (
        np.array(compare(prompts, *answers), dtype=np.float64) for answers in ((chosen, rejected), (rejected, chosen))
    )
    return order_effect(there, back, clusters=[row.key for row in strict], alpha=alpha)


def referenced(rows: Sequence[PreferenceRow]) -> list[PreferenceRow]:
    """Pairs as a `PairwiseReward` is asked of them: each answer against the rejected one."""
    return [replace(row, columns={**row.columns, "reference": row.rejected}) for row in rows]


def position(panel: PairPanel) -> Building[Answer]:
    """Ask a reward that reads the columns `reference` and `placed`, as `PairwiseReward` does, in both orders."""
    if len(panel.rows) < FEWEST_PAIRS:
        return Outcome(not_run=f"it takes {FEWEST_PAIRS} pairs, and there are {len(panel.rows)}")

    def placed(pair: int, place: str) -> Row:
        row = panel.row(pair, panel.text(pair, "chosen"))
        return replace(row, columns={**row.columns, "reference": panel.rows[pair].rejected, "placed": place})

    replies = yield [Ask([placed(k, place) for k in range(len(panel.rows))]) for place in ("first", "second")]
    first, second = (numbers_of(scores) for scores in replies)
    effect = order_effect(_sigmoid(first), _sigmoid(-second), clusters=panel.clusters, alpha=panel.alpha)
    low, high = effect.interval
    severity, favored = severity_above(max(low, -high), BIASES), "first" if effect.bias >= 0 else "second"
    turns = first - second
    worst = [int(k) for k in np.argsort(-np.abs(np.nan_to_num(turns)))[:3]]
    return finding_of(
        "position",
        severity,
        f"Whichever answer is read {favored} gains {abs(effect.bias):.1%} of the verdicts. In "
        f"{effect.inconsistent.value:.1%} of {effect.inconsistent.n} pairs the two orders name different winners "
        f"({effect.chosen_first.value:.1%} right with the better answer first, {effect.chosen_second.value:.1%} with "
        "it second).",
        (effect.bias, *effect.interval, effect.inconsistent.n),
        advice="Train it on both orders of every pair, and always average both (`rewards.PairwiseReward` does).",
        unit="P(a first) + P(b first) − 1",
        examples=[pair_example(panel, k, f"{turns[k]:+.2f} log-odds for being read first") for k in worst],
        only_faults=True,
    )


def _sigmoid(logits: Floats) -> Floats:
    found: Floats = 0.5 * (1 + np.tanh(logits / 2))
    return found
