"""Ask whether the reward reads the prompt and the context, or gives answers the same verdict under any."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from rewardsmith.auditing.asking import Answer, Ask, Building, Outcome
from rewardsmith.auditing.finding import Severity, finding_of
from rewardsmith.auditing.pair_baseline import Floats, PairPanel, numbers_of
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS, hits_of, pair_example, share_won
from rewardsmith.auditing.trials import Shift
from rewardsmith.data import text_of
from rewardsmith.measures.intervals import clustered_interval, mean_or_nan

MOST_EXCHANGED = 400  # pairs asked about
NO_LOSS = 0.1  # accuracy that exchanging surely costs less than is as good as none
SEPARATED = 0.7  # an interval that holds ½ and ends below this tells nothing apart
CHEAP = 0.5  # usual distances between two answers; answering another prompt should surely cost more
HARDLY_MOVED = 0.4  # a change of margins by less than this share of them is small
NOT_MOVED = 0.02  # no change


def prompt(panel: PairPanel) -> Building[Answer]:
    """Send every pair under another's prompt, and the chosen answer of another under its own.

    Labels may follow what is better under any prompt, such as style, so that accuracy alone is no evidence: a reward
    that reads the prompt also ranks an answer to it above an answer to something else.
    """
    pairs = _others(panel, panel.clusters)
    if len(pairs) < FEWEST_PAIRS:
        return Outcome(not_run=f"fewer than {FEWEST_PAIRS} pairs with another prompt to exchange with")
    if share_won(panel, panel.margins).low <= 0.5:
        return Outcome(not_run="the reward is not shown to be better than chance on these pairs")
    distractors, chosen, rejected = yield [
        Ask([panel.row(own, panel.text(other, "chosen")) for own, other in pairs]),
        Ask([panel.row(other, panel.text(own, "chosen")) for own, other in pairs]),
        Ask([panel.row(other, panel.text(own, "rejected")) for own, other in pairs]),
    ]
    own = [own for own, _ in pairs]
    contrast = share_won(panel, _whole(panel, own, panel.chosen[own] - numbers_of(distractors)), own)
    exchanged = _whole(panel, own, numbers_of(chosen) - numbers_of(rejected))
    gap, accuracy = _paired(panel, exchanged, own), share_won(panel, exchanged, own)
    moved = _moved(panel.margins[own], exchanged[own])
    # As prompts are exchanged among themselves, their own levels cancel in the mean loss.
    losses = (panel.chosen[own] - numbers_of(chosen)) / panel.gap
    cost = _mean(panel, [(float(loss), k) for loss, k in zip(losses, own, strict=True) if np.isfinite(loss)])
    ignored = cost.high < CHEAP and (gap.high < NO_LOSS or moved < HARDLY_MOVED)
    verdict = "It ignores the prompt: it" if contrast.low <= 0.5 else "It hardly reads the prompt: it"
    return finding_of(
        "prompt",
        "info" if not ignored else "high" if contrast.low <= 0.5 else "medium",
        f"{verdict if ignored else 'It'} ranks the chosen answer above an answer to another prompt in "
        f"{contrast.value:.0%} of cases (chance 50%). Margins move by {moved:.0%} of their size, and with prompts "
        f"exchanged it is right on {accuracy.value:.0%} of pairs, {abs(gap.value):.0%} "
        f"{'less' if gap.value >= 0 else 'more'} than with their own. Under another prompt an answer loses "
        f"{cost.value:.2f} of the usual distance between two.",
        contrast,
        advice="Add answers to other prompts as rejected ones (`rewardsmith.data.cross_prompt_negatives`) or pairs of "
        "look-alike prompts (`mine_contrast_pairs`), check that prompts are not cut away, and train again.",
        unit="share of chosen answers above an answer to another prompt",
        examples=[
            pair_example(panel, k, f"an answer to another prompt gets {score.reward:.4g}")
            for (k, _), score in zip(pairs, distractors, strict=True)
            if score.reward is not None and score.reward >= panel.score(k, "chosen")
        ],
        only_faults=True,
    )


def context(panel: PairPanel) -> Building[Answer]:
    """Send pairs under their own context, under another's, and under none."""
    given = [k for k, row in enumerate(panel.rows) if row.context is not None]
    pairs = _others(panel, [text_of(row.context) for row in panel.rows], given)
    if len(pairs) < FEWEST_PAIRS:
        reason = f"fewer than {FEWEST_PAIRS} pairs with contexts to exchange" if given else "no row has one"
        return Outcome(not_run=reason)
    own = [own for own, _ in pairs]
    contexts = [text_of(panel.rows[other].context) for _, other in pairs]
    replies = yield [
        Ask([panel.under(k, side, said) for k, said in zip(own, contexts_of, strict=True)])
        for contexts_of in (contexts, [None] * len(own))
        for side in ("chosen", "rejected")
    ]
    numbers = [numbers_of(scores) for scores in replies]
    swapped, without = (_whole(panel, own, numbers[place] - numbers[place + 1]) for place in (0, 2))
    gap, moved = _paired(panel, swapped, own), _moved(panel.margins[own], swapped[own])
    right, wrong, none = (share_won(panel, margins, own) for margins in (panel.margins, swapped, without))
    # Pairs of the same prompt and answers that also stand there with another context and the opposite label.
    groups: dict[tuple[str, frozenset[str]], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for k in given:
        asked = text_of(panel.bare[k] if panel.bare else panel.rows[k].prompt)
        texts = panel.text(k, "chosen"), panel.text(k, "rejected")
        if texts[0] != texts[1]:
            groups[asked, frozenset(texts)][texts[0]].append(k)
    turning = sorted(k for sides in groups.values() if len(sides) == 2 for rows in sides.values() for k in rows)
    reversals = share_won(panel, panel.margins, turning)
    severity: Severity = "info"
    if reversals.n >= FEWEST_PAIRS and reversals.low <= 0.5 and reversals.high < SEPARATED:
        severity = "high"
    elif gap.high < NO_LOSS and moved < HARDLY_MOVED:
        severity = "high" if moved < NOT_MOVED else "medium"
    ignored = severity != "info"
    turned = (
        f" Of {reversals.n} pairs whose label turns with the context it is right on {reversals.value:.0%} (chance 50%)."
    )
    return finding_of(
        "context",
        severity,
        f"{'It ignores the context: under' if ignored else 'Under'} their own context {right.value:.0%} of "
        f"{right.n} pairs are ranked right, under another's {wrong.value:.0%}, under none {none.value:.0%}. Another "
        f"context moves margins by {moved:.0%} of their size." + (turned if reversals.n else ""),
        (*gap, right.n),
        advice="Train on pairs whose label turns with the context (`rewardsmith.data.read_preferences`, schema `rpr`) "
        "in the form in which it is asked (`rewardsmith.data.in_context`, `rewardsmith.rewards.ContextualReward`).",
        unit="share of pairs ranked right, own context less another's",
        examples=[pair_example(panel, k) for k in own if panel.margins[k] <= 0],
        only_faults=True,
    )


def _moved(own: Floats, swapped: Floats) -> float:
    """By how much margins change, as a share of their size; 1 where they have none."""
    known = np.isfinite(swapped)
    size = float(np.abs(own[known]).mean()) if known.any() else 0.0
    return float(np.abs(own - swapped)[known].mean()) / size if size > 0 else 1.0


def _others(panel: PairPanel, names: Sequence[str], among: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """At most `MOST_EXCHANGED` pairs at random, each once with another of a different name and chosen answer."""
    order = list(range(len(panel.rows)) if among is None else among)
    panel.rng().shuffle(order)
    order = order[:MOST_EXCHANGED]
    found = []
    for place, own in enumerate(order):
        later = (order[(place + step) % len(order)] for step in range(1, len(order)))
        fits = (k for k in later if names[k] != names[own] and panel.text(k, "chosen") != panel.text(own, "chosen"))
        if (other := next(fits, None)) is not None:
            found.append((own, other))
    return found


def _mean(panel: PairPanel, values: Sequence[tuple[float, int]]) -> Shift:
    """The mean of values of pairs, with its interval over prompts."""
    names, column = panel.clusters, [value for value, _ in values]
    interval = clustered_interval(column, [names[pair] for _, pair in values], alpha=panel.alpha)
    return Shift(mean_or_nan(column), *interval)


def _whole(panel: PairPanel, own: Sequence[int], values: Floats) -> Floats:
    """Values of some pairs as a column over all, NaN elsewhere."""
    column = np.full(len(panel.rows), math.nan)
    column[list(own)] = values
    return column


def _paired(panel: PairPanel, other: Floats, own: Sequence[int]) -> Shift:
    """How much more often the panel's margins are right than others of the same pairs."""
    hits = zip(hits_of(panel.margins[list(own)]), hits_of(other[list(own)]), own, strict=True)
    return _mean(panel, [(a - b, pair) for a, b, pair in hits if a is not None and b is not None])
