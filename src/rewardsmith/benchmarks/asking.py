"""Ask a reward, a judge that compares, or a process reward about the items of a benchmark."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from rewardsmith.data import BenchmarkRow, Row
from rewardsmith.measures import solution_score
from rewardsmith.measures.labels import first_below
from rewardsmith.measures.step_scores import StepTotal
from rewardsmith.scoring import Scorer, Target, rewards_of, steps_of, with_steps
from rewardsmith.scoring.contracts import name_of
from rewardsmith.scoring.process import process_target, takes_steps
from rewardsmith.scoring.score_rows import resolve_form


class Answers(NamedTuple):
    """Per item what was asked of it, None where unscored, and how often each reason for that occurred."""

    scores: list[list[float | None]]
    reasons: dict[str, int]


def ask_answers(target: Target, rows: Sequence[BenchmarkRow], **options: Any) -> Answers:
    """Score every answer by itself.

    As in the authors' code, a model with a chat template gets conversations; any other reward gets the format that it
    reads (`scoring.score_rows.resolve_form`).
    """
    asked = [Row(row.prompt, text) for row in rows for text in (*row.chosen, *row.rejected)]
    spoken = has_chat_template(target.reward) or not all(isinstance(row.prompt, str) for row in rows)
    sizes = [len(row.chosen) + len(row.rejected) for row in rows]
    return _asked(target, [row.conversational() for row in asked] if spoken else asked, sizes, **options)


def ask_duels(target: Target, rows: Sequence[BenchmarkRow], *, signs: bool, **options: Any) -> Answers:
    """Compare the chosen answer with every rejected one, in both orders, and return scores that say who won.

    The chosen answer's score is ½ and a rejected one's is its mean chance to be better, so that the higher score won.
    With one published order per duel (a column `chosen_first` of several) only that one is asked.

    Args:
        signs: in place of those the sum over both orders of +1, −1 and 0, where no verdict is 0, and 0.
    """
    spoken = has_chat_template(target.reward)
    asked: list[Row] = []
    orders: list[tuple[bool, ...]] = []
    for row in rows:
        published = row.columns.get("chosen_first") or []
        for place, other in enumerate(row.rejected):
            both = (True, False) if len(published) < 2 else (bool(published[place]),)
            orders.append(both)
            for chosen_first in both:
                pair = [Row(row.prompt, text) for text in (row.chosen[0], other)][:: 1 if chosen_first else -1]
                first, second = (one.conversational() if spoken else one for one in pair)
                asked.append(replace(first, columns={"reference": second.completion}))
    found = _asked(_around(target, _Compared), asked, [len(both) for both in orders], **options)
    duels = iter(zip(orders, found.scores, strict=True))
    scores = []
    for row in rows:
        ps = [
            [None if p is None else p if first else 1 - p for first, p in zip(both, own, strict=True)]
            for both, own in islice(duels, len(row.rejected))
        ]
        scores.append(_signs(ps[0]) if signs else [0.5, *map(_lost, ps)])
    return Answers(scores, found.reasons)


def ask_steps(target: Target, rows: Sequence[BenchmarkRow], how: StepTotal, **options: Any) -> Answers:
    """Score every answer by the aggregate of its step scores; None without steps (`measures.solution_score`)."""
    solutions = [_of_steps(row, k) for row in rows for k in range(len(row.chosen) + len(row.rejected))]
    found = _step_scores(target, solutions, **options)
    totals = iter([solution_score(scores, how) for scores in found.scores])
    return found._replace(scores=[list(islice(totals, len(row.chosen) + len(row.rejected))) for row in rows])


def ask_first_errors(
    target: Target, rows: Sequence[BenchmarkRow], threshold: float, **options: Any
) -> tuple[list[int | None], dict[str, int]]:
    """Return the first wrong step of each solution, by a judge's `indices` or as the first score below `threshold`."""
    asked = [Row(row.prompt, row.chosen[0], {"steps": row.columns["steps"]}) for row in rows]
    if callable(getattr(target.reward, "indices", None)):
        found = _asked(_around(target, _Located), asked, [1] * len(rows), **options)
        return [None if index is None else int(index) for [index] in found.scores], found.reasons
    if not takes_steps(target):
        raise ValueError(
            f"run_benchmark: {target.name} neither scores steps nor names the first wrong one, as process_bench asks. "
            "Pass a process reward (a parameter `steps`, one number per step) or a FirstErrorJudge."
        )
    found = _step_scores(target, asked, **options)
    return [first_below(scores, threshold) for scores in found.scores], found.reasons


