"""Expert iteration: sample, keep the best by reward, imitate, and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rewardsmith._check import check_range
from rewardsmith.data import Row


class ExpertRound(NamedTuple):
    """What a round drew and kept: rewards of the scored samples, those of the kept ones, and the unscored samples."""

    rewards: list[float]
    kept: list[float]
    n_unscored: int


def expert_iteration(
    sample: Callable[[int, Sequence[Row], int], Sequence[Sequence[str]]],
    reward: Callable[..., Sequence[float | None]],
    imitate: Callable[[int, list[dict[str, Any]]], None],
    rows: Sequence[Row],
    *,
    n_samples: int = 64,
    keep: int = 1,
    rounds: int = 1,
) -> list[ExpertRound]:
    """Imitate the best of many samples of each prompt, round by round.

    Of each prompt, the `keep` samples of the highest rewards are kept, the first of equal ones. A prompt whose scored
    samples all have one reward keeps none, as they show no difference. A sample without a score is never kept.
    Denison et al. 2024, arXiv:2406.10162, use 512 prompts of 64 samples each; Anthony et al. 2017, arXiv:1705.08439.

    Args:
        sample: (round from 0, rows, samples of each) → a list of texts for each row, from the policy as it is then.
        reward: in TRL's contract; called for the samples of one prompt at a time.
        imitate: (round, kept rows with `prompt`, `completion`, `reward` and the columns) trains the policy in place.

    >>> def right(completions, answer, **columns):
    ...     return [float(text == key) for text, key in zip(completions, answer)]
    >>> rows = [Row(prompt="2+2=", columns={"answer": "4"})]
    >>> imitate = lambda number, kept: print([row["completion"] for row in kept])
    >>> found = expert_iteration(lambda number, rows, n: [["3", "4", "5"]], right, imitate, rows, n_samples=3)
    ['4']
    """
    check_range("expert_iteration", "keep", keep, 1, n_samples)
    found = []
    for number in range(rounds):
        done, imitated = ExpertRound([], [], 0), []
        for row, texts in zip(rows, sample(number, rows, n_samples), strict=True):
            columns = {name: [value] * len(texts) for name, value in row.columns.items()}
            scores = reward(prompts=[row.prompt] * len(texts), completions=list(texts), **columns)
            known = [(s, t) for s, t in zip(scores, texts, strict=True) if s is not None and math.isfinite(s)]
            known.sort(key=lambda pair: -pair[0])  # stable
            best = known[:keep] if known and known[0][0] > known[-1][0] else []
            imitated += [{**row.columns, "prompt": row.prompt, "completion": text, "reward": s} for s, text in best]
            done.rewards.extend(s for s, _ in known)
            done.kept.extend(s for s, _ in best)
            done = done._replace(n_unscored=done.n_unscored + len(texts) - len(known))
        if imitated:
            imitate(number, imitated)
        found.append(done)
    return found
