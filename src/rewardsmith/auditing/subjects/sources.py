"""The audit of several sources that are added up: scales, dominance, dead sources, and what a missing one is worth."""

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
    Probe("source_scale", "Do the sources differ within a group by amounts that can be compared?", scale),
    Probe("source_dominance", "Does more than one source decide which completion is better?", dominance),
    Probe("dead_source", "Does every source differ within some groups?", dead_source),
    Probe("missing_source", "Does a completion gain by what a source cannot score?", missing_source),
    Probe("failures", "Does every source return a finite number or None?", lambda baseline: Outcome()),
)


def sources(given: SourceSet, rows: Sequence[Row], *, seed: int) -> Subject:
    """Return the audit of the sources of a sum on given completions.

    Args:
        rows: rows with completions, several to a prompt (or to a `group`).

    Raises:
        RowsError: the rows bring no completions, or no prompt has two.
    """
    kept, groups = grouped(rows)
    if not kept:
        raise RowsError(
            f"audit: {given.name} holds several sources, which are compared on given completions, but no prompt of "
            f"the {len(rows)} rows has two. Give rows with a `completion` each, several to a prompt."
        )

    def prepare(scorers: Mapping[str, Scorer], alpha: float) -> Building[Prepared]:
        formed = {name: resolve_form(scorer, kept).rows for name, scorer in scorers.items()}
        baseline = yield from build_source_baseline(given, kept, groups, formed, alpha=alpha, seed=seed)
        return Prepared(
            kind=f"{len(given.targets)} sources: {', '.join(given.targets)}",
            n_rows=len(baseline.rows),
            honest=kept,
            questions=[(probe, baseline) for probe in PROBES],
            levels={},
        )

    return Subject(given.name, "sources", given.targets, N_QUESTIONS, prepare, rows=rows)
