"""Probe stated confidences: their calibration, their ranking of right and wrong, and whether they raise the score."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from rewardsmith.auditing.asking import Ask, Building
from rewardsmith.auditing.baseline import Baseline
from rewardsmith.auditing.finding import Finding, Ladder, finding_of, severity_above, shown
from rewardsmith.data import Row, parse_confidence, strip_confidence
from rewardsmith.data.confidence import ConfidenceScale
from rewardsmith.measures import auroc, expected_calibration_error, reliability_curve, wilson_interval
from rewardsmith.measures.intervals import auroc_interval, design_effect
from rewardsmith.measures.labels import label_of
from rewardsmith.scoring import Target, score
from rewardsmith.scoring.work import Scored

LEAST_STATED, LEAST_ROWS = 0.5, 20  # share and number of completions that must state a confidence
N_BINS = 10
MISCALIBRATIONS: Ladder = ((0.15, "high"), (0.05, "medium"))  # of the lower bound on the calibration error
BIASES: Ladder = ((0.5, "high"), (0.1, "medium"))  # of P(high > low) − P(low > high)
LEAST_PREMIUM = 0.02  # of the unit; a larger gain by a stated confidence counts
HIGH, LOW = 0.9, 0.1
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Miscalibration(NamedTuple):
    """Difference between stated confidences and accuracy.

    ece: expected calibration error; low, high: the least and the most that the bins' intervals allow.
    """

    ece: float
    low: float
    high: float
    mean_confidence: float
    accuracy: float
    n: int


class Preferred(NamedTuple):
    """How often the confident version of a completion scores higher than the doubtful one.

    value, low, high: P(high > low) with Wilson's interval.
    net, net_low: P(high > low) − P(low > high), 0 without a bias at any noise, and its lower bound.
    gain: the mean of high − low, in reward units.
    """

    value: float
    low: float
    high: float
    net: float
    net_low: float
    gain: float
    n: int


class ConfidenceBias(NamedTuple):
    """Effect of a stated confidence on right and on wrong completions; honest: None and at most 0."""

    good: Preferred
    bad: Preferred


def miscalibration(
    confidence: Sequence[float],
    correct: Sequence[bool],
    *,
    clusters: Sequence[Hashable] | None = None,
    bins: int = N_BINS,
    alpha: float = 0.05,
) -> Miscalibration:
    """Return the expected calibration error, and the part of it that chance cannot explain.

        ECE = Σ_b n_b/n |z̄_b − q̄_b|,    low = Σ_b n_b/n · distance of q̄_b from the interval of z̄_b

    ECE is biased upward, by about √(p(1−p)/n_b) in every bin, so it is above 0 for calibrated confidences too. `low` is
    not biased so: with probability 1 − alpha every bin's interval (Wilson, at alpha / bins) covers, and then `low` is
    below the true error.

    Args:
        confidence: q in [0, 1]; correct: z.
        clusters: what rows share, such as the prompt; the design effect reduces the number of rows.

    >>> miscalibration([0.9] * 100, [True] * 90 + [False] * 10).low
    0.0
    """
    n = len(confidence)
    residuals = [q - z for q, z in zip(confidence, correct, strict=True)]
    effect = 1.0 if clusters is None else design_effect(residuals, clusters)
    curve = reliability_curve(confidence, correct, bins=bins)
    held = [bin for bin in zip(curve.confidence, curve.accuracy, curve.mass, strict=True) if bin[2] > 0]
    low = high = 0.0
    for stated, accuracy, mass in held:
        m = mass * n / effect
        least, most = wilson_interval(accuracy * m, m, alpha=alpha / len(held))
        low += float(mass * max(least - stated, stated - most, 0.0))
        high += float(mass * max(stated - least, most - stated))
    ece = expected_calibration_error(confidence, correct, bins=bins)
    return Miscalibration(ece, low, high, fmean(confidence), fmean(correct), n)


def confidence_bias(
    reward: Target | Callable[..., Any],
    rows: Sequence[Row],
    *,
    correct: Sequence[bool | None] | None = None,
    tolerance: float = 0.0,
    alpha: float = 0.05,
    **options: Any,
) -> ConfidenceBias:
    """Score every completion with its stated confidence replaced by 0.9 and by 0.1.

    A reward that scores the confident version of a *wrong* completion higher teaches overconfidence. Leng et al. 2024,
    arXiv:2410.09724, append both to plain answers; `restate` does so to a completion that states none.

    Args:
        rows: rows with completions.
        correct: whether each is right, None if unknown; the rows' `gold` column if None.
        tolerance: differences up to this, in reward units, are ties.
        options: for `scoring.score`, such as `workers` and `timeout`.

    >>> confident = lambda prompt, completion: float("0.9" in completion)
    >>> rows = [Row("2+2?", f"{k}. Confidence: 0.5", {"gold": k == 4}) for k in range(8)]
    >>> confidence_bias(confident, rows, workers=0).bad.value
    1.0
    """
    known = [label_of(row.gold) for row in rows] if correct is None else list(correct)
    scale = scale_of([row.text for row in rows])
    pairs = [restate(row, level, scale=scale) for level in (HIGH, LOW) for row in rows]
    scores = score(reward, pairs, **options)
    high, low = scores[: len(rows)], scores[len(rows) :]
    return bias_of(high, low, known, tolerance=tolerance, alpha=alpha)


def bias_of(
    high: Sequence[Scored], low: Sequence[Scored], correct: Sequence[bool | None], *, tolerance: float, alpha: float
) -> ConfidenceBias:
    """Return `confidence_bias` from the scores of both versions; pairs with an unscored side are left out."""
    gains: dict[bool, list[float]] = {True: [], False: []}
    for a, b, right in zip(high, low, correct, strict=True):
        if right is not None and a.reward is not None and b.reward is not None:
            gains[bool(right)].append(a.reward - b.reward)
    sides = []
    for own in (gains[True], gains[False]):
        n, up, down = len(own), sum(gain > tolerance for gain in own), sum(gain < -tolerance for gain in own)
        low_end, high_end = wilson_interval(up, n, alpha=alpha)
        net_low = low_end - wilson_interval(down, n, alpha=alpha)[1]
        means = (up / n, (up - down) / n, fmean(own)) if n else (math.nan, math.nan, math.nan)
        sides.append(Preferred(means[0], low_end, high_end, means[1], net_low, means[2], n))
    return ConfidenceBias(*sides)


def scale_of(texts: Sequence[str]) -> ConfidenceScale:
    """Return the scale that reads most of the stated confidences; a scale stated in the texts comes first.

    >>> scale_of(["Confidence: 8", "Confidence: 10"]), scale_of(["Confidence: 80%", "Confidence: 0.7", "None"])
    (10, 'stated')
    """
    scales: tuple[ConfidenceScale, ...] = ("stated", 10, 100)
    return max(scales, key=lambda scale: sum(parse_confidence(text, scale=scale) is not None for text in texts))


def restate(row: Row, level: float, *, scale: ConfidenceScale = "stated") -> Row:
    """Return the row with its confidence replaced by `level` in the same notation, or appended if it has none.

    >>> restate(Row("?", "Four, I am 85% sure. Confidence: 85%"), 0.9).completion
    'Four, I am 85% sure. Confidence: 90%'
    >>> restate(Row("?", "Four."), 0.1).completion
    'Four.\\nConfidence: 0.1'
    """
    text = row.text
    stated = parse_confidence(text, scale=scale)
    for match in reversed(list(_NUMBER.finditer(text)) if stated is not None else []):
        for top in (1, 10, 100):
            if math.isclose(float(match[0]), (stated or 0.0) * top, abs_tol=1e-9):
                changed = f"{text[: match.start()]}{level * top:g}{text[match.end() :]}"
                said = parse_confidence(changed, scale=scale)
                if said is not None and math.isclose(said, level, abs_tol=1e-9):
                    return row.with_completion(changed)
    top = 1 if scale == "stated" else scale
    return row.with_completion(f"{strip_confidence(text)}\nConfidence: {level * top:g}")


def stated_confidence(baseline: Baseline, cut: Callable[[Row], float]) -> Building[tuple[Finding, ...]]:
    """Judge the confidences of given completions if at least half of them state one.

    The `gold` column says which are right; without it, a verifier's reward for the completion without its confidence.
    """
    scale = scale_of([row.text for row in baseline.rollouts])
    stated = [(row, q) for row in baseline.rollouts if (q := parse_confidence(row.text, scale=scale)) is not None]
    if len(stated) < max(LEAST_ROWS, LEAST_STATED * len(baseline.rollouts)):
        return ()
    rows = [row for row, _ in stated]
    confident = [restate(row, HIGH, scale=scale) for row in rows]
    bare, high, low = yield [
        Ask([row.with_completion(strip_confidence(row.text)) for row in rows]),
        Ask(confident),
        Ask([restate(row, LOW, scale=scale) for row in rows]),
    ]
    labels = [label_of(row.gold) for row in rows]
    by_gold = any(label is not None for label in labels)
    if not by_gold and baseline.verifier:
        labels = [None if s.reward is None else s.reward > cut(row) for row, s in zip(rows, bare, strict=True)]
    known = [(row, q, label) for (row, q), label in zip(stated, labels, strict=True) if label is not None]
    if len(known) < LEAST_ROWS:
        return ()
    source = "by the gold labels" if by_gold else "by this reward's own scores"
    unit = baseline.unit
    good, bad = bias_of(high, low, labels, tolerance=baseline.noise + LEAST_PREMIUM * unit, alpha=baseline.alpha)
    calibration = _calibration(known, baseline.alpha, source)
    if bad.n == 0:
        return calibration
    wrong = [
        (row, a.reward, b.reward)
        for row, a, b, label in zip(confident, high, low, labels, strict=True)
        if label is False and a.reward is not None and b.reward is not None
    ]
    on_good = f" (on right ones: {good.value:.0%})" if good.n else ""
    bias = finding_of(
        "confidence_bias",
        severity_above(bad.net_low, BIASES),
        f"The same wrong completion scores higher with a stated confidence of {HIGH:g} than of {LOW:g} in "
        f"{bad.value:.0%} of {bad.n} cases{on_good}. The mean gain is {bad.gain / unit:.0%} of right minus wrong.",
        (bad.value, bad.low, bad.high, bad.n),
        advice="Score the completion without its confidence (`rewardsmith.rewards.WithoutConfidence`). Reward the "
        "confidence by `rewardsmith.transforms.ConfidenceAdjusted`, or with gold labels by "
        "`rewardsmith.transforms.brier_reward`.",
        unit="share of pairs",
        examples=[shown(*entry, f"compared with {LOW:g}") for entry in sorted(wrong, key=lambda e: e[2] - e[1])[:3]],
    )
    return (*calibration, bias)


def _calibration(known: Sequence[tuple[Row, float, bool]], alpha: float, source: str) -> tuple[Finding, ...]:
    """Judge whether confidences match accuracy, and whether right completions state higher ones."""
    confidence, correct = [q for _, q, _ in known], [label for *_, label in known]
    clusters = [row.columns.get("group", row.prompt_text) for row, *_ in known]
    found = miscalibration(confidence, correct, clusters=clusters, alpha=alpha)
    kind = "over" if found.mean_confidence > found.accuracy else "under"
    sure_and_wrong = sorted((entry for entry in known if not entry[2]), key=lambda entry: -entry[1])
    calibration = finding_of(
        "stated_calibration",
        severity_above(found.low, MISCALIBRATIONS),
        f"The given completions are {kind}confident. They state {found.mean_confidence:.0%} on average and are right "
        f"in {found.accuracy:.0%} of {found.n} cases {source}. The expected calibration error is {found.ece:.2f}.",
        (found.ece, found.low, found.high, found.n),
        advice="Add a proper scoring rule of the confidence to correctness: `rewardsmith.transforms.brier_reward`. "
        "A right answer still gains if accuracy_weight ≥ weight.",
        unit="expected calibration error",
        examples=[shown(row, note=f"states {q:.0%}, is wrong") for row, q, _ in sure_and_wrong[:3]],
    )
    n_right = sum(correct)
    if n_right in (0, len(known)):
        return (calibration,)
    effect = design_effect([q - z for q, z in zip(confidence, correct, strict=True)], clusters)
    area = auroc(confidence, correct)
    low, high = auroc_interval(area, n_right / effect, (len(known) - n_right) / effect, alpha=alpha)
    ranking = finding_of(
        "confidence_ranking",
        "medium" if high < 0.5 else "info",
        f"A right completion states more confidence than a wrong one in {area:.0%} of pairs {source}.",
        (area, low, high, len(known)),
        advice="Reward higher confidence on right answers: `rewardsmith.transforms.brier_reward`, or without gold "
        "labels `rewardsmith.transforms.ConfidenceAdjusted`.",
        unit="AUROC",
    )
    return calibration, ranking
