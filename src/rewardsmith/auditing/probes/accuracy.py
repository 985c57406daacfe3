"""Does the better answer score more: over all pairs, and in every subset?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from rewardsmith.auditing.asking import Asking, Outcome
from rewardsmith.auditing.finding import Example, Finding, Severity
from rewardsmith.auditing.pair_baseline import Floats, PairPanel
from rewardsmith.auditing.trials import clip
from rewardsmith.measures.labels import Share
from rewardsmith.measures.rankings import share_right

FEWEST = 30  # pairs from which on a share is judged
CHANCE_LIKE = 0.7  # an interval that holds ½ says something only where it ends below this
WEAK = 0.65  # what a trained model should exceed
UNIT = "share of pairs ranked right"


def accuracy(panel: PairPanel) -> Asking:
    """The share of pairs ranked right, equal scores counting half; then subset by subset."""
    yield []
    scores = np.concatenate([panel.chosen, panel.rejected])
    if np.ptp(scores) == 0:
        return Outcome(findings=(_constant(panel, float(scores[0])),))
    return Outcome(findings=(_overall(panel), *_by_source(panel)))


def share_won(panel: PairPanel, margins: Floats, pairs: Sequence[int] | None = None) -> Share:
    """The share of margins above 0, equal scores counting half, with an interval over prompts at the panel's level."""
    places = range(len(margins)) if pairs is None else pairs
    names = panel.clusters
    return share_right(hits_of(margins[list(places)]), [names[k] for k in places], alpha=panel.alpha)


def hits_of(margins: Floats) -> list[float | None]:
    """Per pair 1 where right, ½ where the scores are equal, 0 where wrong; None where unscored.

    >>> hits_of(np.array([2.0, 0.0, -1.0, np.nan]))
    [1.0, 0.5, 0.0, None]
    """
    return [None if math.isnan(margin) else (float(np.sign(margin)) + 1) / 2 for margin in margins]


def _constant(panel: PairPanel, score: float) -> Finding:
    return Finding(
        probe="accuracy",
        severity="critical",
        message=f"Every answer gets the same score, {score:.4g}: the reward tells nothing apart.",
        value=0.5,
        interval=(0.0, 1.0),
        n=len(panel.rows),
        advice="Train the model (`rewardsmith train-reward`), or check that its head was loaded with it.",
        unit=UNIT,
        examples=_examples(panel),
    )


def _overall(panel: PairPanel) -> Finding:
    share = share_won(panel, panel.margins)
    severity, verdict = _verdict(share)
    equal = int((panel.margins == 0).sum())
    ties = f" {equal} pairs get two equal scores, which count half." if equal else ""
    return Finding(
        probe="accuracy",
        severity=severity,
        message=f"The reward ranks {share.value:.1%} of {share.n} pairs right{verdict}.{ties}",
        value=share.value,
        interval=(share.low, share.high),
        n=share.n,
        advice=_advice(severity, share),
        unit=UNIT,
        examples=_examples(panel) if severity != "info" else (),
    )


def _verdict(share: Share) -> tuple[Severity, str]:
    if share.n < FEWEST:
        return "info", ", too few to judge"
    if share.high < 0.5:
        return "critical", ", surely fewer than a coin would: its sign is turned"
    if share.low <= 0.5:
        if share.high < CHANCE_LIKE:
            return "high", ", no better than chance"
        return "info", ", too few pairs to tell from chance"
    return ("medium", ", hardly better than chance") if share.high < WEAK else ("info", "")


def _advice(severity: Severity, share: Share) -> str:
    if severity == "info":
        return "Nothing to do." if share.low > 0.5 else "Audit on more pairs."
    if severity == "critical":
        return "Check which column is `chosen`, and whether the score is a cost; if so, negate it."
    return (
        "Train it on such pairs (`rewardsmith train-reward`), check that its trained head is in the folder, and "
        "whether the labels can be trusted (`rewardsmith.data.preference_strength`)."
    )


def _examples(panel: PairPanel, among: Sequence[int] | None = None) -> tuple[Example, ...]:
    """The pairs that are most surely ranked wrong."""
    pairs = range(len(panel.rows)) if among is None else among
    wrong = sorted((k for k in pairs if panel.margins[k] <= 0), key=lambda k: float(panel.margins[k]))
    return tuple(pair_example(panel, pair) for pair in wrong[:3])


def pair_example(panel: PairPanel, pair: int, note: str = "") -> Example:
    """A pair as evidence: its chosen answer, its score and that of the rejected one, which the note quotes."""
    told = f"rejected: {clip(panel.text(pair, 'rejected'))}" + (f" ({note})" if note else "")
    prompt = panel.row(pair, "").prompt_text
    return Example(
        clip(prompt), clip(panel.text(pair, "chosen")), panel.score(pair, "chosen"), panel.score(pair, "rejected"), told
    )


def _by_source(panel: PairPanel) -> list[Finding]:
    """Every source whose interval lies below that of all the others, and one line with the shares of all."""
    sources = [row.source for row in panel.rows]
    counts = Counter(source for source in sources if source is not None)
    large = [source for source, count in sorted(counts.items()) if count >= FEWEST]
    if len(counts) < 2 or not large:
        return []
    shares, found = {}, []
    for source in large:
        own = [k for k, name in enumerate(sources) if name == source]
        rest = [k for k, name in enumerate(sources) if name != source]
        shares[source] = share_won(panel, panel.margins, own)
        others = share_won(panel, panel.margins, rest)
        if len(rest) >= FEWEST and shares[source].high < others.low:
            found.append(_weak_source(panel, source, shares[source], others, own))
    listed = ", ".join(f"{source} {share.value:.0%} of {share.n}" for source, share in shares.items())
    lowest = min(shares.values(), key=lambda share: share.value)
    told = f"By source: {listed}; at least {FEWEST} pairs each."
    interval = (lowest.low, lowest.high)
    return [
        *found,
        Finding("accuracy", "info", told, lowest.value, interval, lowest.n, "Nothing to do.", UNIT),
    ]


def _weak_source(panel: PairPanel, source: str, share: Share, others: Share, own: Sequence[int]) -> Finding:
    return Finding(
        probe="accuracy",
        severity="medium",
        message=f"Of source {source!r} it ranks {share.value:.1%} of {share.n} pairs right, of the others "
        f"{others.value:.1%}.",
        value=share.value,
        interval=(share.low, share.high),
        n=share.n,
        advice="Train on more pairs of this kind, give them more `weight`, or do not optimize on its prompts; see "
        "whether its labels are worse (`rewardsmith.measures.wrong_labels`).",
        unit=UNIT,
        examples=_examples(panel, own),
    )
