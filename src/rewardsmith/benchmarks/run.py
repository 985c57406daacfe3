"""Score every completion of a benchmark once, and judge the scores by the benchmark's own protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from rewardsmith._check import check_choice
from rewardsmith.benchmarks import asking
from rewardsmith.benchmarks.best_of_four import reward_bench_2
from rewardsmith.benchmarks.best_of_k import ppe_correctness
from rewardsmith.benchmarks.first_errors import process_bench
from rewardsmith.benchmarks.judged_pairs import judge_bench, ppe_preference
from rewardsmith.benchmarks.one_to_many import reward_math
from rewardsmith.benchmarks.pairwise import reward_bench, rm_bench
from rewardsmith.benchmarks.result import BenchmarkScore
from rewardsmith.data import BenchmarkRow
from rewardsmith.measures.step_scores import StepTotal
from rewardsmith.scoring import Target, as_target
from rewardsmith.scoring.process import takes_steps

PROTOCOLS: Mapping[str, Callable[..., BenchmarkScore]] = {
    "rewardbench": reward_bench,
    "rewardbench2": reward_bench_2,
    "rm_bench": rm_bench,
    "reward_math": reward_math,
    "judge_bench": judge_bench,
    "ppe_preference": ppe_preference,
    "ppe_correctness": ppe_correctness,
    "process_bench": process_bench,
}
"""Protocol of each benchmark, by its schema name in `data.read_benchmark`."""
COUNT_FAILED = ("rewardbench2", "reward_math", "judge_bench", "ppe_preference", "process_bench")


def run_benchmark(
    reward: Target | Callable[..., Any],
    rows: Sequence[BenchmarkRow],
    *,
    protocol: str,
    ratings: bool = False,
    aggregate: StepTotal | None = None,
    threshold: float = 0.5,
    alpha: float = 0.05,
    **options: Any,
) -> BenchmarkScore:
    """Ask `reward` about every item of `rows`, and apply the benchmark's protocol.

    The reward gets only prompt and completion. One with a method `compare`, such as a pairwise judge, compares the
    chosen answer with every rejected one instead, in both orders, or in the published one of RewardMATH's comparisons.
    `process_bench` takes a process reward, or a judge with `indices`, such as `FirstErrorJudge`.

    Args:
        protocol: a key of `PROTOCOLS`, as in `read_benchmark(...).card.schema`.
        ratings: count answers and verdicts that failed as the authors do, as wrong or lowest; else they are left out.
        aggregate: score an answer by this total of its step scores; `reward` is a process reward then.
        threshold: the score below which a step counts as wrong, for `process_bench`.
        options: of `scoring.Scorer`: `workers`, `timeout`, `batch_size`, `journal` to resume from, `progress`.

    >>> from rewardsmith.data import BenchmarkRow
    >>> row = BenchmarkRow("1+1?", ["It is 2."], ["3"], "math-prm")
    >>> def length(completions):
    ...     return [float(len(c)) for c in completions]
    >>> found = run_benchmark(length, [row], protocol="rewardbench", workers=0)
    >>> found.subsets["math-prm"].value, found.overall
    (1.0, nan)
    """
    check_choice("run_benchmark", "protocol", protocol, tuple(PROTOCOLS))
    if ratings and protocol not in COUNT_FAILED:
        raise ValueError(
            f"run_benchmark: ratings is True, and {protocol} has no rule for failed ratings. Leave it out; unscored "
            "items are left out and named."
        )
    if protocol == "process_bench" and (
        lacking := next((row for row in rows if not {"steps", "label"} <= row.columns.keys()), None)
    ):
        raise ValueError(
            f"run_benchmark: item {lacking.item_id!r} of {lacking.subset} lacks a column `steps` or `label`, which "
            "process_bench needs. Read the items with `read_benchmark`, or choose another protocol."
        )
    target, how = as_target(reward), {"ratings": True} if ratings else {}
    if protocol == "process_bench":
        predicted, reasons = asking.ask_first_errors(target, rows, threshold, **options)
        return replace(process_bench(rows, predicted, alpha=alpha, **how), reasons=reasons)
    if aggregate is not None:
        check_choice("run_benchmark", "aggregate", aggregate, get_args(StepTotal))
    if aggregate is not None and not takes_steps(target):
        raise ValueError(
            f"run_benchmark: aggregate is {aggregate!r}, and {target.name} has no parameter `steps`. Pass a process "
            "reward, or leave aggregate out."
        )
    if aggregate is not None:
        answers = asking.ask_steps(target, rows, aggregate, **options)
    elif hasattr(target.reward, "compare"):
        if any(len(row.chosen) > 1 for row in rows):
            raise ValueError(
                f"run_benchmark: {target.name} compares two answers, and {protocol} has items with several chosen "
                "ones, which need scores. Pass a reward that scores an answer by itself."
            )
        answers = asking.ask_duels(target, rows, signs=protocol == "judge_bench", **options)
    else:
        answers = asking.ask_answers(target, rows, **options)
    return replace(PROTOCOLS[protocol](rows, answers.scores, alpha=alpha, **how), reasons=answers.reasons)
