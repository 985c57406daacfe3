"""Ask whether the members of an ensemble differ, and what all of them like that they should not."""

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
from rewardsmith.auditing.pair_baseline import Floats, PairPanel
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS
from rewardsmith.data import Row
from rewardsmith.measures import shared_hack_drift, underspecification
from rewardsmith.measures.intervals import normal_interval
from rewardsmith.measures.members import PRESSURES, Drift
from rewardsmith.scoring import Target

COPIES: tuple[tuple[float, Severity], ...] = ((1e-4, "high"), (0.01, "medium"))
"""A member of which another surely explains all but this share of the variance is a copy, that bad: its own part is
then below a hundredth, or a tenth, of what it says."""
BATCH = 512
OWN_UNIT = "share of a member's variance that another does not explain"
LOOKS: dict[str, Callable[[str], int]] = {
    "length": lambda text: len(text.split()),
    "list items": lambda text: sum(line.lstrip().startswith(("-", "*", "•")) for line in text.splitlines()),
    "bold": lambda text: text.count("**"),
}
"""What is counted in a completion, to see what optimization moves."""


class Twins(NamedTuple):
    """Two members. own: share of the variance of margins, 1 − ρ², that the other does not explain, with an interval."""

    first: int
    second: int
    own: float
    interval: tuple[float, float]


def member_twins(margins: ArrayLike, *, alpha: float = 0.05) -> tuple[Twins, ...]:
    """How much every two members differ, whatever their scales and levels, the most alike first.

        own = 1 − ρ²,    ρ the correlation of their score differences within pairs, Fisher's interval

    Within pairs, because the level of a prompt is left open by comparisons, so that even copies may differ in it. Of
    members that are copies up to scale, level and a little noise, it is near 0, and the spread of an ensemble of them
    says nothing of what it does not know.

    Args:
        margins: (n, K) chosen minus rejected, by member; a pair that one of them did not score does not count.

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
    """Whether the reward gives several members' numbers."""
    reward: Any = target.reward
    return hasattr(reward, "source_rewards") and (hasattr(reward, "members") or hasattr(reward, "heads"))


def members(panel: PairPanel, reward: Any) -> Outcome:
    """Look for copies among the members; how they part under pressure; what they drift to together.

    Their numbers come from the reward's own `source_rewards`, which rounds of questions do not carry. Without a pool of
    several completions to a prompt, copies are all that is looked for. The pool is cut into groups of the usual size;
    prompts with fewer completions are left out.
    """
    pairs = range(len(panel.rows))
    chosen, rejected = (
        source_rewards(reward, [panel.row(k, panel.text(k, side)) for k in pairs]) for side in ("chosen", "rejected")
    )
    if chosen.shape[1] < 2 or len(pairs) < FEWEST_PAIRS:
        reason = f"there are {chosen.shape[1]} members and {len(pairs)} pairs; it takes 2 and {FEWEST_PAIRS}"
        return Outcome(not_run=reason)
    copies = _copies(member_twins(chosen - rejected, alpha=panel.alpha), chosen.shape[1], len(pairs))
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(panel.pool):
        by_prompt[row.prompt_text].append(place)
    size = int(np.median([len(group) for group in by_prompt.values()])) if by_prompt else 0
    places = [place for group in by_prompt.values() if len(group) >= size for place in group[:size]]
    rows, gold = [panel.pool[place] for place in places], panel.gold[places] if len(panel.gold) else np.zeros(0)
    n = [count for count in PRESSURES if count <= size]
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
    most = parted.by_pressure[-1]
    finding = finding_of(
        "underspecification",
        "info",
        f"Members right on {min(parted.accuracy):.1%} to {max(parted.accuracy):.1%} of the pairs part under "
        f"optimization. The best of {most.n} by one of them looks {most.gap:+.2f} standard deviations better to it "
        f"than to the others (rank correlation {most.spearman:.2f} there).",
        (most.gap, *most.interval, most.n),
        advice="Optimize an aggregate that doubts (`transforms.mean_minus_std`), and watch a member that is left out.",
        unit="standard deviations",
    )
    return Outcome(findings=(copies, finding, *(_drifting(drift, true) for drift in drifts)))


def source_rewards(reward: Any, rows: Sequence[Row]) -> Floats:
    """(n, K) the members' numbers, NaN where there is none."""
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
    pair, advice = twins[0], NOTHING_TO_DO  # the two most alike
    message = (
        f"The {n_members} members differ. Of the two most alike ({pair.first} and {pair.second}) one explains all but "
        f"{pair.own:.1%} of the other. They share their data, so a small spread is no certificate."
    )
    for bound, severity_below in COPIES[::-1]:
        if copied := [pair for pair in twins if pair.interval[1] < bound]:
            pair, severity = copied[-1], severity_below
            listed = "; ".join(f"{pair.second} is a copy of {pair.first}" for pair in copied[:5])
            more = f", and {len(copied) - 5} more pairs" if len(copied) > 5 else ""
            message = (
                f"Of {n_members} members {listed}{more}, up to scale and level. What the ensemble's spread says of its "
                "ignorance is not to be believed."
            )
            advice = (
                "Train members from pretraining seeds, or at least seeds and subsets, of their own: "
                "`rewardsmith train-reward --members 3 --model A --model B --subset 0.8`."
            )
    return Finding("members", severity, message, pair.own, pair.interval, n, advice, OWN_UNIT)


def _drifting(drift: Drift, true: Sequence[Drift]) -> Finding:
    """A feature that every score moves is a hack where gold surely does not move it so far, else a question."""
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
        f"Under optimization every member moves {drift.feature} by {least:+.2f} standard deviations or more "
        f"per unit of log n{known}. No aggregate takes that out.",
        (least, min(low for low, _ in ends), max(high for _, high in ends), len(drift.slopes)),
        advice="Balance the pairs in it, or subtract it (`transforms.length_penalty`), unless it is part of quality.",
        unit="standard deviations per log n",
    )
