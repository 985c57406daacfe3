"""Probe whether a process reward finds the first wrong step, and flaws in right answers."""

from __future__ import annotations

import math
from itertools import pairwise

from rewardsmith.auditing.asking import Answer, Outcome
from rewardsmith.auditing.finding import Example, Ladder, clip, counted, finding_of, severity_above
from rewardsmith.auditing.step_baseline import StepBaseline
from rewardsmith.measures import first_error_f1, flawed_positive_rate
from rewardsmith.measures.labels import first_below, first_wrong, label_of

MOST_CUTS = 64  # thresholds tried
MISSES: Ladder = ((0.75, "high"), (0.5, "medium"))  # lower bound of 1 − F1
PASSED_SHARES: Ladder = ((0.5, "medium"), (0.2, "low"))


def first_error(baseline: StepBaseline) -> Answer:
    """Compare the first step below the threshold with the first step labeled wrong."""
    true = _labeled(baseline)
    if not any(label is not None for label in true):
        return Outcome(not_run="the rows have no step labels", applies=False)
    cut = _threshold(baseline)
    predicted = [first_below(chain.scores, cut) for chain in baseline.chains]
    f1 = first_error_f1(predicted, true, alpha=baseline.alpha)
    if not (f1.n_erroneous and f1.n_correct):
        reason = "chains with and without a wrong step are needed, and one kind is missing"
        return Outcome(not_run=reason, applies=False)
    missed = [
        chain for chain, p, t in zip(baseline.chains, predicted, true, strict=True) if None not in (p, t) and p != t
    ]
    return finding_of(
        "first_error",
        severity_above(1 - f1.high, MISSES),
        f"With threshold {cut:.3g}{' (best on these rows)' if baseline.threshold is None else ''} the first wrong step "
        f"is found in {f1.on_erroneous:.0%} of {f1.n_erroneous} chains that have one. {f1.on_correct:.0%} of "
        f"{f1.n_correct} sound chains pass. F1 is {f1.f1:.2f}.",
        (f1.f1, f1.low, f1.high, f1.n_erroneous + f1.n_correct),
        advice="Use a judge that names the first wrong step: `rewardsmith.rewards.FirstErrorJudge`, trained with "
        "`rewardsmith.rewards.localization_reward`.",
        unit="F1 of the first wrong step",
        examples=[Example(clip(c.row.prompt_text), clip("\n\n".join(c.steps)), None) for c in missed[:3]],
    )


def undetected_flaws(baseline: StepBaseline) -> Answer:
    """Count right answers with a wrong step and no step below the threshold."""
    true = _labeled(baseline)
    correct = [label_of(chain.row.gold) for chain in baseline.chains]
    share = flawed_positive_rate(correct, [None if t is None else t >= 0 for t in true], alpha=baseline.alpha)
    cut = _threshold(baseline)
    judged = [
        place
        for chain, t, z in zip(baseline.chains, true, correct, strict=True)
        if z and t is not None and t >= 0 and (place := first_below(chain.scores, cut)) is not None
    ]
    if not judged:
        return Outcome(not_run="no right answer is labeled flawed", applies=False)
    passed = counted(judged.count(-1), len(judged), alpha=baseline.alpha)
    return finding_of(
        "undetected_flaws",
        severity_above(passed.low, PASSED_SHARES),
        f"{share.value:.0%} of {share.n} right answers have a step labeled wrong. {judged.count(-1)} of "
        f"{len(judged)} of these have no step below the threshold.",
        passed,
        advice="Reward right answers with a wrong step less than sound ones: "
        "`rewardsmith.transforms.flawed_positive_penalty` with a detector that finds them.",
        unit="share of flawed right answers that pass",
    )


def _labeled(baseline: StepBaseline) -> list[int | None]:
    return [None if chain.labels is None else first_wrong(chain.labels) for chain in baseline.chains]


def _threshold(baseline: StepBaseline) -> float:
    """Return the given threshold, or the best in F1 of up to 64 cuts between step scores; NaN is lowest."""
    if baseline.threshold is not None:
        return baseline.threshold
    known = sorted(set(baseline.scores))
    cuts = [(a + b) / 2 for a, b in pairwise(known)] or known or [0.5]
    true = _labeled(baseline)

    def f1_at(cut: float) -> float:
        f1 = first_error_f1([first_below(chain.scores, cut) for chain in baseline.chains], true).f1
        return -1.0 if math.isnan(f1) else f1

    return max(cuts[:: max(1, len(cuts) // MOST_CUTS)], key=f1_at)
