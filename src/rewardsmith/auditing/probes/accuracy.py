"""Ask whether the better answer scores more: over all pairs, and in every subset."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from rewardsmith.auditing.asking import Outcome
from rewardsmith.auditing.finding import NOTHING_TO_DO, Example, Finding, Severity, clip, finding_of
from rewardsmith.auditing.pair_baseline import Floats, PairPanel
from rewardsmith.measures.intervals import Share, share_right

FEWEST_PAIRS = 30  # from which on a share is judged
CHANCE_LIKE = 0.7  # an interval that holds ½ says something only where it ends below this
WEAK = 0.65  # what a trained model should exceed
UNIT = "share of pairs ranked right"
RETRAIN = (
    "Train it on such pairs (`rewardsmith train-reward`), check that its trained head is in the folder, and whether "
    "the labels can be trusted (`rewardsmith.data.preference_strength`)."
)


def accuracy(panel: PairPanel) -> Outcome:
    """Judge the share of pairs ranked right, equal scores counting half; then subset by subset."""
    scores = np.concatenate([panel.chosen, panel.rejected])
    if np.ptp(scores) == 0:
        message = f"Every answer gets the same score, {scores[0]:.4g}: the reward tells nothing apart."
        advice = "Train the model (`rewardsmith train-reward`), or check that its head was loaded with it."
        share = Share(0.5, 0.0, 1.0, len(panel.rows))
        return Outcome(findings=(_ranked(panel, "critical", message, share, advice),))
    share, equal = share_won(panel, panel.margins), int((panel.margins == 0).sum())
    severity, verdict, advice = _verdict(share)
    ties = f" {equal} pairs get two equal scores, which count half." if equal else ""
    message = f"The reward ranks {share.value:.1%} of {share.n} pairs right{verdict}.{ties}"
    return Outcome(findings=(_ranked(panel, severity, message, share, advice), *_by_source(panel)))


def share_won(panel: PairPanel, margins: Floats, pairs: Sequence[int] | None = None) -> Share:
    """Return the share of margins above 0, equal scores counting half, with an interval over prompts."""
    places = range(len(margins)) if pairs is None else pairs
    names = panel.clusters
    return share_right(hits_of(margins[list(places)]), [names[k] for k in places], alpha=panel.alpha)


def hits_of(margins: Floats) -> list[float | None]:
    """Return per pair 1 where right, ½ where the scores are equal, 0 where wrong; None where unscored.

    >>> hits_of(np.array([2.0, 0.0, -1.0, np.nan]))
    [1.0, 0.5, 0.0, None]
    """
    return [None if math.isnan(margin) else (float(np.sign(margin)) + 1) / 2 for margin in margins]


def _verdict(share: Share) -> tuple[Severity, str, str]:
    """How bad a share is, in words, and what to do."""
    more = "Audit on more pairs."
    if share.n < FEWEST_PAIRS:
        return "info", ", too few to judge", NOTHING_TO_DO if share.low > 0.5 else more
    if share.high < 0.5:
        turned = "Check which column is `chosen`, and whether the score is a cost; if so, negate it."
        return "critical", ", surely fewer than a coin would: its sign is turned", turned
    if share.low <= 0.5:
        if share.high < CHANCE_LIKE:
            return "high", ", no better than chance", RETRAIN
        return "info", ", too few pairs to tell from chance", more
    if share.high < WEAK:
        return "medium", ", hardly better than chance", RETRAIN
    return "info", "", NOTHING_TO_DO


def _ranked(
    panel: PairPanel, severity: Severity, message: str, share: Share, advice: str, among: Iterable[int] | None = None
) -> Finding:
    """A finding of this question, a fault with the pairs among these that are most surely ranked wrong."""
    pairs = range(len(panel.rows)) if among is None else among
    wrong = sorted((k for k in pairs if panel.margins[k] <= 0), key=lambda k: float(panel.margins[k]))[:3]
    examples = [pair_example(panel, pair) for pair in wrong if severity != "info"]
    return finding_of("accuracy", severity, message, share, advice=advice, unit=UNIT, examples=examples)


def pair_example(panel: PairPanel, pair: int, note: str = "") -> Example:
    """Return a pair as evidence: its chosen answer, its score and that of the rejected one, which the note quotes."""
    told = f"rejected: {clip(panel.text(pair, 'rejected'))}" + (f" ({note})" if note else "")
    prompt = panel.row(pair, "").prompt_text
    return Example(
        clip(prompt), clip(panel.text(pair, "chosen")), panel.score(pair, "chosen"), panel.score(pair, "rejected"), told
    )


def _by_source(panel: PairPanel) -> list[Finding]:
    """Every source whose interval lies below that of all the others, and one line with the shares of all."""
    sources = [row.source for row in panel.rows]
    counts = Counter(source for source in sources if source is not None)
    large = [source for source, count in sorted(counts.items()) if count >= FEWEST_PAIRS]
    if len(counts) < 2 or not large:
        return []
    shares, found = {}, []
    for source in large:
        own = [k for k, name in enumerate(sources) if name == source]
        rest = [k for k, name in enumerate(sources) if name != source]
        share, others = share_won(panel, panel.margins, own), share_won(panel, panel.margins, rest)
        shares[source] = share
        if len(rest) >= FEWEST_PAIRS and share.high < others.low:
            message = (
                f"Of source {source!r} it ranks {share.value:.1%} of {share.n} pairs right, of the others "
                f"{others.value:.1%}."
            )
            advice = (
                "Train on more pairs of this kind, give them more `weight`, or do not optimize on its prompts; see "
                "whether its labels are worse (`rewardsmith.measures.label_quality`)."
            )
            found.append(_ranked(panel, "medium", message, share, advice, own))
    listed = ", ".join(f"{source} {share.value:.0%} of {share.n}" for source, share in shares.items())
    lowest = min(shares.values(), key=lambda share: share.value)
    told = f"By source: {listed}; at least {FEWEST_PAIRS} pairs each."
    return [*found, _ranked(panel, "info", told, lowest, NOTHING_TO_DO)]
