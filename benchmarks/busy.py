"""Rewards of a known cost, in a module of their own so that worker processes can import them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from rewardsmith.data import Row


def busy_exact(completions: Sequence[str], answer: Sequence[str], *, seconds: float, **columns: Any) -> list[float]:
    """1.0 where the completion is the answer; every row keeps a processor busy for `seconds`."""
    return [_verdict(text, key, seconds) for text, key in zip(completions, answer, strict=True)]


def _verdict(text: str, key: str, seconds: float) -> float:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return float(text.strip() == key)


def costing(seconds: float) -> Callable[..., list[float]]:
    """`busy_exact` at this cost per row."""
    return partial(busy_exact, seconds=seconds)


def bare_seconds(n_rows: int, *, seconds: float, batch_size: int = 16) -> float:
    """Wall time of the same reward on `n_rows` rows in a plain loop, `batch_size` at a time, in this process."""
    start = time.perf_counter()
    for first in range(0, n_rows, batch_size):
        size = min(batch_size, n_rows - first)
        busy_exact(["41"] * size, ["42"] * size, seconds=seconds)
    return time.perf_counter() - start


def sums(n: int) -> list[Row]:
    """Prompts that differ, with their answers."""
    return [Row(f"What is {k} + {k + 7}?", None, {"answer": str(2 * k + 7)}) for k in range(10, 10 + n)]


def completed(rows: Iterable[Row]) -> list[Row]:
    """The same rows with their answers as completions."""
    return [row.with_completion(row.answer or "") for row in rows]
