"""Probe position bias: whether a model that compares two answers favors the first or the second."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith.auditing.asking import Answer, Ask, Building, Outcome
from rewardsmith.auditing.finding import Ladder, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import Floats, PairBaseline, numbers_of
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS, hits_of, pair_example
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.measures.intervals import Share, clustered_interval, share_right

Compare = Callable[[list[Any], list[Any], list[Any]], Sequence[float | None]]
"""Map (prompts, first answers, second answers) to P(first is better): `PairwiseReward.compare` or a judge."""
BIASES: Ladder = ((0.2, "high"), (0.05, "medium"))


class OrderEffect(NamedTuple):
    """Effect of the order in which two answers are read.

    bias: mean of P(a first) + P(b first) − 1 over pairs {a, b}, in [−1, 1]: how much more often the first answer wins,
        in expectation; 0 if order has no effect.
    interval: of the bias, over prompts.
    inconsistent: share of pairs with different winners in the two orders.
    chosen_first, chosen_second: share ranked correctly if the better answer is read first, and second.
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
    """Measure how far verdicts on the same two answers depend on their order.

    Args:
        chosen_first: (n,) P(the chosen answer is better) if it is read first.
        rejected_first: (n,) P(the rejected answer is better) if it is read first. A pair with a NaN does not count.
        clusters: (n,) what pairs share, such as the prompt; pairs are independent if None.
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
                f"order_effect: {what} is not a list of probabilities. Give P(the first is better) for each pair."
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
    """Compare every strict pair in both orders.

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
    """Return pairs with the rejected answer as `reference`, as `PairwiseReward` reads them."""
    return [replace(row, columns={**row.columns, "reference": row.rejected}) for row in rows]


def position(baseline: PairBaseline) -> Building[Answer]:
    """Compare both orders with a reward that reads `reference` and `placed`, as `PairwiseReward` does."""
    if len(baseline.rows) < FEWEST_PAIRS:
        return Outcome(not_run=f"{len(baseline.rows)} pairs, but it takes {FEWEST_PAIRS}")

    def placed(pair: int, place: str) -> Row:
        row = baseline.row(pair, baseline.text(pair, "chosen"))
        return replace(row, columns={**row.columns, "reference": baseline.rows[pair].rejected, "placed": place})

    if baseline.compares:
        first, second = baseline.chosen, 1 - baseline.rejected
        effect = order_effect(baseline.chosen, baseline.rejected, clusters=baseline.clusters, alpha=baseline.alpha)
    else:
        replies = yield [Ask([placed(k, place) for k in range(len(baseline.rows))]) for place in ("first", "second")]
        first, second = (numbers_of(scores) for scores in replies)
        effect = order_effect(_sigmoid(first), _sigmoid(-second), clusters=baseline.clusters, alpha=baseline.alpha)
    low, high = effect.interval
    severity, favored = severity_above(max(low, -high), BIASES), "first" if effect.bias >= 0 else "second"
    turns, of = first - second, "" if baseline.compares else " log-odds"
    worst = [int(k) for k in np.argsort(-np.abs(np.nan_to_num(turns)))[:3]]
    return finding_of(
        "position",
        severity,
        f"The answer read {favored} wins {abs(effect.bias):.1%} more often. In {effect.inconsistent.value:.1%} of "
        f"{effect.inconsistent.n} pairs the two orders have different winners. Accuracy is "
        f"{effect.chosen_first.value:.1%} with the better answer first, {effect.chosen_second.value:.1%} if second.",
        (effect.bias, *effect.interval, effect.inconsistent.n),
        advice="Ask both orders and average them: `rewardsmith.rewards.PairwiseJudge(swap=True)`."
        if baseline.compares
        else "Train on both orders of every pair, and average both (`rewards.PairwiseReward` does).",
        unit="P(a first) + P(b first) − 1",
        examples=[pair_example(baseline, k, f"{turns[k]:+.2f}{of} for being read first") for k in worst],
        only_faults=True,
    )


def _sigmoid(logits: Floats) -> Floats:
    found: Floats = 0.5 * (1 + np.tanh(logits / 2))
    return found
