"""Compare score differences with labels: their calibration as log-odds, and the share of wrong labels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith.auditing.asking import Outcome
from rewardsmith.auditing.finding import NOTHING_TO_DO, Example, Finding, Ladder, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import Floats, PairBaseline
from rewardsmith.auditing.probes.accuracy import hits_of, pair_example, share_won
from rewardsmith.auditing.report import Bin
from rewardsmith.data import text_of
from rewardsmith.measures import expected_calibration_error, fit_label_noise, reliability_curve, wilson_interval
from rewardsmith.measures.calibration import ReliabilityCurve
from rewardsmith.measures.intervals import clustered_interval

FEWEST_FOR_SLOPE = 100  # pairs to fit a slope
OVERCONFIDENT_BELOW: Ladder = ((-0.4, "high"), (-0.67, "medium"))  # of the slope's upper bound, negated
STATED_LESS_TRUE: Ladder = ((0.2, "high"), (0.1, "medium"))
WRONG_LABELS: Ladder = ((0.2, "high"), (0.1, "medium"))
UNDERCONFIDENT = 1.5  # lower bound of the slope
OPEN = 0.3  # a wider interval of the noise is no estimate
BINS = 20  # of stated probability in [0, 1]; that of the preferred answer fills the upper half
RESAMPLES = 200
FEWEST_REPEATS = 20
FEWEST_IN_BIN = 10  # pairs for a point of the reliability curve


class PairCalibration(NamedTuple):
    """Probabilities that a reward states for pairs, and how often it is right.

    stated: mean of σ(|Δ|). right: share of labels that agree; ties count half.
    gap: stated − right, above 0 if overconfident; gap_interval over prompts.
    ece: expected calibration error, with a 95 % bootstrap interval over prompts; biased upward for few pairs.
    curve: agreement by stated probability; only bins from ½ up hold pairs.
    """

    stated: float
    right: float
    gap: float
    gap_interval: tuple[float, float]
    ece: float
    ece_interval: tuple[float, float]
    curve: ReliabilityCurve


def pair_calibration(
    margins: ArrayLike, *, clusters: Sequence[Hashable] | None = None, alpha: float = 0.05, seed: int = 0
) -> PairCalibration:
    """Read margins as log-odds and compare P(chosen ≻ rejected) with the labels.

        P = σ(r(x, y⁺) − r(x, y⁻))        Bradley and Terry 1952

    Args:
        margins: (n,) chosen minus rejected; NaN is left out.
        clusters: (n,) what pairs share, such as the prompt; pairs are independent if None.
        alpha: of gap_interval.
        seed: of the bootstrap.

    >>> sure = pair_calibration([20.0, 20.0, 20.0, -20.0])
    >>> round(sure.stated, 6), sure.right, round(sure.ece, 6)
    (1.0, 0.75, 0.25)
    """
    given = np.asarray(margins, dtype=np.float64)
    names = list(range(len(given))) if clusters is None else list(clusters)
    if given.ndim != 1 or len(names) != len(given):
        raise ValueError(
            f"pair_calibration: margins have shape {given.shape} and there are {len(names)} clusters. "
            "Pass one of each per pair."
        )
    kept = np.flatnonzero(np.isfinite(given))
    delta, names = given[kept], [names[k] for k in kept]
    stated, right = _stated(delta), np.array(hits_of(delta), dtype=np.float64)
    ece_interval = (math.nan, math.nan)
    if len(kept):
        place = {name: number for number, name in enumerate(dict.fromkeys(names))}
        cluster, n = np.array([place[name] for name in names]), len(place)
        generator = np.random.default_rng(seed)
        drawn = [np.bincount(generator.integers(n, size=n), minlength=n)[cluster] for _ in range(RESAMPLES)]
        errors = [expected_calibration_error(stated, right, bins=BINS, weights=weights) for weights in drawn]
        low, high = np.nanquantile(errors, [0.025, 0.975])
        ece_interval = float(low), float(high)
    gaps = stated - right
    return PairCalibration(
        float(stated.mean()) if len(kept) else math.nan,
        float(right.mean()) if len(kept) else math.nan,
        float(gaps.mean()) if len(kept) else math.nan,
        clustered_interval(gaps.tolist(), names, alpha=alpha),
        expected_calibration_error(stated, right, bins=BINS),
        ece_interval,
        reliability_curve(stated, right, bins=BINS),
    )


def _stated(margins: Floats) -> Floats:
    """Return σ(|Δ|), the reward's probability of the answer that it prefers."""
    stated: Floats = np.exp(-np.logaddexp(0.0, -np.abs(margins)))
    return stated


