"""How a verifier says why it leaves a row unscored, without a cost where it scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

from rewardsmith.data import completion_text
from rewardsmith.data.keys import read_key
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion

P = ParamSpec("P")


def says_why(reasoned: Callable[P, list[float | Unscored]]) -> Callable[P, list[float | None]]:
    """Make a verifier give None in place of `Unscored(why)`, which the same call of its attribute `reasoned` gives."""

    @wraps(reasoned)
    def verifier(*args: P.args, **options: P.kwargs) -> list[float | None]:
        return [None if isinstance(score, Unscored) else score for score in reasoned(*args, **options)]

    verifier.reasoned = reasoned  # type: ignore[attr-defined]
    return verifier


def by_key(
    completions: Sequence[Completion], answer: Sequence[Any], score: Callable[[str, str], float | Unscored]
) -> list[float | Unscored]:
    """Score each completion's text by its key's, or say why the key is none."""
    keys = map(read_key, answer)
    return [
        Unscored(why) if key is None else score(completion_text(completion), key)
        for completion, (key, why) in zip(completions, keys, strict=True)
    ]


def no_key(answer: Any, what: str) -> Unscored:
    """Say that a key is not `what`, with its beginning."""
    shown = str(answer)
    return Unscored(f"the key {what}: {shown if len(shown) <= 80 else shown[:79] + '…'!r}")
