"""Probe step scores: noise, dependence on later steps, and range."""

from __future__ import annotations

from collections.abc import Sequence

from rewardsmith.auditing.asking import Answer, Ask, Building, Outcome
from rewardsmith.auditing.finding import (
    NOTHING_TO_DO,
    Example,
    Finding,
    Ladder,
    counted,
    finding_of,
    severity_above,
    shown,
)
from rewardsmith.auditing.step_baseline import StepBaseline
from rewardsmith.data import Row
from rewardsmith.scoring import with_steps
from rewardsmith.scoring.work import Scored

MOST_CHAINS = 32  # chains whose steps are scored again
LEAST_CHANGE = 0.02  # of the range of step scores
CHANGED_SHARES: Ladder = ((0.1, "medium"), (0.02, "low"))
NOTHING_SCORED = "too few steps could be scored"


def step_determinism(baseline: StepBaseline) -> Building[Answer]:
    """Score the same steps again, and compare."""
    rows = _steps(baseline)
    (again,) = yield [Ask(rows, nonce="again")]
    found = _differences(baseline, rows, again)
    changed = [example for difference, example in found if difference > LEAST_CHANGE * baseline.spread]
    n = len(found)
    if not changed:
        return Outcome()
    return finding_of(
        "step_determinism",
        "medium",
        f"The same steps scored again get other scores in {len(changed)} of {n} cases.",
        counted(len(changed), n, alpha=baseline.alpha),
        advice="Average several calls. Rewrite a reward that keeps state.",
        unit="share of steps",
        examples=changed,
    )


def prefix_consistency(baseline: StepBaseline) -> Building[Answer]:
    """Score every step but the last with later steps in the input; noise does not count."""
    rows, prefixes = _steps(baseline, in_sight=True), _steps(baseline)
    whole, again = yield [Ask(rows), Ask(prefixes, nonce="again")]
    least = [LEAST_CHANGE * baseline.spread, *(noise for noise, _ in _differences(baseline, prefixes, again))]
    found = _differences(baseline, rows, whole)
    changed, n = [example for difference, example in found if difference > max(least)], len(found)
    if n == 0:
        return Outcome(not_run=NOTHING_SCORED)
    share = counted(len(changed), n, alpha=baseline.alpha)
    return finding_of(
        "prefix_consistency",
        severity_above(share.low, CHANGED_SHARES),
        f"{len(changed)} of {n} steps get another score when later steps are in the input.",
        share,
        advice="Score every step as the last of its prefix, in training and in evaluation. "
        "`rewardsmith.scoring.process.StepScore` does so, one row per prefix.",
        unit="share of steps",
        examples=changed,
    )


def step_range(baseline: StepBaseline) -> Answer:
    """Report the range of step scores."""
    known = baseline.scores
    if not known:
        return Outcome(not_run=NOTHING_SCORED)
    low, high = min(known), max(known)
    message = f"{len(known)} step scores span [{low:.4g}, {high:.4g}]."
    return Finding("step_range", "info", message, None, (low, high), len(known), NOTHING_TO_DO, "step score")


def _steps(baseline: StepBaseline, *, in_sight: bool = False) -> list[Row]:
    """Return every step but the last, as the last of its prefix or (`in_sight`) before its later steps."""
    return [
        with_steps(chain.row, chain.steps, k) if in_sight else with_steps(chain.row, chain.steps[: k + 1])
        for chain in baseline.chains[:MOST_CHAINS]
        for k in range(len(chain.steps) - 1)
    ]


def _differences(baseline: StepBaseline, rows: Sequence[Row], after: Sequence[Scored]) -> list[tuple[float, Example]]:
    """Return |score − baseline| of the rows of `_steps`, each with its row, largest first."""
    before = [score for chain in baseline.chains[:MOST_CHAINS] for score in chain.scores[:-1]]
    found = [
        (abs(a - b.reward), shown(row, b.reward, a))
        for row, a, b in zip(rows, before, after, strict=True)
        if a is not None and b.reward is not None
    ]
    return sorted(found, key=lambda entry: -entry[0])
