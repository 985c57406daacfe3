"""JudgeBench and PPE's human preferences: one of two answers is better, and models are ranked by such pairs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from rewardsmith.benchmarks.pairwise import check_answers
from rewardsmith.benchmarks.result import (
    BenchmarkScore,
    Rows,
    Scores,
    by_subset,
    complete_mean,
    credits_of,
    unscored_names,
)
from rewardsmith.measures.intervals import mean_or_nan, rank_correlations

SOURCES: Mapping[str, str] = {
    "knowledge": "mmlu-pro",
    "reasoning": "livebench-reasoning",
    "math": "livebench-math",
    "coding": "livecodebench",
}
"""JudgeBench's sections, and how the names of their sources begin."""
CATEGORIES = ("hard_prompt", "easy_prompt", "if_prompt", "math_prompt", "is_code")


def judge_bench(rows: Rows, scores: Scores, *, ratings: bool = False, alpha: float = 0.05) -> BenchmarkScore:
    """Score JudgeBench: the share of pairs whose right answer wins over both orders.

        won  ⇔  Σ over both orders ( +1 for the right answer, −1 for the wrong one, 0 for a tie or no verdict )  > 0

    Tan et al. 2024, arXiv:2410.12784. One win and one tie is right; one win and one loss is not. The overall score is
    that of all pairs, not a mean of the sections.

    Differs: a pair without any verdict is left out and named, unless `ratings` (theirs: not right). A score that does
        not depend on the order counts once, and a tie is not right (theirs, with --single_game: it counts for B).

    Args:
        rows: as `data.read_benchmark` gives them.
        scores: per row that of the chosen and of the rejected answer; of a judge that compares, the sum above and 0, as
            `run_benchmark` passes.
        ratings: count a pair without a verdict as not right.
        alpha: of the subsets' intervals.

    >>> from rewardsmith.data import BenchmarkRow
    >>> row = BenchmarkRow("1+1?", ["2"], ["3"], "livebench-math", "0")
    >>> [judge_bench([row], [[total, 0]]).sections["math"] for total in (2, 1, 0)]  # 2 wins, a win and a tie, …
    [1.0, 1.0, 0.0]
    """
    check_answers("judge_bench", rows, 1)
    credits = _won("judge_bench", rows, scores, ratings)

    def of(prefix: str) -> float:
        known = [c for row, c in zip(rows, credits, strict=True) if row.subset.startswith(prefix) and c is not None]
        return mean_or_nan(known)

    sections = {name: of(prefix) for name, prefix in SOURCES.items()}
    missing = tuple(name for name, value in sections.items() if math.isnan(value))
    return BenchmarkScore(
        protocol="judge_bench",
        overall=math.nan if missing else of(""),
        sections=sections,
        subsets=by_subset(rows, credits, alpha=alpha),
        missing=missing,
        unscored=unscored_names(rows, credits),
    )


def ppe_preference(rows: Rows, scores: Scores, *, ratings: bool = False, alpha: float = 0.05) -> BenchmarkScore:
    """Score PPE's human preferences: the share of votes that the reward agrees with, by kind of prompt and language.

    Frick et al. 2024, arXiv:2410.14872. Human ties are dropped by the reader; equal scores are wrong. `parts` has
    Spearman's correlation of the models' order by their shares of won votes and by their shares of pairs won by score.

    Differs: the order of models is by shares, not by Bradley-Terry ratings, so separability and the Brier score are not
        given. A pair with an unscored answer is left out and named, unless `ratings`.

    Args:
        rows: as `data.read_benchmark` gives them. A vote counts in each kind of prompt that it has, in its language,
            and in "human preference".
        scores: per row that of the preferred and of the other answer; None or NaN where unscored.
        ratings: count a pair with an unscored answer as wrong.
        alpha: of the subsets' intervals.

    >>> from rewardsmith.data import BenchmarkRow
    >>> row = BenchmarkRow("Hi", ["a"], ["b"], "human preference", "0", {"language": "English", "hard_prompt": True})
    >>> {name: subset.value for name, subset in ppe_preference([row], [[1.0, 0.0]]).subsets.items()}
    {'human preference': 1.0, 'hard_prompt': 1.0, 'English': 1.0}
    """
    check_answers("ppe_preference", rows, 1)
    credits = _won("ppe_preference", rows, scores, ratings)
    tagged = [(row, credit, row.subset) for row, credit in zip(rows, credits, strict=True)]
    for kind in CATEGORIES:
        tagged += [(row, credit, kind) for row, credit, _ in tagged[: len(rows)] if row.columns.get(kind)]
    spoken = [(row, credit) for row, credit, _ in tagged[: len(rows)] if row.columns.get("language")]
    tagged += [(row, credit, str(row.columns["language"])) for row, credit in spoken]
    subsets = by_subset(
        [replace(row, subset=name) for row, _, name in tagged], [credit for _, credit, _ in tagged], alpha=alpha
    )
    overall = {"human preference": mean_or_nan([credit for credit in credits if credit is not None])}
    return BenchmarkScore(
        protocol="ppe_preference",
        overall=complete_mean(overall),
        sections=overall,
        subsets=subsets,
        parts={"spearman of models": _ranking(rows, credits)},
        missing=() if not math.isnan(overall["human preference"]) else ("human preference",),
        unscored=unscored_names(rows, credits),
    )


def _won(caller: str, rows: Rows, scores: Scores, ratings: bool) -> list[float | None]:
    """Return 1 where the chosen answer scores higher, 0 where not, None where one is unscored; 0 there with ratings."""
    won = credits_of(caller, rows, scores, lambda chosen, rejected: float(chosen[0] > rejected[0]))
    return [0.0 if credit is None else credit for credit in won] if ratings else [*won]


def _ranking(rows: Rows, credits: Sequence[float | None]) -> float:
    """Return Spearman's correlation of the models' shares of won pairs, by people and by the reward; NaN if unknown."""
    shares: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row, credit in zip(rows, credits, strict=True):
        if credit is not None and row.columns.get("models"):
            winner, loser = row.columns["models"]
            shares[winner].append((1.0, credit))
            shares[loser].append((0.0, 1.0 - credit))
    if len(shares) < 3:
        return math.nan
    mean = partial(map, mean_or_nan)
    return float(rank_correlations([list(mean(zip(*own, strict=True))) for own in shares.values()])[0, 1])