def has_chat_template(reward: Any) -> bool:
    """Return whether the reward is a model that reads conversations, or an ensemble of such."""
    if getattr(getattr(reward, "tokenizer", None), "chat_template", None):
        return True
    return any(map(has_chat_template, getattr(reward, "members", ())))


def _asked(target: Target, asked: Sequence[Row], sizes: Sequence[int], **options: Any) -> Answers:
    """Score the rows in one job, and cut the scores into pieces of these sizes."""
    with Scorer(target, **options) as scorer:
        results = scorer.score(resolve_form(scorer, asked).rows)
    given = iter(rewards_of(results))
    reasons = Counter(result.reason for result in results if result.reason is not None)
    return Answers([list(islice(given, size)) for size in sizes], dict(sorted(reasons.items())))


def _of_steps(row: BenchmarkRow, place: int) -> Row:
    steps = row.columns.get("steps")
    return Row(row.prompt, (*row.chosen, *row.rejected)[place], {"steps": steps[place]} if steps else {})


def _step_scores(target: Target, solutions: Sequence[Row], **options: Any) -> Answers:
    """Score every step of every solution, each with the whole solution in view of the process reward."""
    chains = [steps_of(row) for row in solutions]
    asked = [with_steps(row, own, k) for row, own in zip(solutions, chains, strict=True) for k in range(len(own))]
    return _asked(process_target(target), asked, [len(own) for own in chains], **options)


def _lost(ps: Sequence[float | None]) -> float | None:
    """Return 1 − the mean chance that the chosen answer is better; None if an order has no verdict."""
    known = [p for p in ps if p is not None]
    return 1 - math.fsum(known) / len(known) if len(known) == len(ps) else None


def _signs(ps: Sequence[float | None]) -> list[float | None]:
    known = [float((p > 0.5) - (p < 0.5)) for p in ps if p is not None]
    return [math.fsum(known) if known else None, 0.0]


@dataclass(frozen=True)
class _Compared:
    """A judge that compares, as a reward: the chance that a completion is better than `reference`, which follows it."""

    judge: Any

    @property
    def __name__(self) -> str:
        return name_of(self.judge)

    def __call__(self, prompts: Any, completions: Any, *, reference: Any, **columns: Any) -> Any:
        if hasattr(self.judge, "judged") and hasattr(self.judge, "reasoned"):  # which says why there is no verdict
            placed = ["first"] * len(prompts)
            return self.judge.reasoned(prompts=prompts, completions=completions, reference=reference, placed=placed)
        return self.judge.compare(prompts, completions, reference)


@dataclass(frozen=True)
class _Located(_Compared):
    """A judge of first errors, as a reward: the index of the first wrong step."""

    async def __call__(self, prompts: Any, completions: Any, *, steps: Any, **columns: Any) -> Any:  # type: ignore[override]
        return await self.judge.indices(prompts=prompts, completions=completions, steps=steps)


def _around(target: Target, kind: Callable[[Any], Any]) -> Target:
    """Return the target with `kind` of its reward in place of it, here and where a worker loads it again."""
    load = target.load and partial(_again, target.load, kind)
    return replace(target, contract="trl", reward=kind(target.reward), load=load)


def _again(load: Callable[[], Target], kind: Callable[[Any], Any]) -> Target:
    return _around(load(), kind)
