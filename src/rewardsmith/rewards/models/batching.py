"""Group rows into forward passes: equal lengths together, a budget of tokens each, a shared prompt read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rewardsmith.rewards.models.encoding import Encoded, shared_length

TOKEN_BUDGET, ACCELERATED_BUDGET = 1024, 32_768
"""Tokens per forward pass, padding included, on a CPU and elsewhere."""
MOST_ROWS = 512
LEAST_SAVED = 0.1
"""A prompt is read separately from its completions if that saves at least this share of its rows' tokens."""
LEFT_BEHIND = 16
"""Prompts are read together if at most this share (one in ...) of the longer one's tokens is repeated."""
FEW, MANY = 4, 16
"""The fewest rows of unequal length to pad; the row counts up to which a padded pass checks one row, else two."""
UNIT = 8
"""One batch may hold this many token budgets after its prompts; a killed job loses at most that."""


class Batch(NamedTuple):
    """Rows that are read together.

    rows: their indices.
    prefix: the number of first tokens that are read once for all rows of a prompt; 0 reads every row whole.
    leaders: for each distinct prefix, one row that has it.
    owner: for each row, the index of its prefix.
    """

    rows: list[int]
    prefix: int = 0
    leaders: tuple[int, ...] = ()
    owner: tuple[int, ...] = ()


class _Group(NamedTuple):
    prefix: int
    rows: list[int]


def plan_batches(
    encoded: Sequence[Encoded], *, share: bool, budget: int = TOKEN_BUDGET, most_rows: int = MOST_ROWS
) -> list[Batch]:
    """Put every row into exactly one batch, the longest first, so that running out of memory shows at once.

    Args:
        share: read prompts with several completions once.
        budget: tokens per batch, padding included; a longer row has a batch of its own.
        most_rows: rows per batch.
    """
    groups = []
    by_key: dict[str, list[int]] = {}
    for row, item in enumerate(encoded if share else ()):
        by_key.setdefault(item.key, []).append(row)
    for rows in by_key.values():
        if len(rows) > 1:  # their common start is read once, up to the first read position
            first_read = min(encoded[row].reads[0] if encoded[row].reads else 0 for row in rows)
            prefix = min(shared_length([encoded[row].ids for row in rows]), first_read)
            if (len(rows) - 1) * prefix >= LEAST_SAVED * sum(len(encoded[row].ids) for row in rows):
                groups.append(_Group(prefix, rows))
    grouped = {row for group in groups for row in group.rows}
    batches: list[Batch] = []
    pending: list[_Group] = []  # whole prompts with prefixes of similar length; the shortest prefix is read separately
    for group in sorted(groups, key=lambda group: (-group.prefix, group.rows[0])):
        joined = [*pending, group]
        prefix = group.prefix  # the shortest so far
        tokens = sum(len(encoded[row].ids) - prefix for g in joined for row in g.rows)
        near = joined[0].prefix - prefix <= max(4, joined[0].prefix // LEFT_BEHIND)
        n_rows = sum(len(g.rows) for g in joined)
        if pending and not (near and tokens <= budget and len(joined) * prefix <= budget and n_rows <= most_rows):
            batches += _together(encoded, pending, budget)
            joined = [group]
        pending = joined
    if pending:
        batches += _together(encoded, pending, budget)
    alone = [row for row in range(len(encoded)) if row not in grouped]
    lengths = {row: len(encoded[row].ids) for row in alone}
    ordered = sorted(alone, key=lambda row: (-lengths[row], row))
    start = 0
    while start < len(ordered):
        width = lengths[ordered[start]]
        rows = ordered[start : start + max(1, min(most_rows, budget // max(1, width)))]
        own = [lengths[row] for row in rows]
        rows = rows if padding_saves(own) else rows[: own.count(width)]
        batches.append(Batch(rows))
        start += len(rows)
    return batches


def padding_saves(lengths: Sequence[int]) -> bool:
    """Return whether one padded pass with its check rows takes fewer passes than one pass per length.

    >>> padding_saves([5, 4, 4, 4]), padding_saves([5, 4, 3, 3])
    (False, True)
    """
    return len(lengths) >= FEW and len(set(lengths)) > 1 + witnesses(len(lengths))


def witnesses(n_rows: int) -> int:
    """Return the number of rows of a padded pass that are also read alone, as a check."""
    return 2 if n_rows >= MANY else 1


def cut(lengths: Sequence[int], *, budget: int, most_rows: int, extra: int = 0) -> list[tuple[int, int]]:
    """Return consecutive slices whose number of rows times largest length stays within `budget`.

    Args:
        extra: further tokens that every row keeps in memory, such as its prompt's; a quarter of them counts.

    >>> cut([5, 4, 4, 2, 2, 1], budget=8, most_rows=3)
    [(0, 1), (1, 3), (3, 6)]
    """
    found: list[tuple[int, int]] = []
    start, widest = 0, 0
    for place, length in enumerate(lengths):
        rows = place - start + 1
        widest = max(widest, length)
        if rows > 1 and (rows > most_rows or rows * max(widest, (widest + extra) / 4) > budget):
            found.append((start, place))
            start, widest = place, length
    if start < len(lengths):
        found.append((start, len(lengths)))
    return found


def _together(encoded: Sequence[Encoded], groups: Sequence[_Group], budget: int) -> Iterator[Batch]:
    prefix = groups[-1].prefix
    owner = {row: number for number, group in enumerate(groups) for row in group.rows}
    rows = sorted(owner, key=lambda row: (-len(encoded[row].ids), row))
    leaders = tuple(group.rows[0] for group in groups)
    most, start, total = UNIT * max(budget, prefix), 0, 0
    for place, row in enumerate(rows):
        size = len(encoded[row].ids) - prefix
        if place > start and total + size > most:
            yield Batch(rows[start:place], prefix, leaders, tuple(owner[row] for row in rows[start:place]))
            start, total = place, 0
        total += size
    yield Batch(rows[start:], prefix, leaders, tuple(owner[row] for row in rows[start:]))
