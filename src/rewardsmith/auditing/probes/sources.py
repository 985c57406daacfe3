"""Do the sources of a sum differ by amounts that compare; does each say something; does a missing score gain?"""

from __future__ import annotations

import math

import numpy as np

from rewardsmith.auditing.asking import Answer, Outcome
from rewardsmith.auditing.finding import Finding, Ladder, Severity, finding_of, severity_above, shown
from rewardsmith.auditing.source_baseline import SourceBaseline
from rewardsmith.measures import wilson_interval
from rewardsmith.measures.intervals import clustered_interval, normal_interval
from rewardsmith.measures.source_scales import group_means, source_dominance

SCALE_RATIOS: Ladder = ((10.0, "medium"), (3.0, "low"))
DOMINANT_SHARES: Ladder = ((0.97, "high"), (0.9, "medium"))  # of the variance, that one source may explain
LEAST_RATIO = 2.0  # of scales, from which on a source outweighs another
TOO_FEW = Outcome(not_run="fewer than two sources differ within groups")
MISSING_GAINS: Ladder = ((0.5, "high"), (0.1, "medium"))  # standard deviations within groups
MISSING_SHARES: Ladder = ((0.1, "low"),)
LEAST_GROUPS = 5  # groups with a missing score, from which on its gain is judged


def scale(baseline: SourceBaseline) -> Answer:
    """Compare the spreads of the widest and of the narrowest source."""
    table, scales, alive, ratios = baseline.table, baseline.scales, baseline.alive, baseline.log_ratios
    if len(alive) < 2:
        return TOO_FEW
    ratio, wide, narrow = max((float(ratios[i, j]), i, j) for i in alive for j in alive if i != j)
    error = float(np.nanstd(np.log(scales.stds[:, wide] / scales.stds[:, narrow])))
    low, high = normal_interval(ratio, error, alpha=baseline.alpha)
    low, high = math.exp(max(low, 0.0)), math.exp(high)
    spreads = ", ".join(f"{table.names[k]} {scales.std[k]:.3g}" for k in alive)
    return finding_of(
        "source_scale",
        severity_above(low, SCALE_RATIOS),
        f"Within a group, source {table.names[wide]!r} spreads {math.exp(ratio):.1f} times as wide as "
        f"{table.names[narrow]!r} (standard deviations: {spreads}).",
        (math.exp(ratio), low, high, len(table.rewards)),
        advice="Bring them to one scale before they are added: `rewardsmith.transforms.normalize_sources` within "
        "groups, or `rewardsmith.transforms.scale_sources` by fixed ranges.",
        unit="ratio of standard deviations",
    )


def dominance(baseline: SourceBaseline) -> Answer:
    """Measure which share of the variance within groups one source explains; a fault if it outweighs every other."""
    table, alive, ratios = baseline.table, baseline.alive, baseline.log_ratios
    if len(alive) < 2:
        return TOO_FEW
    found = source_dominance(table, generator=baseline.generator)
    top = max(alive, key=lambda k: float(found.share[k]))
    share, error = float(found.share[top]), float(np.nanstd(found.shares[:, top]))
    low, high = normal_interval(share, error, alpha=baseline.alpha)
    low, high = max(low, 0.0), min(high, 1.0)
    others = [k for k in alive if k != top]
    outweighs = min(float(ratios[top, k]) for k in others) > math.log(LEAST_RATIO)
    rest = ", ".join(f"{table.names[k]} {found.share[k]:.1%}" for k in others)
    return finding_of(
        "source_dominance",
        severity_above(low, DOMINANT_SHARES) if outweighs else "info",
        f"Source {table.names[top]!r} explains {share:.1%} of what tells a group's completions apart; of the "
        f"others, which differ too: {rest}.",
        (share, low, high, len(table.rewards)),
        advice="The small sources are not being optimized: `rewardsmith.transforms.normalize_sources` or "
        "`scale_sources`, then weights that say what each is worth; if one must come first, "
        "`rewardsmith.transforms.gated_sum`.",
        unit="share of the variance within groups",
    )


def dead_source(baseline: SourceBaseline) -> Outcome:
    """Name the sources that pay all completions of every prompt the same."""
    table, found = baseline.table, []
    n_groups = len(np.unique(table.groups))
    for k, name in enumerate(table.names):
        known = table.rewards[~np.isnan(table.rewards[:, k]), k]
        if len(known) and baseline.scales.alive[k] == 0 and table.used[k]:
            constant = f"always pays {known[0]:.4g}" if np.ptp(known) == 0 else "pays all completions of a prompt alike"
            message = f"Source {name!r} {constant} and teaches nothing here."
            advice = "See whether it can ever differ; a source that is satisfied may go, one that fails must be fixed."
            interval = wilson_interval(0, n_groups, alpha=baseline.alpha)
            unit = "share of groups in which it differs"
            found.append(Finding("dead_source", "low", message, 0.0, interval, n_groups, advice, unit))
    return Outcome(findings=tuple(found))


def missing_source(baseline: SourceBaseline) -> Outcome:
    """Compare the rewards of completions that a source did not score with those of their group.

    Whole prompts without a score are routed past the source; within a group, a missing score may be worth having.
    """
    table = baseline.table
    missing = np.isnan(table.rewards)
    total = table.total[:, None]
    known = ~np.isnan(total)
    centered = (total - group_means(total, known, table.groups, int(table.groups.max()) + 1))[:, 0]
    spread = float(np.sqrt(np.nanmean(centered**2))) if known.any() else 0.0
    gains = centered / (spread or 1.0)
    groups, alpha, n = table.groups, baseline.alpha, len(missing)
    found = []
    for k, name in enumerate(table.names):
        lost = missing[:, k]
        if not (lost.any() and table.used[k]):
            continue
        rate = np.bincount(groups, weights=lost) / np.bincount(groups)
        mixed = lost & (rate[groups] < 1)
        paid = [float(np.nanmean(gains[mixed & (groups == g)])) for g in np.unique(groups[mixed & ~np.isnan(gains)])]
        low, high = clustered_interval(paid, range(len(paid)), alpha=alpha)
        gain = float(np.mean(paid)) if paid else 0.0
        severity: Severity = "medium" if lost.all() else "info"
        if not lost.all() and len(paid) >= LEAST_GROUPS:
            severity = severity_above(low, MISSING_GAINS)
        if severity == "info":
            severity = severity_above(wilson_interval(int(mixed.sum()), n, alpha=alpha)[0], MISSING_SHARES)
        told = f" Those are paid {gain:+.2f} standard deviations against their group," if paid else ""
        why = " because the weight of a missing source goes to the others." if paid else ""
        finding = Finding(
            probe="missing_source",
            severity=severity,
            message=f"Source {name!r} has no score for {int(lost.sum())} of {n} completions: "
            f"{int((lost & ~mixed).sum())} of prompts it never scores, {int(mixed.sum())} of prompts on which it "
            f"scores others.{told}{why}",
            value=gain if paid else float(lost.mean()),
            interval=(low, high) if math.isfinite(low) else None,
            n=n,
            advice="Route by the prompt alone (`rewardsmith.rewards.RoutedReward`), and leave a row that lost a source "
            'unscored instead of judging it by the others: `rewardsmith.transforms.weighted_sum(missing="unscored")`.',
            unit="standard deviations within groups" if paid else "share of rows",
            examples=tuple(
                shown(baseline.rows[i], note=f"no score by {name}")
                for i in np.flatnonzero(mixed if mixed.any() else lost)[:3]
            ),
        )
        found.append(finding)
    return Outcome(findings=tuple(found))
