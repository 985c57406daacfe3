"""Does the reward read the prompt and the context, or do answers get the same verdict under any?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.finding import Finding, Severity
from rewardsmith.auditing.pair_baseline import Floats, PairPanel, numbers_of
from rewardsmith.auditing.probes.accuracy import FEWEST, hits_of, pair_example, share_won
from rewardsmith.data import text_of
from rewardsmith.measures.intervals import clustered_interval

MOST = 400  # pairs asked about
NO_LOSS = 0.1  # accuracy that exchanging surely costs less than is as good as none
SEPARATED = 0.7  # an interval that holds ½ and ends below this tells nothing apart
CHEAP = 0.5  # usual distances between two answers; answering another prompt should surely cost more
HARDLY = 0.4  # a change of margins by less than this share of them is small, by less than `NONE` no change
NONE = 0.02


class _Gap(NamedTuple):
    """A mean over pairs, with its interval over prompts."""

    value: float
    low: float
    high: float


def prompt(panel: PairPanel) -> Asking:
    """Every pair under another's prompt, and the chosen answer of another under its own.

    Labels may follow what is better under any prompt, such as style, so that accuracy alone is no evidence: a reward
    that reads the prompt also ranks an answer to it above an answer to something else.
    """
    pairs = _others(panel, panel.clusters)
    if len(pairs) < FEWEST:
        yield []
        return Outcome(not_run=f"fewer than {FEWEST} pairs with another prompt to exchange with")
    overall = share_won(panel, panel.margins)
    if overall.low <= 0.5:
        yield []
        return Outcome(not_run="the reward is not shown to be better than chance on these pairs")
    distractors, chosen, rejected = yield [
        Ask([panel.row(own, panel.text(other, "chosen")) for own, other in pairs]),
        Ask([panel.row(other, panel.text(own, "chosen")) for own, other in pairs]),
        Ask([panel.row(other, panel.text(own, "rejected")) for own, other in pairs]),
    ]
    own = [own for own, _ in pairs]
    contrast = share_won(panel, _whole(panel, own, panel.chosen[own] - numbers_of(distractors)), own)
    exchanged = _whole(panel, own, numbers_of(chosen) - numbers_of(rejected))
    gap = _paired(panel, panel.margins, exchanged, own)
    accuracy = share_won(panel, exchanged, own)
    moved = _moved(panel.margins[own], exchanged[own])
    cost = _cost(panel, panel.chosen[own] - numbers_of(chosen), own)
    ignored = cost.high < CHEAP and (gap.high < NO_LOSS or moved < HARDLY)
    verdict = ": it ignores the prompt" if contrast.low <= 0.5 else ": it hardly reads the prompt"
    finding = Finding(
        probe="prompt",
        severity="info" if not ignored else "high" if contrast.low <= 0.5 else "medium",
        message=f"It ranks the chosen answer above an answer to another prompt in {contrast.value:.0%} of cases "
        f"(chance 50%), and with prompts exchanged it is right on {accuracy.value:.0%} of pairs, "
        f"{abs(gap.value):.0%} {'less' if gap.value >= 0 else 'more'} than with their own; margins move by {moved:.0%} "
        f"of their size, and under another prompt an answer loses {cost.value:.2f} of the usual distance between two"
        f"{verdict if ignored else ''}.",
        value=contrast.value,
        interval=(contrast.low, contrast.high),
        n=contrast.n,
        advice="Add answers to other prompts as rejected ones (`rewardsmith.data.cross_prompt_negatives`) or pairs of "
        "look-alike prompts (`mine_contrast_pairs`), check that prompts are not cut away, and train again."
        if ignored
        else "Nothing to do.",
        unit="share of chosen answers above an answer to another prompt",
        examples=tuple(
            pair_example(panel, k, f"an answer to another prompt gets {score.reward:.4g}")
            for (k, _), score in zip(pairs, distractors, strict=True)
            if score.reward is not None and score.reward >= panel.score(k, "chosen")
        )[: 3 if ignored else 0],
    )
    return Outcome(findings=(finding,))


def context(panel: PairPanel) -> Asking:
    """Pairs under their own context, under another's, and under none."""
    given = [k for k, row in enumerate(panel.rows) if row.context is not None]
    pairs = _others(panel, [text_of(row.context) for row in panel.rows], given)
    if len(pairs) < FEWEST:
        yield []
        return Outcome(not_run=f"fewer than {FEWEST} pairs with contexts to exchange" if given else "no row has one")
    own = [own for own, _ in pairs]
    contexts = [text_of(panel.rows[other].context) for _, other in pairs]
    replies = yield [
        Ask([panel.under(k, side, said) for k, said in zip(own, contexts_of, strict=True)])
        for contexts_of in (contexts, [None] * len(own))
        for side in ("chosen", "rejected")
    ]
    numbers = [numbers_of(scores) for scores in replies]
    swapped, without = (_whole(panel, own, numbers[place] - numbers[place + 1]) for place in (0, 2))
    return Outcome(findings=(_context_finding(panel, own, swapped, without),))


