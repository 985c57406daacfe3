"""How a verifier says why it leaves a row unscored, without a cost where it scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from rewardsmith.data import read_key
from rewardsmith.scoring.calling import Unscored

F = TypeVar("F", bound=Callable[..., Any])


def says_why(reasoned: Callable[..., list[float | Unscored]]) -> Callable[[F], F]:
    """Give a verifier the attribute `reasoned`: the same call, with `Unscored(why)` in place of None."""

    def mark(verifier: F) -> F:
        verifier.reasoned = reasoned  # type: ignore[attr-defined]
        return verifier

    return mark


def scores_of(verdicts: Iterable[float | Unscored]) -> list[float | None]:
    """Return the scores alone, None where a row is unscored."""
    return [None if isinstance(verdict, Unscored) else verdict for verdict in verdicts]


def key_text(answer: Any) -> str | Unscored:
    """Return the text of a key, or why it is none."""
    if isinstance(answer, str):
        return answer
    text, why = read_key(answer)
    return Unscored(why) if text is None else text


def no_key(answer: Any, what: str) -> Unscored:
    """Say that a key is not `what`, with its beginning."""
    shown = str(answer)
    return Unscored(f"the key {what}: {shown if len(shown) <= 80 else shown[:79] + '…'!r}")
