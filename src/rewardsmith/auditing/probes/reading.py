"""Probe whether the reward reads the prompt and the context."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from rewardsmith.auditing.asking import Answer, Ask, Building, Outcome
from rewardsmith.auditing.finding import Severity, finding_of
from rewardsmith.auditing.pair_baseline import Floats, PairBaseline, numbers_of
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS, hits_of, pair_example, share_won
from rewardsmith.auditing.trials import Shift
from rewardsmith.data import text_of
from rewardsmith.measures.intervals import clustered_interval, mean_or_nan

MOST_EXCHANGED = 400  # pairs used
NO_LOSS = 0.1  # upper bound of the lost accuracy below which prompts or contexts are ignored
SEPARATED = 0.7  # an interval with ½ in it that ends below this means chance
CHEAP = 0.5  # units that an answer to another prompt should lose at least
HARDLY_MOVED = 0.4  # a smaller relative change of margins is small
NOT_MOVED = 0.02  # no change


def prompt(baseline: PairBaseline) -> Building[Answer]:
    """Score every pair under another pair's prompt, and another's chosen answer under its own prompt.

    Accuracy alone is no evidence, as labels may follow style, which is better under any prompt. A reward that reads the
    prompt ranks an answer to it above an answer to another prompt.
    """
    pairs = _others(baseline, baseline.clusters)
    if len(pairs) < FEWEST_PAIRS:
        return Outcome(not_run=f"fewer than {FEWEST_PAIRS} pairs have another prompt to exchange with")
    if share_won(baseline, baseline.margins).low <= 0.5:
        return Outcome(not_run="the reward is not shown to be better than chance on these pairs")
    distractors, chosen, rejected = yield [
        Ask([baseline.row(own, baseline.text(other, "chosen")) for own, other in pairs]),
        Ask([baseline.row(other, baseline.text(own, "chosen")) for own, other in pairs]),
        Ask([baseline.row(other, baseline.text(own, "rejected")) for own, other in pairs]),
    ]
    own = [own for own, _ in pairs]
    contrast = share_won(baseline, _whole(baseline, own, baseline.chosen[own] - numbers_of(distractors)), own)
    exchanged = _whole(baseline, own, numbers_of(chosen) - numbers_of(rejected))
    difference, accuracy = _paired(baseline, exchanged, own), share_won(baseline, exchanged, own)
    moved = _moved(baseline.margins[own], exchanged[own])
    # Prompts are exchanged among themselves, so their levels cancel in the mean loss.
    losses = np.clip((baseline.chosen[own] - numbers_of(chosen)) / baseline.unit, -1e9, 1e9)  # the unit may be tiny
    cost = _mean(baseline, [(float(loss), k) for loss, k in zip(losses, own, strict=True) if np.isfinite(loss)])
    ignored = cost.high < CHEAP and (difference.high < NO_LOSS or moved < HARDLY_MOVED)
    verdict = "The reward ignores the prompt. " if contrast.low <= 0.5 else "The reward hardly reads the prompt. "
    return finding_of(
        "prompt",
        "info" if not ignored else "high" if contrast.low <= 0.5 else "medium",
        f"{verdict if ignored else ''}It ranks the chosen answer above an answer to another prompt in "
        f"{contrast.value:.0%} of cases (chance 50%). With exchanged prompts its accuracy is {accuracy.value:.0%}, "
        f"{abs(difference.value):.0%} {'lower' if difference.value >= 0 else 'higher'} than with their own.",
        contrast,
        advice="Check that prompts are not truncated. Train with answers to other prompts as rejected ones "
        "(`rewardsmith.data.cross_prompt_negatives`) or pairs of look-alike prompts (`mine_contrast_pairs`).",
        unit="share of chosen answers above an answer to another prompt",
        examples=[
            pair_example(baseline, k, f"an answer to another prompt gets {score.reward:.4g}")
            for (k, _), score in zip(pairs, distractors, strict=True)
            if score.reward is not None and score.reward >= baseline.score(k, "chosen")
        ],
        only_faults=True,
    )


def context(baseline: PairBaseline) -> Building[Answer]:
    """Score pairs under their own context, under another's, and under none."""
    given = [k for k, row in enumerate(baseline.rows) if row.context is not None]
    pairs = _others(baseline, [text_of(row.context) for row in baseline.rows], given)
    if len(pairs) < FEWEST_PAIRS:
        reason = f"fewer than {FEWEST_PAIRS} pairs have contexts to exchange" if given else "no row has a context"
        return Outcome(not_run=reason)
    own = [own for own, _ in pairs]
    contexts = [text_of(baseline.rows[other].context) for _, other in pairs]
    replies = yield [
        Ask([baseline.under(k, side, said) for k, said in zip(own, contexts_of, strict=True)])
        for contexts_of in (contexts, [None] * len(own))
        for side in ("chosen", "rejected")
    ]
    numbers = [numbers_of(scores) for scores in replies]
    swapped, without = (_whole(baseline, own, numbers[place] - numbers[place + 1]) for place in (0, 2))
    difference, moved = _paired(baseline, swapped, own), _moved(baseline.margins[own], swapped[own])
    right, wrong, none = (share_won(baseline, margins, own) for margins in (baseline.margins, swapped, without))
    # Pairs whose prompt and answers also occur with another context and the opposite label.
    groups: dict[tuple[str, frozenset[str]], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for k in given:
        asked = text_of(baseline.bare[k] if baseline.bare else baseline.rows[k].prompt)
        texts = baseline.text(k, "chosen"), baseline.text(k, "rejected")
        if texts[0] != texts[1]:
            groups[asked, frozenset(texts)][texts[0]].append(k)
    turning = sorted(k for sides in groups.values() if len(sides) == 2 for rows in sides.values() for k in rows)
    reversals = share_won(baseline, baseline.margins, turning)
    severity: Severity = "info"
    if reversals.n >= FEWEST_PAIRS and reversals.low <= 0.5 and reversals.high < SEPARATED:
        severity = "high"
    elif difference.high < NO_LOSS and moved < HARDLY_MOVED:
        severity = "high" if moved < NOT_MOVED else "medium"
    ignored = severity != "info"
    turned = (
        f" Accuracy on {reversals.n} pairs whose label depends on the context is {reversals.value:.0%} (chance 50%)."
    )
    return finding_of(
        "context",
        severity,
        f"{'The reward ignores the context. ' if ignored else ''}Accuracy on {right.n} pairs is {right.value:.0%} with "
        f"their own context, {wrong.value:.0%} with another's, {none.value:.0%} with none."
        + (turned if reversals.n else ""),
        (*difference, right.n),
        advice="Train on pairs whose label depends on the context (`rewardsmith.data.read_preferences`, schema `rpr`), "
        "in the format used for scoring (`rewardsmith.data.in_context`, `rewardsmith.rewards.ContextualReward`).",
        unit="share ranked correctly, own context less another's",
        examples=[pair_example(baseline, k) for k in own if baseline.margins[k] <= 0],
        only_faults=True,
    )


def _moved(own: Floats, swapped: Floats) -> float:
    """Return the mean change of margins as a share of their size; 1 if all are 0."""
    known = np.isfinite(swapped)
    size = float(np.abs(own[known]).mean()) if known.any() else 0.0
    return float(np.abs(own - swapped)[known].mean()) / size if size > 0 else 1.0


def _others(baseline: PairBaseline, names: Sequence[str], among: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """Draw up to `MOST_EXCHANGED` pairs, each with another of a different name and chosen answer."""
    order = list(range(len(baseline.rows)) if among is None else among)
    baseline.rng().shuffle(order)
    order = order[:MOST_EXCHANGED]
    found = []
    for place, own in enumerate(order):
        later = (order[(place + step) % len(order)] for step in range(1, len(order)))
        fits = (
            k for k in later if names[k] != names[own] and baseline.text(k, "chosen") != baseline.text(own, "chosen")
        )
        if (other := next(fits, None)) is not None:
            found.append((own, other))
    return found


def _mean(baseline: PairBaseline, values: Sequence[tuple[float, int]]) -> Shift:
    """Return the mean of the pairs' values, with its interval over prompts."""
    names, column = baseline.clusters, [value for value, _ in values]
    interval = clustered_interval(column, [names[pair] for _, pair in values], alpha=baseline.alpha)
    return Shift(mean_or_nan(column), *interval)


def _whole(baseline: PairBaseline, own: Sequence[int], values: Floats) -> Floats:
    """Return values of some pairs as a column over all pairs, NaN elsewhere."""
    column = np.full(len(baseline.rows), math.nan)
    column[list(own)] = values
    return column


def _paired(baseline: PairBaseline, other: Floats, own: Sequence[int]) -> Shift:
    """Return the accuracy of the baseline's margins less that of other margins of the same pairs."""
    hits = zip(hits_of(baseline.margins[list(own)]), hits_of(other[list(own)]), own, strict=True)
    return _mean(baseline, [(a - b, pair) for a, b, pair in hits if a is not None and b is not None])
