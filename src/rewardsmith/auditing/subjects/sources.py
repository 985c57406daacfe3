"""Audit several summed sources: their scales, dominance, dead sources, and missing scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewardsmith.auditing.asking import Building, Outcome, Prepared, Probe, Subject
from rewardsmith.auditing.probes.sources import dead_source, dominance, missing_source, scale
from rewardsmith.auditing.source_baseline import build_source_baseline, grouped
from rewardsmith.data import Row
from rewardsmith.errors import RowsError
from rewardsmith.scoring import Scorer, SourceSet
from rewardsmith.scoring.score_rows import resolve_form

N_QUESTIONS = 16
PROBES: tuple[Probe, ...] = (
    Probe("source_scale", "Do the sources have comparable scales within a group?", scale),
    Probe("source_dominance", "Does more than one source decide which completion is better?", dominance),
    Probe("dead_source", "Does every source vary within some groups?", dead_source),
    Probe("missing_source", "Does a completion gain when a source has no score for it?", missing_source),
    Probe("failures", "Does every source return a finite number or None?", lambda baseline: Outcome()),
)


def sources(given: SourceSet, rows: Sequence[Row], *, seed: int) -> Subject:
    """Return the audit of the sources of a sum on given completions.

    Args:
        rows: rows with completions, several per prompt (or `group`).

    Raises:
        RowsError: no prompt has two completions.
    """
    kept, groups = grouped(rows)
    one = f"{given.name}[{next(iter(given.targets))}]"
    if not kept:
        raise RowsError(
            f"audit: {given.name} has several sources, which are compared on given completions, but no prompt of the "
            f"{len(rows)} rows has two. Give rows with a `completion` each, several per prompt, or audit one source: "
            f"{one}."
        )

    each = Outcome(not_run=f"the questions to one reward are not asked here; audit {one}, and so on")

    def prepare(scorers: Mapping[str, Scorer], alpha: float) -> Building[Prepared]:
        formed = {name: resolve_form(scorer, kept).rows for name, scorer in scorers.items()}
        baseline = yield from build_source_baseline(given, kept, groups, formed, alpha=alpha, seed=seed)
        return Prepared(
            kind=f"{len(given.targets)} sources: {', '.join(given.targets)}",
            n_rows=len(baseline.rows),
            honest=kept,
            questions=[
                *((probe, baseline) for probe in PROBES),
                (Probe("each_source", "Is each source sound by itself?", lambda baseline: each, False), baseline),
            ],
            levels={},
        )

    return Subject(given.name, "sources", given.targets, N_QUESTIONS, prepare, rows=rows)
