"""What the step scores of a process reward are good for: choosing among solutions, and finding the first wrong step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, NamedTuple, get_args

from rewardsmith._check import check_choice, check_groups, check_range
from rewardsmith.measures.intervals import mean_interval
from rewardsmith.measures.labels import first_below, first_error_f1, first_wrong

StepTotal = Literal["min", "prod", "last", "mean", "sum", "max"]
StepScores = Sequence[Sequence[float | None] | None]


TOTALS: Mapping[StepTotal, Callable[[Sequence[float]], float]] = {
    "min": min,
    "prod": math.prod,
    "last": lambda scores: scores[-1],
    "mean": fmean,
    "sum": math.fsum,
    "max": max,
}


class BestOfN(NamedTuple):
    """The gold of the solution picked among `n`, averaged over prompts, with its interval.

    random: the mean gold of the same solutions, as a picker by chance gets it; oracle: of the best among n.
    n_prompts: prompts with n solutions that are scored and have a gold label.
    """

    n: int
    gold: float
    low: float
    high: float
    random: float
    oracle: float
    n_prompts: int


def solution_score(scores: Sequence[float | None] | None, how: StepTotal) -> float | None:
    """One number out of a solution's step scores; None where there is no step or one of them is unscored.

        min_k s_k,   Π_k s_k,   s_N,   mean_k s_k,   Σ_k s_k,   max_k s_k

    Lightman et al. 2023, arXiv:2305.20050 (prod); Wang et al. 2023, arXiv:2312.08935 (min). `prod` falls with every
    step and `sum` rises, so both also rank by length.

    >>> solution_score([0.9, 0.5], "prod"), solution_score([0.9, None], "min"), solution_score([], "last")
    (0.45, None, None)
    """
    if not scores:
        return None
    known = [float(score) for score in scores if score is not None and not math.isnan(score)]
    if len(known) < len(scores):
        return None
    if how == "prod" and not all(0 <= score <= 1 for score in known):
        raise ValueError(
            f"solution_score: a step score is {min(known)} or {max(known)}, and a product wants probabilities. "
            'Pass scores in [0, 1], or how="min".'
        )
    return TOTALS[how](known)


def best_of_n_by(
    step_scores: StepScores,
    gold: Sequence[Any],
    *,
    group_size: int,
    how: StepTotal = "min",
    n: Sequence[int] | None = None,
    alpha: float = 0.05,
) -> list[BestOfN]:
    """How good the solution is that a process reward picks among n, for several n.

        V(n) = Σ_i C(i−1, n−1) / C(G, n) · gold₍ᵢ₎        i ranks the G solutions of a prompt upward by score

    The mean over every choice of n of them, so that no draw is left to chance; tied scores share their gold.

    Args:
        step_scores: B lists, a prompt's `group_size` solutions consecutive; a solution with an unscored step cannot be
            picked and is left out, and so is one without gold.
        gold: B numbers, such as 1 for a right final answer; None where unknown.
        how: see `solution_score`.
        n: numbers of candidates from 1 to group_size; powers of two and group_size if None. A prompt counts for n where
            it has that many solutions left.

    >>> [round(point.gold, 3) for point in best_of_n_by([[0.9], [0.2], [0.4]], [1, 0, 0], group_size=3, n=[1, 2, 3])]
    [0.333, 0.667, 1.0]
    """
    check_choice("best_of_n_by", "how", how, get_args(StepTotal))
    check_groups("best_of_n_by", len(step_scores), group_size)
    if len(step_scores) != len(gold):
        raise ValueError(
            f"best_of_n_by: got step scores of {len(step_scores)} solutions and {len(gold)} gold labels. "
            "Pass one label per solution, None where it is unknown."
        )
    sizes = sorted({*(2**k for k in range(group_size.bit_length())), group_size}) if n is None else list(n)
    for size in sizes:
        check_range("best_of_n_by", "n", size, 1, group_size)
    groups = []
    for start in range(0, len(gold), group_size):
        rows = range(start, start + group_size)
        totals = [(solution_score(step_scores[i], how), _number(gold[i])) for i in rows]
        groups.append([(s, g) for s, g in totals if s is not None and g is not None])
    return [_point([group for group in groups if len(group) >= size], size, alpha) for size in sizes]


def step_metrics(
    step_scores: StepScores, labels: Sequence[Sequence[Any]], *, threshold: float = 0.5
) -> dict[str, float]:
    """Figures of a process reward on labeled steps, by name: what `engines.trl.StepRewardTrainer` takes as `metrics`.

    `first_error_f1`, `first_error_on_erroneous` and `first_error_on_correct` as in `first_error_f1`, a step being
    called wrong below `threshold`; a soft label counts as right above ½.

    >>> step_metrics([[0.9, 0.1], [0.8]], [[1, 0], [1]])["first_error_f1"]
    1.0
    """
    predicted = [None if scores is None else first_below(scores, threshold) for scores in step_scores]
    found = first_error_f1(predicted, [first_wrong(row) for row in labels])
    figures = {
        "first_error_f1": found.f1,
        "first_error_on_erroneous": found.on_erroneous,
        "first_error_on_correct": found.on_correct,
    }
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def _point(groups: Sequence[Sequence[tuple[float, float]]], size: int, alpha: float) -> BestOfN:
    picked = [_expected(group, size) for group in groups]
    low, high = mean_interval(picked, alpha=alpha)
    return BestOfN(
        n=size,
        gold=fmean(picked) if picked else math.nan,
        low=low,
        high=high,
        random=fmean(fmean(g for _, g in group) for group in groups) if groups else math.nan,
        oracle=fmean(_expected([(g, g) for _, g in group], size) for group in groups) if groups else math.nan,
        n_prompts=len(groups),
    )


def _expected(group: Sequence[tuple[float, float]], size: int) -> float:
    """The mean gold of the best-scored of `size` out of the group, over all choices of them."""
    ordered = sorted(group)
    by_score: dict[float, list[float]] = {}
    for score, value in ordered:
        by_score.setdefault(score, []).append(value)
    shared = [fmean(by_score[score]) for score, _ in ordered]
    ways = [math.comb(rank, size - 1) for rank in range(len(ordered))]
    return math.fsum(w * g for w, g in zip(ways, shared, strict=True)) / math.comb(len(ordered), size)


def _number(gold: Any) -> float | None:
    if gold is None:
        return None
    value = float(gold)
    return None if math.isnan(value) else value
