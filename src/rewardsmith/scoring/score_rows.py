"""score: rows in hand, one result each, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewardsmith.data import Row, Rows
from rewardsmith.data.rows import as_rows
from rewardsmith.scoring.forms import resolve_form
from rewardsmith.scoring.scorer import Scorer
from rewardsmith.scoring.targets import Target
from rewardsmith.scoring.work import NO_TEXT, Scored


def score(reward: Target | Callable[..., Any], rows: Rows, **options: Any) -> list[Scored]:
    """Score rows by a `Scorer` with the given options, which is closed again.

    Args:
        rows: `Row`s, or what `read_rows` reads: mappings, a `datasets.Dataset`, a file's name. Where the reward raises
            on every one of them, they are given in the other form, messages for strings or strings for messages.

    >>> def exact(completions, answer):
    ...     return [float(c == a) for c, a in zip(completions, answer)]
    >>> rows = [{"prompt": "2+2?", "completion": text, "answer": "4"} for text in ("4", "5")]
    >>> rewards_of(score(exact, rows, workers=0))
    [1.0, 0.0]
    """
    given = as_rows(rows)
    with Scorer(reward, **options) as scorer:
        return in_either_form(scorer, given)


def in_either_form(scorer: Scorer, rows: Sequence[Row], keys: Sequence[str] | None = None) -> list[Scored]:
    """Score rows as they are or, where the reward raises on every one and not in the other form, in that."""
    found = scorer.score(rows, keys=keys)
    if any(result.reward is not None for result in found):
        return found
    if {result.reason for result in found if result != NO_TEXT} != {"exception"}:
        return found
    formed = resolve_form(scorer, rows)
    return found if formed.form == "as given" else scorer.score(formed.rows)


def rewards_of(scored: Sequence[Scored]) -> list[float | None]:
    """The rewards alone, None where unscored."""
    return [result.reward for result in scored]
