"""Which rows of a batch stand behind an alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rewardsmith.monitors.measures import known

Shows = Literal["paid", "longest", "unscored", "canaries"]


def evidence(rows: Sequence[Mapping[str, Any]], shows: Shows, *, n: int = 5) -> tuple[dict[str, Any], ...]:
    """The `n` rows that show best what an alarm is about, worst first, each with plain values.

        paid      the highest reward; among equals the lowest gold
        longest   the most tokens; among equals the highest reward
        unscored  those without a reward; none where all have one
        canaries  completions of no content that the reward pays, the highest reward first

    Args:
        rows: mappings with `prompt`, `completion`, `reward` and `gold` (None or NaN where unknown), `length`, and
            `canary`, True for a row that no policy wrote.

    >>> rows = [{"completion": c, "reward": r, "gold": g} for c, r, g in (("a", 1.0, 1.0), ("b", 1.0, 0.0))]
    >>> [row["completion"] for row in evidence(rows, "paid")]
    ['b', 'a']
    """
    plain: list[dict[str, Any]] = [
        {name: known(v) if isinstance(v, float) else v for name, v in row.items()} for row in rows
    ]
    own = [row for row in plain if bool(row.pop("canary", False)) == (shows == "canaries")]
    if shows == "unscored":
        return tuple(row for row in own if row["reward"] is None)[:n]
    scored = [row for row in own if row["reward"] is not None]
    scored.sort(key=lambda row: (-row["reward"], math.inf if row.get("gold") is None else row["gold"]))
    if shows == "longest":
        scored.sort(key=lambda row: -(row.get("length") or 0))  # stable: the paid stay first among equals
    return tuple(scored[:n])