def _context_finding(panel: PairPanel, own: list[int], swapped: Floats, without: Floats) -> Finding:
    gap = _paired(panel, panel.margins, swapped, own)
    right, wrong, none = (share_won(panel, margins, own) for margins in (panel.margins, swapped, without))
    moved = _moved(panel.margins[own], swapped[own])
    reversed_rows = _reversals(panel)
    reversals = share_won(panel, panel.margins, reversed_rows)
    severity: Severity = "info"
    if reversals.n >= FEWEST and reversals.low <= 0.5 and reversals.high < SEPARATED:
        severity = "high"
    elif gap.high < NO_LOSS and moved < HARDLY:
        severity = "high" if moved < NONE else "medium"
    told = (
        f" Of {reversals.n} pairs whose label turns with the context it is right on {reversals.value:.0%} (chance 50%)."
        if reversals.n
        else ""
    )
    return Finding(
        probe="context",
        severity=severity,
        message=f"Under their own context {right.value:.0%} of {right.n} pairs are ranked right, under another's "
        f"{wrong.value:.0%}, under none {none.value:.0%}; another context moves margins by {moved:.0%} of their size."
        + told
        + (" It ignores the context." if severity != "info" else ""),
        value=gap.value,
        interval=(gap.low, gap.high),
        n=right.n,
        advice="Train on pairs whose label turns with the context (`rewardsmith.data.reversal_pairs`) in the form in "
        "which it is asked (`rewardsmith.data.in_context`, `rewardsmith.rewards.ContextualReward`)."
        if severity != "info"
        else "Nothing to do.",
        unit="share of pairs ranked right, own context less another's",
        examples=tuple(pair_example(panel, k) for k in own if panel.margins[k] <= 0)[: 3 if severity != "info" else 0],
    )


def _moved(own: Floats, swapped: Floats) -> float:
    """By how much margins change, as a share of their size; 1 where they have none."""
    known = np.isfinite(swapped)
    size = float(np.abs(own[known]).mean()) if known.any() else 0.0
    return float(np.abs(own - swapped)[known].mean()) / size if size > 0 else 1.0


def _reversals(panel: PairPanel) -> list[int]:
    """Pairs of the same prompt and answers that also stand there with another context and the opposite label."""
    groups: dict[tuple[str, frozenset[str]], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for k, row in enumerate(panel.rows):
        prompt = text_of(panel.bare[k] if panel.bare else row.prompt)
        texts = panel.text(k, "chosen"), panel.text(k, "rejected")
        if row.context is not None and texts[0] != texts[1]:
            groups[prompt, frozenset(texts)][texts[0]].append(k)
    return sorted(k for sides in groups.values() if len(sides) == 2 for rows in sides.values() for k in rows)


def _others(panel: PairPanel, names: Sequence[str], among: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """At most `MOST` pairs at random, each with another of a different name and chosen answer; each is taken once."""
    order = list(range(len(panel.rows)) if among is None else among)
    panel.rng().shuffle(order)
    order = order[:MOST]
    found = []
    for place, own in enumerate(order):
        later = (order[(place + step) % len(order)] for step in range(1, len(order)))
        fits = (k for k in later if names[k] != names[own] and panel.text(k, "chosen") != panel.text(own, "chosen"))
        if (other := next(fits, None)) is not None:
            found.append((own, other))
    return found


def _cost(panel: PairPanel, losses: Floats, own: Sequence[int]) -> _Gap:
    """The mean loss in usual distances; as prompts are exchanged among themselves, their own levels cancel in it."""
    names = panel.clusters
    known = np.isfinite(losses)
    kept = losses[known] / panel.gap
    return _mean(kept.tolist(), [names[k] for k, held in zip(own, known, strict=True) if held], panel.alpha)


def _mean(values: Sequence[float], clusters: Sequence[str], alpha: float) -> _Gap:
    return _Gap(fmean(values) if values else math.nan, *clustered_interval(values, clusters, alpha=alpha))


def _whole(panel: PairPanel, own: Sequence[int], values: Floats) -> Floats:
    """Values of some pairs as a column over all, NaN elsewhere."""
    column = np.full(len(panel.rows), math.nan)
    column[list(own)] = values
    return column


def _paired(panel: PairPanel, first: Floats, second: Floats, own: Sequence[int]) -> _Gap:
    """How much more often the first margins are right on the same pairs."""
    names = panel.clusters
    hits = zip(hits_of(first[list(own)]), hits_of(second[list(own)]), own, strict=True)
    known = [(a - b, names[k]) for a, b, k in hits if a is not None and b is not None]
    return _mean([value for value, _ in known], [name for _, name in known], panel.alpha)
