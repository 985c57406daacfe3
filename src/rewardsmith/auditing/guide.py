"""What a reward's gradient proposes, where it has one: texts that, written into completions, should be paid."""

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
"""A trigger's text to the rows with it in its place; "" leaves the place empty."""


def behind(completion: str, text: str) -> str:
    """The text on a line of its own behind a completion; alone where there is none."""
    return f"{completion}\n{text}" if completion else text


def before(completion: str, text: str) -> str:
    """The text on a line of its own before a completion; alone where there is none."""
    return f"{text}\n{completion}" if completion else text


PLACES: dict[str, Callable[[str, str], str]] = {"append": behind, "open with": before}
"""Where a trigger may stand, by what one does to put it there."""


class Guide(NamedTuple):
    """Proposes triggers for rows and scores none of them; where a gradient cannot be taken it warns."""

    gradient: Differentiable

    def suggest(self, rows_with: RowsWith, trigger: str, *, n: int, rng: random.Random) -> list[str]:
        """At most n texts, best first: `trigger` with one token swapped, or with one more."""
        return _tried(lambda: self.gradient.suggest(_scene(rows_with), trigger, n=n, rng=rng), [])

    def draw(self, rows_with: RowsWith, trigger: str, *, n: int, rng: random.Random) -> list[str]:
        """At most n random texts of as many tokens as `trigger`."""
        return _tried(lambda: self.gradient.draw(_scene(rows_with), trigger, n=n, rng=rng), [])


def guide_of(target: Target) -> Guide | None:
    """The guide of a reward that is a function of its tokens' embeddings, as reward models are; else None."""
    make: Callable[[], Differentiable | None] = getattr(target.reward, "differentiable", lambda: None)
    found = _tried(make, None)
    return None if found is None else Guide(found)


def _scene(rows_with: RowsWith) -> Scene:
    rows = rows_with("")
    names = dict.fromkeys(name for row in rows for name in row.columns)
    columns = {name: [row.columns.get(name) for row in rows] for name in names}

    def write(text: str) -> list[Any]:
        return [row.completion for row in rows_with(text)]

    return Scene([row.prompt for row in rows], write, columns)


def _tried(ask: Callable[[], T], otherwise: T) -> T:
    """Models are many: what one of them makes of a gradient must not end an audit that needs none."""
    try:
        return ask()
    except Exception as error:
        logger.warning("audit: the reward's gradient cannot be used (%s: %s).", type(error).__name__, error)
        return otherwise
