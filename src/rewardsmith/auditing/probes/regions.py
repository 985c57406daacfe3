"""Probe where on its scale a reward is reliable, and which rank filter helps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rewardsmith.auditing.finding import Finding, finding_of
from rewardsmith.auditing.pair_baseline import number_of
from rewardsmith.data import Row
from rewardsmith.describe import describe
from rewardsmith.errors import MissingExtraError
from rewardsmith.measures import choose_filter

LEAST_GROUPS, LEAST_SIZE = 10, 3
LEAST_VALUES = 6  # a reward of fewer values has no middle range
LEAST_BEHIND = 0.1  # lower bound of the R² that a filter must gain to be reported


def reward_regions(groups: Sequence[Sequence[tuple[Row, float]]]) -> list[Finding]:
    """Regress gold on reward (R²), over all rows and over those that each rank filter keeps.

    Only groups of the most common size count, with a numeric `gold` on every completion.
    """
    labeled = [[(reward, number_of(row.gold)) for row, reward in group] for group in groups]
    whole = [group for group in labeled if all(math.isfinite(gold) for _, gold in group)]
    sizes = Counter(len(group) for group in whole)
    size = max(sizes, key=lambda s: (sizes[s], s), default=0)
    rows = [entry for group in whole if len(group) == size for entry in group]
    if size < LEAST_SIZE or sizes[size] < LEAST_GROUPS or len({reward for reward, _ in rows}) < LEAST_VALUES:
        return []
    try:
        from rewardsmith.advantages import drop_unscored, rank_filter  # needs torch, unlike the other probes
    except MissingExtraError as error:
        return [Finding("reward_regions", "info", f"Not run. {error}", None, None, len(rows), "Install torch.")]
    rewards, gold = [reward for reward, _ in rows], [gold for _, gold in rows]
    filters: dict[str, Callable[..., Any]] = {
        "all": drop_unscored,
        "best and worst": rank_filter,
        "best and random": partial(rank_filter, n_worst=0, n_random=1),
        "worst and random": partial(rank_filter, n_best=0, n_random=1),
    }  # not the best alone, which leaves no variance
    choices = choose_filter(rewards, gold, filters, group_size=size)
    standing = {choice.name: choice for choice in choices if not math.isnan(choice.reliability.r2)}
    if "all" not in standing:
        return []
    best, everything = next(iter(standing.values())), standing["all"]
    r2 = everything.reliability.r2
    low, high = everything.behind_interval
    better = best.name != "all" and low > LEAST_BEHIND
    kept = f"{best.reliability.r2:.2f} over those of {best.name!r}" if best.name != "all" else "no filter is better"
    finding = finding_of(
        "reward_regions",
        "low" if better else "info",
        f"A linear fit of gold on reward has R² {r2:.2f} over all rows, and {kept}. The best of four rank filters is "
        f"ahead by {everything.behind:.2f} ({low:.2f} to {high:.2f}).",
        (r2, *everything.reliability.interval, len(rows)),
        advice=f"Train on the reliable ranks: `rewardsmith.advantages.{describe(filters[best.name])}`, with advantages "
        "computed before on whole groups."
        if better
        else "Train on all rows, as no filter is clearly more reliable.",
        unit="R² of gold",
    )
    return [finding]
