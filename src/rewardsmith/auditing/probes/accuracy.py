"""Probe the share of pairs whose better answer scores higher, overall and by subset."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from rewardsmith.auditing.asking import Outcome
from rewardsmith.auditing.finding import NOTHING_TO_DO, Example, Finding, Severity, clip, finding_of
from rewardsmith.auditing.pair_baseline import Floats, PairBaseline
from rewardsmith.measures.intervals import Share, share_right

FEWEST_PAIRS = 30  # needed to judge a share
CHANCE_LIKE = 0.7  # an interval with ½ in it means chance if it ends below this
WEAK = 0.65  # what a trained model should exceed
UNIT = "share of pairs ranked correctly"
RETRAIN = (
    "Train it on such pairs (`rewardsmith train-reward`). Check that its folder holds the trained head, and that the "
    "labels can be trusted (`rewardsmith.data.preference_strength`)."
)


def accuracy(baseline: PairBaseline) -> Outcome:
    """Judge the share of pairs ranked correctly, ties counting half, overall and by source."""
    scores = np.concatenate([baseline.chosen, baseline.rejected])
    if np.ptp(scores) == 0:
        message = f"Every answer gets the same score, {scores[0]:.4g}."
        advice = "Train the model (`rewardsmith train-reward`), or check that its head was loaded with it."
        share = Share(0.5, 0.0, 1.0, len(baseline.rows))
        return Outcome(findings=(_ranked(baseline, "critical", message, share, advice),))
    share, equal = share_won(baseline, baseline.margins), int((baseline.margins == 0).sum())
    severity, verdict, advice = _verdict(share)
    ties = f" {equal} pairs are ties and count half." if equal else ""
    message = f"The reward ranks {share.value:.1%} of {share.n} pairs correctly{verdict}.{ties}"
    return Outcome(findings=(_ranked(baseline, severity, message, share, advice), *_by_source(baseline)))


def share_won(baseline: PairBaseline, margins: Floats, pairs: Sequence[int] | None = None) -> Share:
    """Return the share of margins above 0, ties counting half, with an interval over prompts."""
    places = range(len(margins)) if pairs is None else pairs
    names = baseline.clusters
    return share_right(hits_of(margins[list(places)]), [names[k] for k in places], alpha=baseline.alpha)


def hits_of(margins: Floats) -> list[float | None]:
    """Return 1 per correct pair, ½ per tie, 0 per wrong pair, None where unscored.

    >>> hits_of(np.array([2.0, 0.0, -1.0, np.nan]))
    [1.0, 0.5, 0.0, None]
    """
    return [None if math.isnan(margin) else (float(np.sign(margin)) + 1) / 2 for margin in margins]


def _verdict(share: Share) -> tuple[Severity, str, str]:
    """Return a share's severity, its wording and the advice."""
    more = "Audit on more pairs."
    if share.n < FEWEST_PAIRS:
        return "info", ", too few to judge", NOTHING_TO_DO if share.low > 0.5 else more
    if share.high < 0.5:
        flipped = "Check which column is `chosen`. If the score is a cost, negate it."
        return "critical", ", worse than chance, so its sign is probably flipped", flipped
    if share.low <= 0.5:
        if share.high < CHANCE_LIKE:
            return "high", ", no better than chance", RETRAIN
        return "info", ", which these few pairs cannot distinguish from chance", more
    if share.high < WEAK:
        return "medium", ", hardly better than chance", RETRAIN
    return "info", "", NOTHING_TO_DO


def _ranked(
    baseline: PairBaseline, severity: Severity, message: str, share: Share, advice: str, among: Sequence[int] = ()
) -> Finding:
    """Make a finding of this probe; a fault shows the pairs with the most wrong margins."""
    pairs = among or range(len(baseline.rows))
    wrong = sorted((k for k in pairs if baseline.margins[k] <= 0), key=lambda k: float(baseline.margins[k]))[:3]
    examples = [pair_example(baseline, pair) for pair in wrong if severity != "info"]
    return finding_of("accuracy", severity, message, share, advice=advice, unit=UNIT, examples=examples)


def pair_example(baseline: PairBaseline, pair: int, note: str = "") -> Example:
    """Return a pair as evidence: the chosen answer and both scores, with the rejected answer in the note."""
    note = f"rejected: {clip(baseline.text(pair, 'rejected'))}" + (f" ({note})" if note else "")
    prompt, text = clip(baseline.row(pair, "").prompt_text), clip(baseline.text(pair, "chosen"))
    return Example(prompt, text, baseline.score(pair, "chosen"), baseline.score(pair, "rejected"), note)


def _by_source(baseline: PairBaseline) -> list[Finding]:
    """Return sources whose interval lies below that of the others, and one line with all shares."""
    sources = [row.source for row in baseline.rows]
    counts = Counter(source for source in sources if source is not None)
    large = [source for source, count in sorted(counts.items()) if count >= FEWEST_PAIRS]
    if len(counts) < 2 or not large:
        return []
    shares, found = {}, []
    for source in large:
        own = [k for k, name in enumerate(sources) if name == source]
        rest = [k for k, name in enumerate(sources) if name != source]
        share, others = share_won(baseline, baseline.margins, own), share_won(baseline, baseline.margins, rest)
        shares[source] = share
        if len(rest) >= FEWEST_PAIRS and share.high < others.low:
            message = (
                f"The reward ranks {share.value:.1%} of {share.n} pairs of source {source!r} correctly, and "
                f"{others.value:.1%} of the others."
            )
            advice = (
                "Train on more such pairs, raise their `weight`, or do not optimize on these prompts. Check whether "
                "the labels are worse (`rewardsmith.measures.label_quality`)."
            )
            found.append(_ranked(baseline, "medium", message, share, advice, own))
    listed = ", ".join(f"{source} {share.value:.0%} of {share.n}" for source, share in shares.items())
    lowest = min(shares.values(), key=lambda share: share.value)
    note = f"By source (at least {FEWEST_PAIRS} pairs each): {listed}."
    return [*found, _ranked(baseline, "info", note, lowest, NOTHING_TO_DO)]
