"""PPE's correctness: a reward must find right answers among the k that one model sampled."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import fmean
from typing import NamedTuple

import numpy as np

from rewardsmith.benchmarks.result import (
    BenchmarkScore,
    Rows,
    Scores,
    by_subset,
    complete_mean,
    credits_of,
    unscored_names,
)
from rewardsmith.data import BenchmarkRow
from rewardsmith.measures.best_of_n import best_of_n_gold
from rewardsmith.measures.intervals import mean_or_nan

SETS = ("mmlu_pro", "math", "gpqa", "mbpp_plus", "ifeval")
PARTS = ("end", "max", "error", "auc")


class _Found(NamedTuple):
    accuracy: float  # share of sampled pairs ranked right
    auc: float
    gold: list[float]  # of the best of 1, 2, …, k
    loss: float  # mean over k of what a perfect reward would find more often


def ppe_correctness(rows: Rows, scores: Scores, *, alpha: float = 0.05) -> BenchmarkScore:
    """Score PPE's correctness: how often a reward prefers a right answer to a wrong one by the same model.

    Frick et al. 2024, arXiv:2410.14872. Sections are its five sets. `parts` gives for each of them, as means over the
    models that sampled the answers:

        end      share right of the best by reward of all k        max     the highest such share over 1 … k
        error    mean over n ≤ k of E[ right answer among n ] − E[ the best by reward of n is right ]
        auc      share of all pairs of a right and a wrong answer of one prompt that are ranked right, ties half

    Shares of n are means over all n of the k answers (`measures.best_of_n_curve`), where the paper draws some.
    Differs: the definitions follow summaries of the paper, whose code was not at hand. An item with an unscored answer
        is left out and named. With a set missing the overall score is NaN.

    Args:
        rows: as `data.read_benchmark` gives them: right answers as chosen, wrong ones as rejected, sampled `pairs`
            (all pairs without them), `model_name`.
        scores: per row those of the chosen and then of the rejected answers; None or NaN where unscored.
        alpha: of the subsets' intervals, which are those of accuracy.

    >>> from rewardsmith.data import BenchmarkRow
    >>> row = BenchmarkRow("1+1?", ["2", "two"], ["3"], "math", "0", {"pairs": [(0, 0)]})
    >>> found = ppe_correctness([row], [[0.5, 0.1, 0.3]])
    >>> found.sections["math"], found.parts["math/end"], found.parts["math/auc"]
    (1.0, 1.0, 0.5)
    """
    both = credits_of("ppe_correctness", rows, scores, lambda chosen, rejected: (chosen, rejected))
    found = [None if sides is None else _found(row, *sides) for row, sides in zip(rows, both, strict=True)]
    credits = [None if own is None else own.accuracy for own in found]
    groups: dict[str, dict[str, list[_Found]]] = defaultdict(lambda: defaultdict(list))
    for row, own in zip(rows, found, strict=True):
        if own is not None:
            groups[row.subset][str(row.columns.get("model_name"))].append(own)
    sections = {name: _mean(groups.get(name, {}), "accuracy") for name in SETS}
    parts = {
        f"{name}/{part}": _mean(own, part) for name, own in groups.items() for part in ("end", "max", "error", "auc")
    }
    return BenchmarkScore(
        protocol="ppe_correctness",
        overall=complete_mean(sections),
        sections=sections,
        subsets=by_subset(rows, credits, alpha=alpha),
        parts=parts,
        missing=tuple(name for name, value in sections.items() if math.isnan(value)),
        unscored=unscored_names(rows, credits),
    )


def _found(row: BenchmarkRow, chosen: list[float], rejected: list[float]) -> _Found:
    """Return the figures of one prompt's answers."""
    pairs = row.columns.get("pairs") or [(i, j) for i in range(len(chosen)) for j in range(len(rejected))]
    right, wrong = np.array(chosen)[:, None], np.array(rejected)
    reward, gold = [[*chosen, *rejected]], [[1.0] * len(chosen) + [0.0] * len(rejected)]
    sizes = range(1, len(gold[0]) + 1)
    by_reward, by_gold = (best_of_n_gold(table, gold, sizes)[0].tolist() for table in (reward, gold))
    auc = float(((right > wrong) + 0.5 * (right == wrong)).mean())
    accuracy = fmean(chosen[i] > rejected[j] for i, j in pairs)
    return _Found(accuracy, auc, by_reward, fmean(b - a for a, b in zip(by_reward, by_gold, strict=True)))


def _mean(by_model: dict[str, list[_Found]], part: str) -> float:
    """Return the mean over models of one figure."""
    values = []
    for own in by_model.values():
        shortest = min(len(item.gold) for item in own)
        curve = np.mean([item.gold[:shortest] for item in own], axis=0)
        values.append(
            {
                "accuracy": fmean(item.accuracy for item in own),
                "auc": fmean(item.auc for item in own),
                "error": fmean(item.loss for item in own),
                "end": float(curve[-1]),
                "max": float(curve.max()),
            }[part]
        )
    return mean_or_nan(values)
