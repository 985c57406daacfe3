"""Probe the sources of a sum: scales, dominance, dead sources, missing scores."""

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
DOMINANT_SHARES: Ladder = ((0.97, "high"), (0.9, "medium"))  # of the variance explained by one source
LEAST_RATIO = 2.0  # of scales from which a source outweighs another
TOO_FEW = Outcome(not_run="fewer than two sources vary within groups")
MISSING_GAINS: Ladder = ((0.5, "high"), (0.1, "medium"))  # standard deviations within groups
MISSING_SHARES: Ladder = ((0.1, "low"),)
LEAST_GROUPS = 5  # groups with a missing score, to judge its gain


def scale(baseline: SourceBaseline) -> Answer:
    """Compare the spread of the widest and the narrowest source."""
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
        f"Within a group, the spread of source {table.names[wide]!r} is {math.exp(ratio):.1f} times that of "
        f"{table.names[narrow]!r}. The standard deviations are {spreads}.",
        (math.exp(ratio), low, high, len(table.rewards)),
        advice="Rescale them before adding: `rewardsmith.transforms.normalize_sources` within groups, or "
        "`rewardsmith.transforms.scale_sources` by fixed ranges.",
        unit="ratio of standard deviations",
    )


def dominance(baseline: SourceBaseline) -> Answer:
    """Measure the share of within-group variance of one source; a fault if it outweighs all others."""
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
        f"Source {table.names[top]!r} explains {share:.1%} of the variance within groups. The others explain {rest}.",
        (share, low, high, len(table.rewards)),
        advice="The small sources are hardly optimized. Use `rewardsmith.transforms.normalize_sources` or "
        "`scale_sources`, then set weights. If one source must come first, use `rewardsmith.transforms.gated_sum`.",
        unit="share of the variance within groups",
    )


def dead_source(baseline: SourceBaseline) -> Outcome:
    """Find the sources that score all completions of every prompt the same."""
    table, found = baseline.table, []
    n_groups = len(np.unique(table.groups))
    for k, name in enumerate(table.names):
        known = table.rewards[~np.isnan(table.rewards[:, k]), k]
        if len(known) and baseline.scales.alive[k] == 0 and table.used[k]:
            constant = f"is always {known[0]:.4g}" if np.ptp(known) == 0 else "scores a prompt's completions equally"
            message = f"Source {name!r} {constant}, so it carries no signal here."
            advice = "Check whether it can ever vary. Drop it if it is always satisfied, and fix it if it always fails."
            interval = wilson_interval(0, n_groups, alpha=baseline.alpha)
            unit = "share of groups in which it varies"
            found.append(Finding("dead_source", "low", message, 0.0, interval, n_groups, advice, unit))
    return Outcome(findings=tuple(found))


def missing_source(baseline: SourceBaseline) -> Outcome:
    """Compare completions without a score of some source with the rest of their group.

    A prompt without any score was routed past the source. Within a group, a missing score may raise the reward.
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
        by_group = [
            float(np.nanmean(gains[mixed & (groups == g)])) for g in np.unique(groups[mixed & ~np.isnan(gains)])
        ]
        low, high = clustered_interval(by_group, range(len(by_group)), alpha=alpha)
        gain = float(np.mean(by_group)) if by_group else 0.0
        severity: Severity = "medium" if lost.all() else "info"
        if not lost.all() and len(by_group) >= LEAST_GROUPS:
            severity = severity_above(low, MISSING_GAINS)
        if severity == "info":
            severity = severity_above(wilson_interval(int(mixed.sum()), n, alpha=alpha)[0], MISSING_SHARES)
        effect = f" Those differ by {gain:+.2f} standard deviations from their group," if by_group else ""
        why = " as the weight of a missing source goes to the others." if by_group else ""
        finding = Finding(
            probe="missing_source",
            severity=severity,
            message=f"Source {name!r} has no score for {int(lost.sum())} of {n} completions. Of these, "
            f"{int(mixed.sum())} have a scored completion in their group.{effect}{why}",
            value=gain if by_group else float(lost.mean()),
            interval=(low, high) if math.isfinite(low) else None,
            n=n,
            advice="Route only by the prompt (`rewardsmith.rewards.RoutedReward`). Leave a row with a missing source "
            'unscored: `rewardsmith.transforms.weighted_sum(missing="unscored")`.',
            unit="standard deviations within groups" if by_group else "share of rows",
            examples=tuple(
                shown(baseline.rows[i], note=f"no score by {name}")
                for i in np.flatnonzero(mixed if mixed.any() else lost)[:3]
            ),
        )
        found.append(finding)
    return Outcome(findings=tuple(found))
