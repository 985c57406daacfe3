"""A callback that measures every training batch: what an example draws and prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from rewardsmith.engines.trl.gathering import ScoredBatch

Rows = dict[str, Any]
"""TRL's keywords of a reward: `prompts`, `completions` and every column; beside them `lengths`, in tokens."""


class Watch(TrainerCallback):
    """Keeps the last rows of a run and measures them after each batch; nothing of it reaches the reward.

    measure: figures of some rows, by name.
    window: how many batches are measured together; measures such as a calibration error need many answers.
    """

    def __init__(self, measure: Callable[[Rows], Mapping[str, float]], *, window: int = 1) -> None:
        self.measure, self.window = measure, window
        self.rows: list[Rows] = []
        self.curves: dict[str, list[float]] = {}

    def on_rewards(self, args: Any, state: Any, control: Any, *, scored: ScoredBatch) -> None:
        """Called by our trainers with every gathered batch."""
        columns = dict(scored.batch.columns)
        mask = scored.batch.completion_mask
        assert mask is not None
        rows = {"prompts": columns.pop("prompt"), "completions": columns.pop("completion"), **columns}
        self.rows = [*self.rows, {**rows, "lengths": mask.sum(dim=1).tolist()}][-self.window :]
        together = {name: [value for batch in self.rows for value in batch[name]] for name in self.rows[0]}
        for name, value in self.measure(together).items():
            self.curves.setdefault(name, []).append(float(value))


def by_quantity(arms: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, list[float]]]:
    """arm → quantity → curve, turned into quantity → arm → curve."""
    quantities = next(iter(arms.values()))
    return {quantity: {arm: list(curves[quantity]) for arm, curves in arms.items()} for quantity in quantities}


def table(panels: Mapping[str, Mapping[str, Sequence[float]]], *, n: int = 20) -> str:
    """As lines of text: the first batch, averaged over arms, and each arm's last `n` batches."""
    arms = list(next(iter(panels.values())))
    width = max(map(len, [*arms, "at the start"]))
    columns = {quantity: max(len(quantity), len("-0.00")) + 3 for quantity in panels}
    lines = [" " * width + "".join(f"{quantity:>{column}}" for quantity, column in columns.items())]
    start = {q: sum(curve[0] for curve in curves.values()) / len(curves) for q, curves in panels.items()}
    ends = {arm: {q: sum(curves[arm][-n:]) / len(curves[arm][-n:]) for q, curves in panels.items()} for arm in arms}
    for label, figures in {"at the start": start, **ends}.items():
        lines.append(f"{label:<{width}}" + "".join(f"{figures[q]:>{column}.2f}" for q, column in columns.items()))
    return "\n".join(lines)
