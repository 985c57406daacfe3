"""Does a reward read the prompt? Look-alike prompts with different answers, and each answer under the other prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from rewardsmith.data import ContrastPair, PreferenceRow, Row
from rewardsmith.measures import wilson_interval
from rewardsmith.scoring import Target, rewards_of, score

Interval = tuple[float, float]


class ContrastConsistency(NamedTuple):
    """How often a reward tells which of two look-alike prompts an answer belongs to; chance is 0.5.

    c_res: the prompt held fixed, its own answer above the look-alike's. c_ins: the answer held fixed, its own prompt
        above the look-alike's, which asks that rewards compare across prompts: pairwise training leaves that free, so
        read it only for a reward that was centered or trained across prompts. Never average the two.
    iid_acc: accuracy on the held-out preferences, for comparison; NaN without any.
    n: pairs with all four scores. intervals: 95 % of each by name; pairs, not directions, count as independent.
    """

    c_res: float
    c_ins: float
    iid_acc: float
    n: int
    intervals: dict[str, Interval]


def contrast_consistency(
    reward: Target | Callable[..., Any],
    pairs: Sequence[ContrastPair],
    *,
    held_out: Sequence[PreferenceRow] = (),
    alpha: float = 0.05,
    **options: Any,
) -> ContrastConsistency:
    """Score each of two look-alike prompts with its own and with the other's answer.

        C_res = mean 1[ R(I₁, r₁) > R(I₁, r₂) ],    C_ins = mean 1[ R(I₁, r₁) > R(I₂, r₁) ]      over both directions

    Shen et al. 2023, arXiv:2309.16155. Ties count half, so a reward that ignores the prompt has C_ins 0.5, and 0.5 in
    C_res too, however well it does on held-out pairs. A pair with an unscored text is left out.

    Args:
        reward: any reward, verifier or judge of prompt and completion.
        pairs: as `data.mine_contrast_pairs` finds them.
        held_out: preferences on which its ordinary accuracy is taken.
        options: for `rewards.score`, such as `workers` and `timeout`.

    >>> pair = ContrastPair("sum 2 3", "5", "sum 2 4", "6", 0.8)
    >>> right = lambda prompts, completions: [
    ...     float(sum(map(int, p.split()[1:])) == int(c)) for p, c in zip(prompts, completions)
    ... ]
    >>> contrast_consistency(right, [pair], workers=0)[:2]
    (1.0, 1.0)
    """
    rows = [
        Row(prompt, answer)
        for pair in pairs
        for prompt in (pair.first_prompt, pair.second_prompt)
        for answer in (pair.first_completion, pair.second_completion)
    ]
    rows += [Row(row.prompt, answer) for row in held_out for answer in (row.chosen, row.rejected)]
    values = rewards_of(score(reward, rows, **options))
    quads = [tuple(values[4 * k : 4 * k + 4]) for k in range(len(pairs))]
    known = [[float(v) for v in quad if v is not None] for quad in quads if None not in quad]
    c_res = [(_wins(a, b) + _wins(d, c)) / 2 for a, b, c, d in known]  # R(I₁r₁), R(I₁r₂), R(I₂r₁), R(I₂r₂)
    c_ins = [(_wins(a, c) + _wins(d, b)) / 2 for a, b, c, d in known]
    rest = values[4 * len(pairs) :]
    iid = [_wins(a, b) for a, b in zip(rest[::2], rest[1::2], strict=True) if a is not None and b is not None]
    found = {"c_res": c_res, "c_ins": c_ins, "iid_acc": iid}
    # A pair's mean of two directions varies at most as one outcome does, so Wilson's interval on pairs is wide enough.
    intervals = {name: wilson_interval(sum(hits), len(hits), alpha=alpha) for name, hits in found.items()}
    return ContrastConsistency(_mean(c_res), _mean(c_ins), _mean(iid), len(known), intervals)


def _wins(better: float, worse: float) -> float:
    return 0.5 if better == worse else float(better > worse)


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan
