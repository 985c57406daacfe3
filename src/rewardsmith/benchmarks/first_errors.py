"""ProcessBench: find the first wrong step of a solution, or that there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rewardsmith.benchmarks.result import BenchmarkScore, Rows, SubsetScore, complete_mean, unscored_names
from rewardsmith.measures import first_error_f1

SUBSETS = ("gsm8k", "math", "olympiadbench", "omnimath")


def process_bench(
    rows: Rows, predicted: Sequence[int | None], *, ratings: bool = False, alpha: float = 0.05
) -> BenchmarkScore:
    """Score ProcessBench: the harmonic mean of the accuracies on solutions with and without a wrong step.

        F1 = 2 a_e a_c / (a_e + a_c)    a_e: exact index where a step is wrong,  a_c: −1 where none is

    Zheng et al. 2024, arXiv:2412.06559. The overall score is the mean of the four subsets. `parts` has both accuracies.

    Differs: a solution without a prediction is left out and named, unless `ratings` (theirs: wrong). 0 where both
        accuracies are 0 (theirs: NaN).

    Args:
        rows: as `data.read_benchmark` gives them.
        predicted: per row the index of the first wrong step, −1 for none, None where there is no prediction.
        ratings: count a solution without a prediction as wrong.
        alpha: of the subsets' intervals (`measures.first_error_f1`).

    >>> from rewardsmith.data import BenchmarkRow
    >>> rows = [BenchmarkRow("?", ["a"], [], "math", str(k), {"label": k, "steps": ["a", "b"]}) for k in (-1, 1)]
    >>> process_bench(rows, [-1, 0]).parts["math/on_correct"], process_bench(rows, [-1, 1]).subsets["math"].value
    (1.0, 1.0)
    """
    if len(rows) != len(predicted):
        raise ValueError(f"process_bench: got {len(rows)} items and {len(predicted)} predictions. Pass one per item.")
    guesses = [-2 if ratings and guess is None else guess for guess in predicted]  # −2 is never right
    subsets: dict[str, SubsetScore] = {}
    parts: dict[str, float] = {}
    for name in dict.fromkeys(row.subset for row in rows):
        own = [(g, int(row.columns["label"])) for row, g in zip(rows, guesses, strict=True) if row.subset == name]
        found = first_error_f1([g for g, _ in own], [label for _, label in own], alpha=alpha)
        lacking = sum(guess is None for guess, _ in own)
        known = not math.isnan(found.f1)
        low, high = (found.low, found.high) if known else (0.0, 1.0)
        subsets[name] = SubsetScore(found.f1, low, high, len(own) - lacking, lacking)
        parts |= {f"{name}/on_erroneous": found.on_erroneous, f"{name}/on_correct": found.on_correct}
    sections = {name: subsets[name].value if name in subsets else math.nan for name in SUBSETS}
    return BenchmarkScore(
        protocol="process_bench",
        overall=complete_mean(sections),
        sections=sections,
        subsets=subsets,
        parts=parts,
        missing=tuple(name for name, value in sections.items() if math.isnan(value)),
        unscored=unscored_names(rows, guesses),
    )
