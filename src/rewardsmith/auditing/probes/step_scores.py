"""Do step scores stay the same when they are asked again, and with later steps in sight? Which range do they span?"""

from __future__ import annotations

from collections.abc import Sequence

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.finding import Example, Finding, Ladder, counted, severity_above, share_finding, shown
from rewardsmith.auditing.step_baseline import StepBaseline
from rewardsmith.data import Row
from rewardsmith.scoring import with_steps
from rewardsmith.scoring.work import Scored

MOST_CHAINS = 32  # of which steps are scored again
LEAST_CHANGE = 0.02  # of the range of step scores
CHANGED_SHARES: Ladder = ((0.1, "medium"), (0.02, "low"))
NOTHING_SCORED = "too few steps could be scored"


def step_determinism(baseline: StepBaseline) -> Asking:
    """Score the same steps again."""
    (again,) = yield [Ask(_prefixes(baseline), nonce="again")]
    changed, n = _changed(baseline, again, _prefixes(baseline), LEAST_CHANGE * baseline.spread)
    if not changed:
        return Outcome()
    finding = share_finding(
        "step_determinism",
        "medium",
        f"The same steps, scored again, get other scores in {len(changed)} of {n} cases.",
        counted(len(changed), n, alpha=baseline.alpha),
        advice="Average several calls; a reward that keeps state must be rewritten: we ship no repair for that.",
        unit="share of steps",
        examples=changed,
    )
    return Outcome(findings=(finding,))


def prefix_consistency(baseline: StepBaseline) -> Asking:
    """Score every step but the last with the steps after it in sight; what varies from call to call does not count."""
    rows = [
        with_steps(chain.row, chain.steps, k)
        for chain in baseline.chains[:MOST_CHAINS]
        for k in range(len(chain.steps) - 1)
    ]
    whole, again = yield [Ask(rows), Ask(_prefixes(baseline), nonce="again")]
    noise = [
        abs(before - after.reward)
        for before, after in zip(_scores(baseline), again, strict=True)
        if before is not None and after.reward is not None
    ]
    changed, n = _changed(baseline, whole, rows, max([LEAST_CHANGE * baseline.spread, *noise]))
    if n == 0:
        return Outcome(not_run=NOTHING_SCORED)
    share = counted(len(changed), n, alpha=baseline.alpha)
    finding = share_finding(
        "prefix_consistency",
        severity_above(share.low, CHANGED_SHARES),
        f"{len(changed)} of {n} steps are scored otherwise when the steps after them are in sight.",
        share,
        advice="Score every step as the last of its prefix, in training as in evaluation: a step must not be paid "
        "for what comes after it. `rewardsmith.scoring.process.StepScore` does so, one row per prefix.",
        unit="share of steps",
        examples=changed,
    )
    return Outcome(findings=(finding,))


def step_range(baseline: StepBaseline) -> Outcome:
    """State the range that step scores span."""
    known = baseline.scores
    if not known:
        return Outcome(not_run=NOTHING_SCORED)
    low, high = min(known), max(known)
    message = f"{len(known)} step scores span [{low:.4g}, {high:.4g}]."
    finding = Finding("step_range", "info", message, None, (low, high), len(known), "Nothing to do.", "step score")
    return Outcome(findings=(finding,))


def _prefixes(baseline: StepBaseline) -> list[Row]:
    """Every step but the last, as the last of its prefix."""
    return [
        with_steps(chain.row, chain.steps[: k + 1])
        for chain in baseline.chains[:MOST_CHAINS]
        for k in range(len(chain.steps) - 1)
    ]


def _scores(baseline: StepBaseline) -> list[float | None]:
    return [score for chain in baseline.chains[:MOST_CHAINS] for score in chain.scores[:-1]]


def _changed(
    baseline: StepBaseline, after: Sequence[Scored], rows: Sequence[Row], least: float
) -> tuple[list[Example], int]:
    """The rows whose scores differ from the baseline's by more than `least`, largest first, and how many there were."""
    compared = [
        (row, a, b.reward)
        for row, a, b in zip(rows, _scores(baseline), after, strict=True)
        if a is not None and b.reward is not None
    ]
    changed = [entry for entry in compared if abs(entry[1] - entry[2]) > least]
    changed.sort(key=lambda entry: -abs(entry[1] - entry[2]))
    return [shown(row, b, a) for row, a, b in changed], len(compared)
