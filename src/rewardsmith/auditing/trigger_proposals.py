"""Propose trigger texts by a reward model's gradient."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from rewardsmith.data import Row
from rewardsmith.rewards.models.triggers import Differentiable, Scene
from rewardsmith.scoring import Target

logger = logging.getLogger(__name__)
T = TypeVar("T")

RowsWith = Callable[[str], Sequence[Row]]
"""Map a trigger to the rows that contain it; "" leaves its place empty."""


def behind(completion: str, text: str) -> str:
    """Write the text on a line after a completion, or alone if that is empty."""
    return f"{completion}\n{text}" if completion else text


def before(completion: str, text: str) -> str:
    """Write the text on a line before a completion, or alone if that is empty."""
    return f"{text}\n{completion}" if completion else text


PLACES: dict[str, Callable[[str, str], str]] = {"append": behind, "open with": before}
"""Places of a trigger, each with the function that writes it there."""


class TriggerProposer(NamedTuple):
    """Proposes triggers for rows without scoring them; warns where no gradient can be taken."""

    gradient: Differentiable

    def suggest(self, rows_with: RowsWith, trigger: str, *, n: int, rng: random.Random) -> list[str]:
        """Return at most n texts, best first: `trigger` with one token replaced or added."""
        return _tried(lambda: self.gradient.suggest(_scene(rows_with), trigger, n=n, rng=rng), [])

    def draw(self, rows_with: RowsWith, trigger: str, *, n: int, rng: random.Random) -> list[str]:
        """Return at most n random texts of as many tokens as `trigger`."""
        return _tried(lambda: self.gradient.draw(_scene(rows_with), trigger, n=n, rng=rng), [])


def proposer_of(target: Target) -> TriggerProposer | None:
    """Return the proposer of a reward that is a function of its token embeddings; else None."""
    make: Callable[[], Differentiable | None] = getattr(target.reward, "differentiable", lambda: None)
    found = _tried(make, None)
    return None if found is None else TriggerProposer(found)


def _scene(rows_with: RowsWith) -> Scene:
    rows = rows_with("")
    names = dict.fromkeys(name for row in rows for name in row.columns)
    columns = {name: [row.columns.get(name) for row in rows] for name in names}

    def write(text: str) -> list[Any]:
        return [row.completion for row in rows_with(text)]

    return Scene([row.prompt for row in rows], write, columns)


def _tried(ask: Callable[[], T], otherwise: T) -> T:
    """Return the result of `ask`; a failing gradient warns, as the audit can do without it."""
    try:
        return ask()
    except Exception as error:
        logger.warning("audit: the reward's gradient cannot be used (%s: %s).", type(error).__name__, error)
        return otherwise
