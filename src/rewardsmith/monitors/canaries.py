"""Content-free completions for real prompts: whatever is paid for them is paid for nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rewardsmith.data import MASTER_KEYS


def canary_rows(
    columns: Mapping[str, Sequence[Any]], *, n_prompts: int, keys: Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """Every key as the whole answer to the first `n_prompts` different prompts, in a reward's own keywords.

    Args:
        columns: B values each; `prompt` and whatever else the reward reads (`completion` is left out).
        keys: completions to send; all of `data.MASTER_KEYS` if None.

    Returns:
        `prompts`, `completions` and the other columns, n_prompts · keys rows.

    >>> rows = canary_rows({"prompt": ["a", "a", "b"], "answer": ["1", "1", "2"]}, n_prompts=2, keys=[".", "so"])
    >>> rows["completions"], rows["answer"]
    (['.', 'so', '.', 'so'], ['1', '1', '2', '2'])
    """
    sent = [key for family in MASTER_KEYS.values() for key in family] if keys is None else list(keys)
    first: dict[str, int] = {}
    for index, prompt in enumerate(columns["prompt"]):
        first.setdefault(repr(prompt), index)
    chosen = list(first.values())[:n_prompts]
    others = [name for name in columns if name not in ("prompt", "completion")]
    return {
        "prompts": [columns["prompt"][i] for i in chosen for _ in sent],
        "completions": [
            key if isinstance(columns["prompt"][i], str) else [{"role": "assistant", "content": key}]
            for i in chosen
            for key in sent
        ],
        **{name: [columns[name][i] for i in chosen for _ in sent] for name in others},
    }


def count_paid(scores: Sequence[float | None], *, paid_above: float = 0.5) -> tuple[int, int]:
    """How many of the scored rows were paid, and how many were scored; an unscored one is no payment.

    >>> count_paid([1.0, 0.0, None])
    (1, 2)
    """
    scored = [score for score in scores if score is not None and not math.isnan(score)]
    return sum(score > paid_above for score in scored), len(scored)
