"""Probe an ensemble: whether its members differ, and which biases they share."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith.auditing.asking import Outcome
from rewardsmith.auditing.finding import NOTHING_TO_DO, Finding, Severity, finding_of
from rewardsmith.auditing.pair_baseline import Floats, PairBaseline
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS
from rewardsmith.data import Row
from rewardsmith.measures import shared_hack_drift, underspecification
from rewardsmith.measures.intervals import normal_interval
from rewardsmith.measures.members import BEST_OF, Drift
from rewardsmith.scoring import Target

COPIES: tuple[tuple[float, Severity], ...] = ((1e-4, "high"), (0.01, "medium"))
"""Severity of a copy by the upper bound of its own share of variance."""
BATCH = 512
OWN_UNIT = "share of a member's variance that another does not explain"
LOOKS: dict[str, Callable[[str], int]] = {
    "length": lambda text: len(text.split()),
    "list items": lambda text: sum(line.lstrip().startswith(("-", "*", "•")) for line in text.splitlines()),
    "bold": lambda text: text.count("**"),
}
"""Features of a completion that optimization may move."""


class Twins(NamedTuple):
    """Two members and `own`, the share 1 − ρ² of margin variance that the other does not explain."""

    first: int
    second: int
    own: float
    interval: tuple[float, float]


def member_twins(margins: ArrayLike, *, alpha: float = 0.05) -> tuple[Twins, ...]:
    """Measure how much every two members differ, whatever their scale and level; most similar first.

        own = 1 − ρ²,    ρ the correlation of their score differences within pairs, Fisher's interval

    Differences within pairs are used because comparisons leave the level of a prompt open. `own` is near 0 for copies
    up to scale, level and a little noise; the spread of such an ensemble does not measure uncertainty.

    Args:
        margins: (n, K) chosen minus rejected, by member; a pair with an unscored member does not count.

    >>> [twins] = member_twins([[1.0, 2.0], [2.0, 4.0], [-1.0, -2.0], [0.5, 1.0]])
    >>> round(twins.own, 6)
    0.0
    """
    table = np.asarray(margins, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(
            f"member_twins: margins have shape {table.shape}. Pass (pairs, members) with two members or more."
        )
    table = table[np.isfinite(table).all(axis=1)]
    n, found = len(table), []
    for i, j in combinations(range(table.shape[1]), 2):
        if n < 4 or np.ptp(table[:, i]) == 0 or np.ptp(table[:, j]) == 0:
            found.append(Twins(i, j, math.nan, (0.0, 1.0)))
            continue
        rho = float(np.clip(np.corrcoef(table[:, i], table[:, j])[0, 1], -1, 1))
        if abs(rho) == 1:
            found.append(Twins(i, j, 0.0, (0.0, 0.0)))
            continue
        far, near = normal_interval(math.atanh(abs(rho)), 1 / math.sqrt(n - 3), alpha=alpha)
        ends = (1 - math.tanh(near) ** 2, 1 - math.tanh(max(far, 0.0)) ** 2)
        found.append(Twins(i, j, 1 - rho**2, ends))
    return tuple(sorted(found, key=lambda twins: twins.own if not math.isnan(twins.own) else math.inf))


def has_members(target: Target) -> bool:
    """Return whether the reward returns scores of several members."""
    reward: Any = target.reward
    return hasattr(reward, "source_rewards") and (hasattr(reward, "members") or hasattr(reward, "heads"))


def members(baseline: PairBaseline, reward: Any) -> Outcome:
    """Look for copies among members, their disagreement under best-of-n, and shared drifts.

    The scores come from the reward's own `source_rewards`, not from the rounds. Without a pool of several completions
    per prompt only copies are looked for. The pool is cut into groups of the median size; smaller ones are left out.
    """
    pairs = range(len(baseline.rows))
    chosen, rejected = (
        source_rewards(reward, [baseline.row(k, baseline.text(k, side)) for k in pairs])
        for side in ("chosen", "rejected")
    )
    if chosen.shape[1] < 2 or len(pairs) < FEWEST_PAIRS:
        reason = f"{chosen.shape[1]} members and {len(pairs)} pairs, but it takes 2 and {FEWEST_PAIRS}"
        return Outcome(not_run=reason)
    copies = _copies(member_twins(chosen - rejected, alpha=baseline.alpha), chosen.shape[1], len(pairs))
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(baseline.pool):
        by_prompt[row.prompt_text].append(place)
    size = int(np.median([len(group) for group in by_prompt.values()])) if by_prompt else 0
    places = [place for group in by_prompt.values() if len(group) >= size for place in group[:size]]
    rows, gold = (
        [baseline.pool[place] for place in places],
        baseline.gold[places] if len(baseline.gold) else np.zeros(0),
    )
    n = [count for count in BEST_OF if count <= size]
    if len(n) < 2:
        return Outcome(findings=(copies,))
    table = source_rewards(reward, rows)
    spread = np.nanstd(table, axis=0)
    standard = (table - np.nanmean(table, axis=0)) / np.where(spread > 0, spread, 1.0)
    scores = {f"member {k}": table[:, k] for k in range(table.shape[1])} | {"mean": standard.mean(axis=1)}
    looks = {name: [float(count(row.text)) for row in rows] for name, count in LOOKS.items()}
    true = shared_hack_drift(looks, {"gold": gold}, group_size=size, n=n) if np.isfinite(gold).all() else ()
    drifts = [drift for drift in shared_hack_drift(looks, scores, group_size=size, n=n) if drift.shared]
    parted = underspecification(table, group_size=size, chosen=chosen, rejected=rejected, n=n)
    most = parted.by_n[-1]
    finding = finding_of(
        "underspecification",
        "info",
        f"Members with accuracies of {min(parted.accuracy):.1%} to {max(parted.accuracy):.1%} disagree under "
        f"optimization. The best of {most.n} by one member scores {most.gap:+.2f} standard deviations higher "
        f"with it than with the others (rank correlation {most.spearman:.2f}).",
        (most.gap, *most.interval, most.n),
        advice="Optimize a conservative aggregate (`transforms.mean_minus_std`), and monitor a held-out member.",
        unit="standard deviations",
    )
    return Outcome(findings=(copies, finding, *(_drifting(drift, true) for drift in drifts)))


def source_rewards(reward: Any, rows: Sequence[Row]) -> Floats:
    """Return (n, K) scores of the members, NaN where missing."""
    found: list[Any] = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        names = {name for row in part for name in row.columns}
        columns = {name: [row.columns.get(name) for row in part] for name in names}
        found += reward.source_rewards([row.prompt for row in part], [row.completion for row in part], **columns)
    width = max((len(row) for row in found if isinstance(row, list)), default=0)
    table = [row if isinstance(row, list) else [math.nan] * width for row in found]
    return np.array(table, dtype=np.float64).reshape(len(rows), width)


def _copies(twins: Sequence[Twins], n_members: int, n: int) -> Finding:
    severity: Severity = "info"
    pair, advice = twins[0], NOTHING_TO_DO  # the most similar two
    message = (
        f"The {n_members} members differ. Of the most similar two ({pair.first}, {pair.second}) one explains all but "
        f"{pair.own:.1%} of the other. They share training data, so a small spread is no proof of certainty."
    )
    for bound, severity_below in COPIES[::-1]:
        if copied := [pair for pair in twins if pair.interval[1] < bound]:
            pair, severity = copied[-1], severity_below
            listed = "; ".join(f"{pair.second} is a copy of {pair.first}" for pair in copied[:5])
            more = f", and {len(copied) - 5} more pairs" if len(copied) > 5 else ""
            message = (
                f"Of {n_members} members {listed}{more}, up to scale and level. The ensemble's spread does not measure "
                "its uncertainty."
            )
            advice = (
                "Train members from different pretrained models, or at least with different seeds and subsets: "
                "`rewardsmith train-reward --members 3 --model A --model B --subset 0.8`."
            )
    return Finding("members", severity, message, pair.own, pair.interval, n, advice, OWN_UNIT)


def _drifting(drift: Drift, true: Sequence[Drift]) -> Finding:
    """Report a feature that every score moves; it is a hack if gold does not move it as far."""
    ends = list(drift.intervals.values())
    gold = next((one for one in true if one.feature == drift.feature), None)
    hack, known = False, ""
    if gold is not None:
        (below, above), known = gold.intervals["gold"], f", gold by {gold.slopes['gold']:+.2f}"
        if drift.shared > 0:
            hack = all(low > max(above, 0.0) for low, _ in ends)
        else:
            hack = all(high < min(below, 0.0) for _, high in ends)
    least = min(drift.slopes.values(), key=abs)
    return finding_of(
        "shared_hack",
        "medium" if hack else "info",
        f"Under optimization every member moves {drift.feature} by {least:+.2f} standard deviations or more per unit "
        f"of log n{known}. No aggregate of the members removes that.",
        (least, min(low for low, _ in ends), max(high for _, high in ends), len(drift.slopes)),
        advice="Balance the pairs in it or penalize it (`transforms.length_penalty`), unless it is part of quality.",
        unit="standard deviations per log n",
    )
