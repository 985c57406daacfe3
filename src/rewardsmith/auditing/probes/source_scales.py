"""Do the sources of a sum differ by amounts that can be compared, or does one of them decide alone?"""

from __future__ import annotations

import math

import numpy as np

from rewardsmith.auditing.asking import Outcome
from rewardsmith.auditing.finding import Finding, Ladder, severity_above
from rewardsmith.auditing.source_baseline import SourceBaseline
from rewardsmith.measures.intervals import normal_interval
from rewardsmith.measures.source_scales import source_dominance

SCALE_RATIOS: Ladder = ((10.0, "medium"), (3.0, "low"))
DOMINANT_SHARES: Ladder = ((0.97, "high"), (0.9, "medium"))  # of the variance, that one source may explain
LEAST_RATIO = 2.0  # of scales, from which on a source outweighs another
TOO_FEW = Outcome(not_run="fewer than two sources differ within groups")


def scale(baseline: SourceBaseline) -> Outcome:
    """Compare the spreads of the widest and of the narrowest source."""
    table, scales, alive, ratios = baseline.table, baseline.scales, baseline.alive, baseline.log_ratios
    if len(alive) < 2:
        return TOO_FEW
    ratio, wide, narrow = max((float(ratios[i, j]), i, j) for i in alive for j in alive if i != j)
    error = float(np.nanstd(np.log(scales.stds[:, wide] / scales.stds[:, narrow])))
    low, high = normal_interval(ratio, error, alpha=baseline.alpha)
    low, high = math.exp(max(low, 0.0)), math.exp(high)
    spreads = ", ".join(f"{table.names[k]} {scales.std[k]:.3g}" for k in alive)
    finding = Finding(
        probe="source_scale",
        severity=severity_above(low, SCALE_RATIOS),
        message=f"Within a group, source {table.names[wide]!r} spreads {math.exp(ratio):.1f} times as wide as "
        f"{table.names[narrow]!r} (standard deviations: {spreads}).",
        value=math.exp(ratio),
        interval=(low, high),
        n=len(table.rewards),
        advice="Bring them to one scale before they are added: `rewardsmith.transforms.normalize_sources` within "
        "groups, or `rewardsmith.transforms.scale_sources` by fixed ranges.",
        unit="ratio of standard deviations",
    )
    return Outcome(findings=(finding,))


def dominance(baseline: SourceBaseline) -> Outcome:
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
    finding = Finding(
        probe="source_dominance",
        severity=severity_above(low, DOMINANT_SHARES) if outweighs else "info",
        message=f"Source {table.names[top]!r} explains {share:.1%} of what tells a group's completions apart; of the "
        f"others, which differ too: {rest}.",
        value=share,
        interval=(low, high),
        n=len(table.rewards),
        advice="The small sources are not being optimized: `rewardsmith.transforms.normalize_sources` or "
        "`scale_sources`, then weights that say what each is worth; if one must come first, "
        "`rewardsmith.transforms.gated_sum`.",
        unit="share of the variance within groups",
    )
    return Outcome(findings=(finding,))
