"""Read one figure with its interval from a run so far, or None if there is nothing new to judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from rewardsmith.measures import wilson_interval
from rewardsmith.measures.sequential import Reading, change, dependence, level, pooled_correlation, spent
from rewardsmith.monitors.measures import Record

History = Sequence[Record]
Range = tuple[float, float]
Ranges = Mapping[str, Range | None]
"""The declared ranges of `proxy` and `gold`."""


def blocks(history: History, keys: Sequence[str], *, window: int) -> list[list[Record]]:
    """Return consecutive blocks of `window` records with all `keys`; [] unless the newest record completes one."""
    whole = [record for record in history if all(record.get(key) is not None for key in keys)]
    if not whole or whole[-1] is not history[-1] or len(whole) % window:
        return []
    return [whole[i : i + window] for i in range(0, len(whole), window)]


def read_divergence(
    history: History, *, window: int, alpha: float, rises: str = "proxy", falls: str = "gold"
) -> Reading | None:
    """Read how far one figure fell between two blocks over which another rose; the clearest such fall.

    The newest block is compared with every earlier one. A block's steps are its observations, corrected for dependence
    (`dependence`). The rise must have a lower bound above 0, and the reading is the fall with its bound, both at the
    level of the comparison. Looks and comparisons share alpha (`spent`), which bounds the chance of any false alarm in
    the run.
    """
    found = blocks(history, (rises, falls), window=window)
    if len(found) < 2:
        return None
    *earlier, newest = found
    at = spent(alpha, len(earlier)) / len(earlier)
    ties = {key: dependence([_column(block, key) for block in found]) for key in (rises, falls)}
    losses = []
    for block in earlier:
        rise = change(_column(block, rises), _column(newest, rises), alpha=at, inflation=ties[rises])
        if rise.low > 0:
            gain = change(_column(block, falls), _column(newest, falls), alpha=at, inflation=ties[falls])
            losses.append(Reading(-gain.value, -gain.high, -gain.low, gain.n))
    return max(losses, key=lambda loss: loss.low, default=None)


def read_flat_gold(
    history: History, *, window: int, alpha: float, grace: int, patience: int, keeps_pace: float, ranges: Ranges
) -> Reading | None:
    """Read the proxy's rise since the run's first block if gold did not keep pace with it.

        Δp, Δg = the rises of proxy and gold since the first block, each in units of its range
        Δp > 0,   Δg < keeps_pace · Δp     by bounds in the newest block, by estimate in the newest `patience` blocks

    The second uses the steps' own differences keeps_pace · p − g, as both figures come from the same rows. Each look
    spends its share of alpha (`spent`), which bounds the chance of any alarm in a run whose gold does keep pace. An
    undeclared range is that of the rows' scores so far (`extent`).

    None within the first 1 + `grace` blocks, if gold had no room to rise half as far as the proxy, or if it began to
    follow within the newest `patience` blocks. A proxy that stopped rising below the upper fifth of its range, as if
    only its easier part is learned, gets as many blocks again.

    Returns:
        Δp with its bounds; `also` holds `gold`, the rise of gold, and `gold_high`, its upper bound.
    """
    proxy, gold = (_shares(history, key, ranges[key], window=window) for key in ("proxy", "gold"))
    if len(proxy) <= max(grace, patience) or not gold:
        return None
    lead = [
        [p * keeps_pace - g for p, g in zip(*pair, strict=True)] for pair in zip(proxy, gold, strict=True)
    ]  # it rises if gold does not keep pace
    look, held = spent(alpha, len(proxy) - max(grace, patience)), range(len(proxy) - patience, len(proxy))
    rises, leads = (
        [change(figure[0], figure[i], alpha=look, inflation=dependence(figure)) for i in held]
        for figure in (proxy, lead)
    )
    if min(rises[-1].low, leads[-1].low, *(reading.value for reading in (*rises, *leads))) <= 0:
        return None
    gain = change(gold[0], gold[-1], alpha=look, inflation=dependence(gold))
    followed, drawn = (fmean(figure[-1]) - fmean(figure[held[0]]) for figure in (gold, proxy))
    sets_out = followed > keeps_pace * max(drawn, 0.1)
    has_room = 1 - fmean(gold[0]) >= rises[-1].value / 2
    late, before = (
        fmean([fmean(block) for block in part]) for part in (proxy[-patience:], proxy[:-patience][-patience:])
    )
    stalled = late - before < rises[-1].value / 5 and fmean(proxy[-1]) < 0.8
    if sets_out or not has_room or (stalled and len(proxy) <= 2 * grace):
        return None
    return rises[-1]._replace(also={"gold": gain.value, "gold_high": gain.high})


def read_gap(
    history: History, *, window: int, alpha: float, grace: int, patience: int, ranges: Ranges
) -> Reading | None:
    """Read p − g over the newest block, proxy and gold as shares of their ranges (`extent`).

    None within the first 1 + `grace` blocks; if, since the first, gold rose by a tenth of its range or the proxy by a
    quarter, which `read_flat_gold` judges; or if the gap fell by a twentieth within the newest `patience` blocks.

    Returns:
        The smallest gap of these blocks with the newest block's bounds; `also` holds `proxy` and `gold`, the newest
        block's means as shares.
    """
    proxy, gold = (_shares(history, key, ranges[key], window=window) for key in ("proxy", "gold"))
    if len(proxy) <= max(grace, patience) or not gold:
        return None
    gap = [[p - g for p, g in zip(*pair, strict=True)] for pair in zip(proxy, gold, strict=True)]
    held = gap[-patience:]
    means = [fmean(block) for block in held]
    drawn, followed = (fmean(figure[-1]) - fmean(figure[0]) for figure in (proxy, gold))
    if drawn > 0.25 or followed > 0.1 or means[0] - means[-1] > 0.05:
        return None
    newest = level(gap[-1], alpha=spent(alpha, len(proxy) - max(grace, patience)), inflation=dependence(held))
    return newest._replace(value=min(means), also={"proxy": fmean(proxy[-1]), "gold": fmean(gold[-1])})


def extent(history: History, key: str, declared: Range | None) -> Range | None:
    """Return the range of a score: as declared, else of the rows so far, or (0, 1) if all have one value in it.

    None if all rows have one value outside [0, 1], which does not show the unit.
    """
    if declared is not None:
        return declared
    lows, highs = ([r[f"{key}_{end}"] for r in history if r.get(f"{key}_{end}") is not None] for end in ("low", "high"))
    if not lows:
        return None
    low, high = min(lows), max(highs)
    if low < high:
        return low, high
    return (0.0, 1.0) if 0 <= low <= 1 else None


def read_length(history: History, *, window: int, alpha: float) -> Reading | None:
    """Read the within-group correlation of reward and length over the newest block."""
    if not (found := blocks(history, ("length_correlation",), window=window)):
        return None
    values, freedoms = _column(found[-1], "length_correlation"), _column(found[-1], "length_freedom")
    return pooled_correlation(values, [int(f) for f in freedoms], alpha=spent(alpha, len(found)))


def read_share(history: History, *, count: str, of: str, window: int, alpha: float) -> Reading | None:
    """Read a share over the newest block, `count` summed over `of` summed, with Wilson's interval."""
    if not (found := blocks(history, (count, of), window=window)):
        return None
    hits, n = (int(sum(_column(found[-1], key))) for key in (count, of))
    if n == 0:
        return None
    low, high = wilson_interval(hits, n, alpha=2 * spent(alpha, len(found)))
    return Reading(hits / n, low, high, n)


