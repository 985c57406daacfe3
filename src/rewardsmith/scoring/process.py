"""Score a process reward, which scores every step, as an ordinary reward: one chosen step per row.

With this wrapper the one scoring path, its processes, time limits and journal also serve process rewards.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rewardsmith.data import Row, split_steps
from rewardsmith.data.steps import BLANK_LINE
from rewardsmith.scoring.called import Called
from rewardsmith.scoring.calling import Unscored
from rewardsmith.scoring.contracts import name_of, signature_of
from rewardsmith.scoring.exports import Around
from rewardsmith.scoring.sync_async import Calls, sync_or_async
from rewardsmith.scoring.targets import Target

STEP_INDEX = "step_index"


@dataclass(frozen=True)
class StepScore(Around):
    """A `types.ProcessReward` as a `types.Reward`: the score of one step of each row.

    The column `steps` holds the step texts for the process reward, and `step_index` the step that counts (−1 for the
    last). The signature is the process reward's with `step_index`, so columns are bound as usual.
    """

    @property
    def __signature__(self) -> inspect.Signature:
        own = inspect.signature(self.reward)
        index = inspect.Parameter(STEP_INDEX, inspect.Parameter.KEYWORD_ONLY, default=None)
        named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD and p.name != STEP_INDEX]
        rest = [p for p in own.parameters.values() if p.kind is p.VAR_KEYWORD]
        return own.replace(parameters=[*named, index, *rest], return_annotation=inspect.Signature.empty)

    @sync_or_async
    def __call__(self, *positional: Any, step_index: Sequence[int] | None = None, **columns: Any) -> Calls:
        """Return one number, None or `Unscored` per row."""
        [result] = yield [partial(self.reward, *positional, **columns)]
        steps = columns.get("steps")
        rows = [row.tolist() if hasattr(row, "tolist") else row for row in result]
        chosen: list[Any] = []
        for place, scores in enumerate(rows):
            if scores is None or isinstance(scores, Unscored):
                chosen.append(scores)
                continue
            if not isinstance(scores, list | tuple):
                raise TypeError(
                    f"StepScore: {name_of(self.reward)} returned {type(scores).__name__} for row {place}, but a "
                    "process reward returns one number or None per step. Return that, or use it as an ordinary reward."
                )
            if steps is not None and len(scores) != len(steps[place]):
                raise ValueError(
                    f"StepScore: {name_of(self.reward)} returned {len(scores)} scores for {len(steps[place])} steps of "
                    f"row {place}. Return one number or None per step."
                )
            chosen.append(scores[-1 if step_index is None else step_index[place]])
        return chosen


def takes_steps(target: Target) -> bool:
    """Return whether the reward has a parameter `steps`, as a process reward has; an ordinary one may have it too."""
    signature = target.reward.signature if isinstance(target.reward, Called) else signature_of(target.reward)
    return "steps" in (*signature.positional, *signature.keywords)


def process_target(target: Target) -> Target:
    """Return the target with its process reward scored step by step (`StepScore`)."""
    if target.contract == "process":
        return target
    return replace(
        target, contract="process", reward=StepScore(target.reward), load=target.load and partial(_again, target.load)
    )


def _again(load: Callable[[], Target]) -> Target:
    return process_target(load())


def steps_of(row: Row) -> list[str]:
    """Return a row's steps: its column `steps` or TRL's `completions`, else its completion split at blank lines.

    >>> steps_of(Row("2+3?", "Add 2 and 3.\\n\\nIt is 5.")), steps_of(Row("2+3?", None, {"completions": ["It is 5."]}))
    (['Add 2 and 3.', 'It is 5.'], ['It is 5.'])
    """
    for name in ("steps", "completions"):
        given: Any = row.columns.get(name)
        given = given.tolist() if hasattr(given, "tolist") else given
        if isinstance(given, list | tuple) and all(isinstance(step, str) for step in given):
            return [step for step in given if step.strip()]
    return split_steps(row.text)


def with_steps(row: Row, steps: Sequence[str], index: int = -1) -> Row:
    """Return the row with these steps as completion, for `StepScore` to score the one at `index`; labels are hidden."""
    hidden = ("steps", "completions", "labels", STEP_INDEX)
    kept = {name: value for name, value in row.columns.items() if name not in hidden}
    bare = replace(row, columns={**kept, "steps": list(steps), STEP_INDEX: index})
    return bare.with_completion(BLANK_LINE.join(steps))
