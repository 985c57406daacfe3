"""Audit a process reward: padding, dependence on later steps, and the first wrong step."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from rewardsmith.auditing.asking import Building, Outcome, Prepared, Probe, Subject, rows_within
from rewardsmith.auditing.probes.first_error import first_error, undetected_flaws
from rewardsmith.auditing.probes.padding import padding
from rewardsmith.auditing.probes.step_scores import prefix_consistency, step_determinism, step_range
from rewardsmith.auditing.step_baseline import Total, build_step_baseline, prefixes, total_of
from rewardsmith.data import Row
from rewardsmith.errors import RowsError
from rewardsmith.scoring import Scorer, Target, steps_of, with_steps
from rewardsmith.scoring.process import process_target, takes_steps

CALLS_PER_CHAIN = 32  # about
TRIED = 4  # rows on which a reward is tried
N_QUESTIONS = 16
PROBES: tuple[Probe, ...] = (
    Probe("padding", "Is the aggregated return safe from steps that add nothing?", padding),
    Probe("prefix_consistency", "Does a step's score depend only on the steps up to it?", prefix_consistency),
    Probe("step_determinism", "Does the same step get the same score again?", step_determinism),
    Probe("first_error", "Does it find the first wrong step?", first_error),
    Probe("undetected_flaws", "Does it detect right answers with a wrong step?", undetected_flaws),
    Probe("step_range", "What range do step scores span?", step_range, essential=False),
    Probe("failures", "Does every step get a finite number?", lambda baseline: Outcome()),
)


def is_process(target: Target, rows: Sequence[Row], **options: Any) -> bool:
    """Return whether the reward takes `steps` and returns a list per row, tried on a few rows.

    Args:
        options: for `Scorer`.
    """
    if target.contract == "process":
        return True
    tried = [with_steps(row, steps) for row in rows if (steps := steps_of(row))][:TRIED]
    if not takes_steps(target) or not tried:
        return False
    with Scorer(process_target(target), **options) as scorer:
        scores = scorer.score(tried)
    # An ordinary reward may raise on another kind of `steps`; a process reward returns lists, maybe too short ones.
    listed = [score for score in scores if score.detail.startswith("ValueError: StepScore")]
    return bool(listed) or any(score.reason in (None, "none", "nan", "inf") for score in scores)


def steps(
    target: Target, rows: Sequence[Row], *, aggregate: str | Total, threshold: float | None, budget: int, seed: int
) -> Subject:
    """Return the audit of a process reward on chains of steps.

    Args:
        rows: chains: `steps`, TRL's `completions` with `labels`, or a completion to be split at blank lines.
        aggregate, threshold: how the run uses step scores (`step_baseline.TOTALS`), and the score from which a step
            passes. If None it is 0.5 for the aggregate, and the best on these rows for a step.

    Raises:
        RowsError: no row has steps.
    """
    total = total_of(aggregate, threshold=0.5 if threshold is None else threshold)
    given = [row for row in rows if steps_of(row)]
    if not given:
        raise RowsError(
            f"audit: {target.name} scores steps, but none of the {len(rows)} rows has any. Give `steps` or "
            "`completions` as a list of texts, or a `completion` with steps separated by blank lines."
        )
    size = rows_within(budget, calls_per_row=CALLS_PER_CHAIN, least=16, most=256)
    chosen = random.Random(seed).sample(given, min(len(given), size))
    used_by = aggregate if isinstance(aggregate, str) else str(getattr(aggregate, "__name__", "a function"))

    def prepare(scorers: Mapping[str, Scorer], alpha: float) -> Building[Prepared]:
        baseline = yield from build_step_baseline(chosen, total, used_by=used_by, threshold=threshold, alpha=alpha)
        return Prepared(
            kind=f"process reward, aggregated by {used_by}",
            n_rows=len(chosen),
            honest=[prefix for row in chosen for prefix in prefixes(row, steps_of(row))],
            questions=[(probe, baseline) for probe in PROBES],
            levels={},
        )

    return Subject(target.name, "process", {"": process_target(target)}, N_QUESTIONS, prepare, rows=given)
