"""Let verifiers state why a row is unscored, at no cost for scored rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

from rewardsmith.data import completion_text
from rewardsmith.data.keys import read_key
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion

P = ParamSpec("P")


def with_reasons(reasoned: Callable[P, list[float | Unscored]]) -> Callable[P, list[float | None]]:
    """Make a verifier return None for `Unscored(why)`; its attribute `reasoned` keeps the reasons."""

    @wraps(reasoned)
    def verifier(*args: P.args, **options: P.kwargs) -> list[float | None]:
        return [None if isinstance(score, Unscored) else score for score in reasoned(*args, **options)]

    verifier.reasoned = reasoned  # type: ignore[attr-defined]
    return verifier


def by_key(
    completions: Sequence[Completion], answer: Sequence[Any], score: Callable[[str, str], float | Unscored]
) -> list[float | Unscored]:
    """Score each completion's text by its key's text, or return the reason why there is no key."""
    keys = map(read_key, answer)
    return [
        Unscored(why) if key is None else score(completion_text(completion), key)
        for completion, (key, why) in zip(completions, keys, strict=True)
    ]


def no_key(answer: Any, what: str) -> Unscored:
    """Return the reason why a key is not usable, with the key's beginning."""
    shown = str(answer)
    return Unscored(f"the key {what}: {shown if len(shown) <= 80 else shown[:79] + '…'!r}")
