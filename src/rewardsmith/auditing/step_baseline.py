"""Build the baseline of a process reward: chains whose steps are each scored as the last of their prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from rewardsmith._check import check_choice
from rewardsmith.auditing.asking import Ask, Building
from rewardsmith.data import Row
from rewardsmith.scoring import steps_of, with_steps

Total = Callable[[Sequence[float]], float]
"""Map one chain's step scores to its return."""
TOTALS = ("sum", "mean", "min", "max", "last", "clip", "delta", "clip_delta")


class Chain(NamedTuple):
    """A chain of steps with scores, each step scored as the last of its prefix.

    labels: the labels of its steps, or None.
    """

    row: Row
    steps: list[str]
    scores: list[float | None]
    labels: list[Any] | None


@dataclass(frozen=True, slots=True)
class StepBaseline:
    """Chains with their scores, and the aggregate that the run uses.

    total: maps step scores to a chain's return; used_by: its name.
    threshold: score from which a step passes; None takes the best on these chains.
    alpha: the error level per question.
    """

    chains: tuple[Chain, ...]
    total: Total
    used_by: str = "sum"
    threshold: float | None = None
    alpha: float = 0.05

    @property
    def scores(self) -> list[float]:
        """All known step scores."""
        return [score for chain in self.chains for score in chain.scores if score is not None]

    @property
    def spread(self) -> float:
        """The unit of step scores, > 0: their range, or their size if all are equal."""
        known = self.scores or [0.0]
        return (max(known) - min(known)) or max(map(abs, known)) or 1.0


def build_step_baseline(
    rows: Sequence[Row],
    total: Total,
    *,
    used_by: str = "sum",
    threshold: float | None = None,
    alpha: float = 0.05,
) -> Building[StepBaseline]:
    """Score every step of every chain as the last of its prefix; arguments as in `StepBaseline`."""
    columns = yield [Ask(prefixes(row, steps_of(row))) for row in rows]
    chains = []
    for row, column in zip(rows, columns, strict=True):
        labels = labels_of(row)
        scores = [score.reward for score in column]
        chains.append(Chain(row, steps_of(row), scores, labels if len(labels) == len(scores) else None))
    return StepBaseline(tuple(chains), total, used_by, threshold, alpha)


def labels_of(row: Row) -> list[Any]:
    """Return the step labels of a row (column `labels`); empty if that is no list."""
    labels: Any = row.columns.get("labels")
    labels = labels.tolist() if hasattr(labels, "tolist") else labels
    return list(labels) if isinstance(labels, list | tuple) else []


def prefixes(row: Row, steps: Sequence[str]) -> list[Row]:
    """Return one row per prefix of the chain, to score its last step."""
    return [with_steps(row, steps[: k + 1]) for k in range(len(steps))]


def total_of(aggregate: str | Total, *, threshold: float = 0.5) -> Total:
    """Return the function that aggregates a chain's step scores into its return.

    Args:
        aggregate: such a function, or a name in `TOTALS`: "sum" (`advantages.step_returns`), "mean", "min" and "max"
            (`advantages.steps.mean_returns` etc.), "last" for the last step's score, or the sum after
            `transforms.clip_steps` ("clip"), `transforms.delta_steps` with terminal="keep" ("delta"), or both.
        threshold: η of "clip" and "clip_delta".
    """
    if callable(aggregate):
        return aggregate
    check_choice("audit", "aggregate", aggregate, TOTALS)
    return partial(_total, aggregate=aggregate, threshold=threshold)


def _total(scores: Sequence[float], *, aggregate: str, threshold: float) -> float:
    from rewardsmith._torch import torch
    from rewardsmith.advantages import min_returns, step_returns
    from rewardsmith.advantages.steps import max_returns, mean_returns
    from rewardsmith.transforms import clip_steps, delta_steps

    rewards = torch.tensor([scores], dtype=torch.float64)  # (1, N)
    mask = torch.ones_like(rewards, dtype=torch.bool)
    if aggregate == "last":
        return float(rewards[0, -1])
    if aggregate.startswith("clip"):
        rewards = clip_steps(rewards, mask, threshold=threshold)
    if aggregate.endswith("delta"):
        rewards = delta_steps(rewards, mask, terminal="keep")
    returns = {"mean": mean_returns, "min": min_returns, "max": max_returns}.get(aggregate, step_returns)
    return float(returns(rewards, mask)[0, 0])
