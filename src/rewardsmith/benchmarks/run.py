"""Score every completion of a benchmark once, and judge the scores by the benchmark's own protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from rewardsmith._check import check_choice
from rewardsmith.benchmarks.best_of_four import reward_bench_2
from rewardsmith.benchmarks.pairwise import reward_bench, rm_bench
from rewardsmith.benchmarks.result import BenchmarkScore
from rewardsmith.data import BenchmarkRow, Row
from rewardsmith.scoring import Scorer, Target, rewards_of
from rewardsmith.scoring.score_rows import resolve_form

PROTOCOLS: Mapping[str, Callable[..., BenchmarkScore]] = {
    "rewardbench": reward_bench,
    "rewardbench2": reward_bench_2,
    "rm_bench": rm_bench,
}
"""Protocol of each benchmark, by its schema name in `data.read_benchmark`."""


def run_benchmark(
    reward: Target | Callable[..., Any],
    rows: Sequence[BenchmarkRow],
    *,
    protocol: str,
    ratings: bool = False,
    alpha: float = 0.05,
    **options: Any,
) -> BenchmarkScore:
    """Score every completion of `rows` with `reward`, and apply the benchmark's protocol.

    The reward gets only prompt and completion. As in the authors' code, a model with a chat template gets
    conversations; any other reward gets the format that it reads (`scoring.score_rows.resolve_form`).

    Args:
        protocol: "rewardbench", "rewardbench2" or "rm_bench", as in `read_benchmark(...).card.schema`.
        ratings: of `reward_bench_2`: scores are a judge's ratings, and failed ones count as such.
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
    if ratings and protocol != "rewardbench2":
        raise ValueError(
            f"run_benchmark: ratings is True, and {protocol} has no rule for failed ratings. Leave it out; unscored "
            "items are left out and named."
        )
    judge = partial(reward_bench_2, ratings=True) if ratings else PROTOCOLS[protocol]
    asked = [Row(row.prompt, text) for row in rows for text in (*row.chosen, *row.rejected)]
    with Scorer(reward, **options) as scorer:
        spoken = _has_chat_template(scorer.target.reward) or not all(isinstance(row.prompt, str) for row in rows)
        formed = resolve_form(scorer, [row.conversational() for row in asked] if spoken else asked)
        results = scorer.score(formed.rows)
    given = iter(rewards_of(results))
    scores = [list(islice(given, len(row.chosen) + len(row.rejected))) for row in rows]
    reasons = Counter(result.reason for result in results if result.reason is not None)
    return replace(judge(rows, scores, alpha=alpha), reasons=dict(sorted(reasons.items())))


def _has_chat_template(reward: Any) -> bool:
    if getattr(getattr(reward, "tokenizer", None), "chat_template", None):
        return True
    return any(map(_has_chat_template, getattr(reward, "members", ())))
