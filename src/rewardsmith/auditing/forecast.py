"""Expect the calls of an audit before it begins, by a rehearsal with a literal reward that is never called."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from typing import Any

from rewardsmith.auditing.asking import Building, Probe
from rewardsmith.auditing.baseline import Baseline, Sizes, items_of, keyed_rows
from rewardsmith.data import Row
from rewardsmith.scoring.speed import MOST_TRIED
from rewardsmith.scoring.work import Scored


def first_rows(rows: Sequence[Row], *, rng: random.Random, sizes: Sizes) -> list[Row]:
    """Return the rows that an audit sends first: bare right and wrong answers."""
    items, _ = items_of(rows, keyed_rows(rows), rng=rng, size=sizes.items)
    texts = [(item, text) for item in items for text in item.trio]
    return [item.row.with_completion(text) for item, text in texts[:MOST_TRIED]]


def is_key(row: Row) -> bool:
    """Return whether the completion is the key."""
    return row.answer is not None and row.text.strip() == row.answer.strip()


def calls_of(building: Building[Baseline], probes: Sequence[Probe], accepts: Callable[[Row], bool] = is_key) -> int:
    """Return how many calls the baseline and all probes make of a reward that accepts nothing else."""
    known, calls = set[tuple[str, str]](), 0

    def drive(running: Building[Any]) -> Any:
        nonlocal calls
        reply: Any = None
        while True:
            try:
                asks = running.send(reply)
            except StopIteration as stop:
                return stop.value
            for ask in asks:
                rows = {(row.prompt_text, row.text) for row in ask.rows}
                calls += len(ask.rows) if ask.nonce else len(rows - known)
                known.update(() if ask.nonce else rows)
            reply = [[Scored(float(accepts(row)), None) for row in ask.rows] for ask in asks]

    baseline = drive(building)
    for probe in probes:
        asking = probe.ask(baseline)
        if isinstance(asking, Generator):
            drive(asking)
    return calls
