"""Compare score differences with labels: are they as sure as they are right, and how many labels are wrong?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith.auditing.asking import Outcome
from rewardsmith.auditing.finding import NOTHING_TO_DO, Example, Finding, Ladder, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import Floats, PairPanel
from rewardsmith.auditing.probes.accuracy import hits_of, pair_example, share_won
from rewardsmith.auditing.report import Bin
from rewardsmith.data import text_of
from rewardsmith.measures import expected_calibration_error, fit_lapse, reliability_curve, wilson_interval
from rewardsmith.measures.calibration import ReliabilityCurve
from rewardsmith.measures.intervals import clustered_interval

FEWEST_FOR_SLOPE = 100  # pairs from which a slope is fitted
OVERCONFIDENT_BELOW: Ladder = ((-0.4, "high"), (-0.67, "medium"))  # of the slope, negated: surely below it is that bad
STATED_LESS_TRUE: Ladder = ((0.2, "high"), (0.1, "medium"))
WRONG_LABELS: Ladder = ((0.2, "high"), (0.1, "medium"))
UNDERCONFIDENT = 1.5  # a slope surely above
OPEN = 0.3  # an interval of the lapse that is wider leaves it open
BINS = 20  # of stated probability in [0, 1]; that of the preferred answer fills the upper half
RESAMPLES = 200
FEWEST_REPEATS = 20
FEWEST_IN_BIN = 10  # pairs of like sureness, to be drawn


class PairCalibration(NamedTuple):
    """How sure a reward says it is of a pair, and how often it is right then.

    stated: mean of σ(|Δ|). right: share of labels on its side; equal scores count half.
    gap: stated − right, above 0 for a reward that is surer than right; gap_interval over prompts.
    ece: expected calibration error, with a 95 % bootstrap interval over prompts; biased upward from few pairs.
    curve: agreement by stated probability, of which only the bins from ½ up hold pairs.
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
    """Read margins as log-odds and compare P(chosen ≻ rejected) with what the labels say.

        P = σ(r(x, y⁺) − r(x, y⁻))        Bradley and Terry 1952

    Args:
        margins: (n,) chosen minus rejected; NaN is left out.
        clusters: (n,) what pairs share, such as the prompt; every pair for itself if None.
        alpha: of the gap's interval.
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
            "Pass one of each a pair."
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
    """σ(|Δ|): how sure the reward is of the answer that it prefers."""
    stated: Floats = np.exp(-np.logaddexp(0.0, -np.abs(margins)))
    return stated


def calibration(panel: PairPanel, *, logits: bool = True) -> Outcome:
    """Judge whether P = σ(Δ) holds, and whether a wrong slope or wrong labels are why it does not.

    Args:
        logits: whether the reward claims that its score differences are log-odds; of another all is an observation.
    """
    if len(panel.rows) < FEWEST_FOR_SLOPE or not panel.margins.any():
        return Outcome(not_run=f"fewer than {FEWEST_FOR_SLOPE} pairs with scores that differ")
    found = pair_calibration(panel.margins, clusters=panel.clusters, alpha=panel.alpha, seed=panel.seed)
    fit = fit_lapse(panel.margins, clusters=panel.clusters, alpha=panel.alpha)
    if found.right < 0.5:
        return Outcome(not_run="the reward is right on fewer than half of the pairs, so there is no slope")
    # How bad it is, by the slope, then by the gap between stated and true.
    low, high = fit.slope_interval
    severity, verdict = severity_above(-high, OVERCONFIDENT_BELOW), "It is overconfident"
    if severity == "info":
        severity = severity_above(found.gap_interval[0], STATED_LESS_TRUE)
        verdict = "It is surer than right; whether it is overconfident or labels are wrong these pairs do not tell"
    if severity == "info" and low > UNDERCONFIDENT:
        severity, verdict = "low", "It is less sure than right, which changes no ranking"
    elif severity == "info":
        verdict = "There is no sign of overconfidence" if high < math.inf else "Its slope cannot be told"
    advice = NOTHING_TO_DO
    if not logits:
        severity, verdict = "info", "Read it as log-odds only if it was trained by Bradley-Terry"
    elif severity in ("medium", "high"):
        advice = (
            "A temperature changes no ranking but makes them true: multiply scores by the slope "
            f"(`rewardsmith.transforms.rescale(scale={fit.slope:.2g})`) where they are added to others or read as "
            "probabilities. In training: "
            "fewer epochs, `soft_label` on doubtful pairs, `rewardsmith train-reward --center`, more data."
        )
    elif severity == "low":
        advice = "Nothing changes in a ranking; multiply scores by the slope where they are read as probabilities."
    known = math.isfinite(fit.slope)
    slope = f", slope {fit.slope:.2g} with wrong labels allowed for (below 1: overconfident)" if known else ""
    finding = finding_of(
        "margin_calibration",
        severity,
        f"Read as log-odds, its scores say {found.stated:.0%} sure and are right on {found.right:.0%} of "
        f"{len(panel.rows)} pairs{slope}. The calibration error is {found.ece:.2f} [{found.ece_interval[0]:.2f}, "
        f"{found.ece_interval[1]:.2f}]. {verdict}.",
        (fit.slope if known else None, *fit.slope_interval, len(panel.rows)),
        advice=advice,
        unit="slope of labels on score differences",
        examples=_contradicted(panel, "surely wrong, by its label") if severity in ("medium", "high") else (),
    )
    if not logits:
        return Outcome(findings=(finding,))
    place = np.minimum(np.searchsorted(found.curve.edges, _stated(panel.margins), side="right") - 1, BINS - 1)
    bins = []
    for number in range(BINS // 2, BINS):
        pairs = np.flatnonzero(place == number)
        if len(pairs) >= FEWEST_IN_BIN:
            bins.append(Bin(float(found.curve.confidence[number]), *share_won(panel, panel.margins, pairs.tolist())))
    return Outcome(findings=(finding,), reliability=tuple(bins))


def label_noise(panel: PairPanel) -> Outcome:
    """Estimate the share of wrong labels: what is left where the reward is surest, and what repeated pairs say."""
    found = _repeats(panel)
    fit = fit_lapse(panel.margins, clusters=panel.clusters, alpha=panel.alpha)
    low, high = fit.lapse_interval
    open_ = low <= WRONG_LABELS[-1][0] and high - low > OPEN
    if len(panel.rows) < FEWEST_FOR_SLOPE or math.isnan(fit.lapse) or open_:
        reason = f"its margins leave the share of wrong labels between {low:.0%} and {high:.0%}"
        return Outcome(findings=found, not_run="" if found else reason)
    severity = severity_above(low, WRONG_LABELS)
    finding = finding_of(
        "label_noise",
        severity,
        f"Even where the reward is surest, it and the labels disagree as if {fit.lapse:.0%} of the labels were "
        "wrong. The reward may be surely wrong there instead; margins alone do not tell these apart."
        if severity != "info"
        else f"An estimated {fit.lapse:.0%} of the labels are wrong, at most {high:.0%}.",
        (fit.lapse, *fit.lapse_interval, fit.n),
        advice="Read the pairs below first. If the labels are wrong: `rewardsmith.data.preference_strength` with "
        "voters that did not see the pair, then `rewardsmith.data.relabel_rows`."
        if severity != "info"
        else NOTHING_TO_DO,
        unit="share of labels",
        examples=_contradicted(panel, "most surely contradicted"),
    )
    return Outcome(findings=(*found, finding))


def _contradicted(panel: PairPanel, note: str) -> tuple[Example, ...]:
    """The pairs whose label the reward contradicts most surely."""
    order = [int(k) for k in np.argsort(panel.margins) if panel.margins[k] < 0]
    return tuple(pair_example(panel, pair, note) for pair in order[:3])


def _repeats(panel: PairPanel) -> tuple[Finding, ...]:
    """Rows with the same prompt and answers: labels drawn anew contradict each other with chance 2ε(1 − ε)."""
    seen: dict[tuple[str, frozenset[str]], list[int]] = defaultdict(list)
    for k in range(len(panel.rows)):
        answers = frozenset((panel.text(k, "chosen"), panel.text(k, "rejected")))
        if len(answers) == 2:
            seen[text_of(panel.rows[k].prompt), answers].append(k)
    doubles = [rows[:2] for rows in seen.values() if len(rows) > 1]
    if len(doubles) < FEWEST_REPEATS:
        return ()
    opposed = [a for a, b in doubles if panel.text(a, "chosen") != panel.text(b, "chosen")]
    n = len(doubles)
    shares = (len(opposed) / n, *wilson_interval(len(opposed), n, alpha=panel.alpha))
    lapse, low, high = ((1 - math.sqrt(max(1 - 2 * share, 0.0))) / 2 for share in shares)  # ε from 2ε(1 − ε)
    severity = severity_above(low, WRONG_LABELS)
    finding = finding_of(
        "label_noise",
        severity,
        f"Of {n} pairs that the rows hold twice, {len(opposed)} have opposite labels, as if {lapse:.0%} of all "
        "labels were wrong, or as arbitrary as wrong.",
        (lapse, low, high, n),
        advice="Drop or merge them, softened by `soft_label`; `rewardsmith.data.relabel_rows` for the others."
        if severity != "info"
        else NOTHING_TO_DO,
        unit="share of labels",
        examples=[pair_example(panel, a, "the other label is in the rows too") for a in opposed[:3]],
    )
    return (finding,)