def calibration(baseline: PairBaseline, *, logits: bool = True) -> Outcome:
    """Judge whether P = σ(Δ) holds; a wrong slope or wrong labels may break it.

    Args:
        logits: whether score differences are meant as log-odds; else the result is an observation.
    """
    if len(baseline.rows) < FEWEST_FOR_SLOPE or not baseline.margins.any():
        return Outcome(not_run=f"fewer than {FEWEST_FOR_SLOPE} pairs with scores that differ")
    found = pair_calibration(baseline.margins, clusters=baseline.clusters, alpha=baseline.alpha, seed=baseline.seed)
    fit = fit_label_noise(baseline.margins, clusters=baseline.clusters, alpha=baseline.alpha)
    if found.right < 0.5:
        return Outcome(not_run="the reward ranks fewer than half of the pairs correctly, so there is no slope")
    # Severity by the slope, then by stated less true.
    low, high = fit.slope_interval
    severity, verdict = severity_above(-high, OVERCONFIDENT_BELOW), "It is overconfident"
    if severity == "info":
        severity = severity_above(found.gap_interval[0], STATED_LESS_TRUE)
        verdict = "It is overconfident, or some labels are wrong"
    if severity == "info" and low > UNDERCONFIDENT:
        severity, verdict = "low", "It is underconfident, which changes no ranking"
    elif severity == "info":
        verdict = "There is no sign of overconfidence" if high < math.inf else "Its slope is unknown"
    advice = NOTHING_TO_DO
    if not logits:
        severity, verdict = "info", "Read it as log-odds only if it was trained by Bradley-Terry"
    elif severity in ("medium", "high"):
        advice = (
            f"Multiply scores by the slope (`rewardsmith.transforms.rescale(scale={fit.slope:.2g})`) before adding "
            "them to others or reading them as probabilities. Train for fewer epochs, with `soft_label` on doubtful "
            "pairs, `rewardsmith train-reward --center`, or more data."
        )
    elif severity == "low":
        advice = "Multiply scores by the slope before reading them as probabilities."
    known = math.isfinite(fit.slope)
    slope = f" The slope is {fit.slope:.2g} (below 1: overconfident)." if known else ""
    finding = finding_of(
        "margin_calibration",
        severity,
        f"Read as log-odds, scores state {found.stated:.0%} and are right on {found.right:.0%} of "
        f"{len(baseline.rows)} pairs (calibration error {found.ece:.2f}).{slope} {verdict}.",
        (fit.slope if known else None, *fit.slope_interval, len(baseline.rows)),
        advice=advice,
        unit="slope of labels on score differences",
        examples=_contradicted(baseline, "wrong with a large margin") if severity in ("medium", "high") else (),
    )
    if not logits:
        return Outcome(findings=(finding,))
    place = np.minimum(np.searchsorted(found.curve.edges, _stated(baseline.margins), side="right") - 1, BINS - 1)
    bins = []
    for number in range(BINS // 2, BINS):
        pairs = np.flatnonzero(place == number)
        if len(pairs) >= FEWEST_IN_BIN:
            bins.append(
                Bin(float(found.curve.confidence[number]), *share_won(baseline, baseline.margins, pairs.tolist()))
            )
    return Outcome(findings=(finding,), reliability=tuple(bins))


def label_noise(baseline: PairBaseline) -> Outcome:
    """Estimate the share of wrong labels from margins, and from repeated pairs."""
    found = _repeats(baseline)
    fit = fit_label_noise(baseline.margins, clusters=baseline.clusters, alpha=baseline.alpha)
    low, high = fit.noise_interval
    open_ = low <= WRONG_LABELS[-1][0] and high - low > OPEN
    if len(baseline.rows) < FEWEST_FOR_SLOPE or math.isnan(fit.noise) or open_:
        reason = f"the share of wrong labels is between {low:.0%} and {high:.0%}, too wide to judge"
        return Outcome(findings=found, not_run="" if found else reason)
    severity = severity_above(low, WRONG_LABELS)
    finding = finding_of(
        "label_noise",
        severity,
        f"Even at the largest margins reward and labels disagree as if {fit.noise:.0%} of the labels were wrong. "
        "Or the reward is wrong there, which margins alone cannot show."
        if severity != "info"
        else f"An estimated {fit.noise:.0%} of the labels are wrong, at most {high:.0%}.",
        (fit.noise, *fit.noise_interval, fit.n),
        advice="Read the pairs below first. If the labels are wrong, use `rewardsmith.data.preference_strength` with "
        "voters that did not see the pair, then `rewardsmith.data.relabel_rows`."
        if severity != "info"
        else NOTHING_TO_DO,
        unit="share of labels",
        examples=_contradicted(baseline, "contradicted by a large margin"),
    )
    return Outcome(findings=(*found, finding))


def _contradicted(baseline: PairBaseline, note: str) -> tuple[Example, ...]:
    """Return the pairs whose label the reward contradicts by the largest margin."""
    order = [int(k) for k in np.argsort(baseline.margins) if baseline.margins[k] < 0]
    return tuple(pair_example(baseline, pair, note) for pair in order[:3])


def _repeats(baseline: PairBaseline) -> tuple[Finding, ...]:
    """Compare labels of repeated pairs, which contradict each other with chance 2ε(1 − ε)."""
    seen: dict[tuple[str, frozenset[str]], list[int]] = defaultdict(list)
    for k in range(len(baseline.rows)):
        answers = frozenset((baseline.text(k, "chosen"), baseline.text(k, "rejected")))
        if len(answers) == 2:
            seen[text_of(baseline.rows[k].prompt), answers].append(k)
    doubles = [rows[:2] for rows in seen.values() if len(rows) > 1]
    if len(doubles) < FEWEST_REPEATS:
        return ()
    opposed = [a for a, b in doubles if baseline.text(a, "chosen") != baseline.text(b, "chosen")]
    n = len(doubles)
    shares = (len(opposed) / n, *wilson_interval(len(opposed), n, alpha=baseline.alpha))
    noise, low, high = ((1 - math.sqrt(max(1 - 2 * share, 0.0))) / 2 for share in shares)  # ε from 2ε(1 − ε)
    severity = severity_above(low, WRONG_LABELS)
    finding = finding_of(
        "label_noise",
        severity,
        f"{len(opposed)} of {n} repeated pairs have opposite labels, as if {noise:.0%} of all labels were wrong or "
        "arbitrary.",
        (noise, low, high, n),
        advice="Drop or merge them with a `soft_label`. Use `rewardsmith.data.relabel_rows` for the others."
        if severity != "info"
        else NOTHING_TO_DO,
        unit="share of labels",
        examples=[pair_example(baseline, a, "the other label is in the rows too") for a in opposed[:3]],
    )
    return (finding,)