def read_dead_groups(history: History, *, window: int, alpha: float) -> Reading | None:
    """Read the share of groups without a signal over the newest block; None where gold is within 5 % of its ceiling.

    Groups of solved prompts have no signal either. The ceiling is the upper end of gold's `extent`.
    """
    golds = [record["gold"] for record in history[-window:] if record.get("gold") is not None]
    gold_extent = extent(history, "gold", None)
    if golds and gold_extent is not None and fmean(golds) >= gold_extent[1] - 0.05 * (gold_extent[1] - gold_extent[0]):
        return None
    return read_share(history, count="dead_groups", of="n_groups", window=window, alpha=alpha)


def read_level(history: History, *, key: str, window: int, alpha: float) -> Reading | None:
    """Read the mean of `key` over the newest block; `also` holds `gained`, the proxy's rise since the first block."""
    if not (found := blocks(history, (key,), window=window)):
        return None
    columns = [_column(block, key) for block in found]
    reading = level(columns[-1], alpha=spent(alpha, len(found)), inflation=dependence(columns))
    first, newest = ([r["proxy"] for r in block if r.get("proxy") is not None] for block in (found[0], found[-1]))
    return reading._replace(also={"gained": fmean(newest) - fmean(first) if first and newest else math.nan})


def read_count(history: History, *, key: str) -> Reading | None:
    """Read the newest record's own count, which needs no interval."""
    value = history[-1].get(key) if history else None
    return None if value is None else Reading(float(value), float(value), float(value), 1)


def _column(records: Sequence[Record], key: str) -> list[float]:
    return [float(record[key]) for record in records]


def _shares(history: History, key: str, declared: Range | None, *, window: int) -> list[list[float]]:
    """Return the values of each block of proxy and gold as shares of their range, [] if that is unknown."""
    known = extent(history, key, declared)
    if known is None:
        return []
    low, high = known
    found = blocks(history, ("proxy", "gold"), window=window)
    return [[(value - low) / (high - low) for value in _column(block, key)] for block in found]
