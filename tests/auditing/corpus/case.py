"""A reward of the corpus with the rows that suit it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from tests.auditing.corpus.prompts import Maker


class Case(NamedTuple):
    """A reward, rows that suit it, and the probes of which any one names its flaw rightly; none if it is sound."""

    make: Callable[[], Any]
    rows: Maker
    expected: frozenset[str] = frozenset()
    workers: int = 0
    """1 where only a process of its own can be stopped."""


def case_in(
    cases: dict[str, Case], rows: Maker, *expected: str, workers: int = 0, name: str | None = None
) -> Callable[[Any], Any]:
    """Enter the decorated function, or the class of which every audit needs a new instance, under its name."""

    def enter(reward: Any) -> Any:
        make = reward if isinstance(reward, type) else lambda: reward
        cases[name or reward.__name__] = Case(make, rows, frozenset(expected), workers)
        return reward

    return enter


FLAWED: dict[str, Case] = {}
"""Rewards with one planted flaw each."""
SOUND: dict[str, Case] = {}
flawed = partial(case_in, FLAWED)
sound = partial(case_in, SOUND)
