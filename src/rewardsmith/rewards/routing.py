"""RoutedReward: send each prompt to the reward that can judge its task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from rewardsmith._check import check_choice
from rewardsmith.rewards.guards import check_length, rows_at
from rewardsmith.scoring.calling import Unscored, own_concurrency, reasoned
from rewardsmith.scoring.contracts import is_async
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, sync_or_async
from rewardsmith.types import Completion, Text

OnUnparsed = Literal["none", "default"]
Scores = list[float | Unscored | None]
_OF_THE_COMPLETION = ("completion", "completions", "completion_ids")


@dataclass(frozen=True, eq=False)
class RoutedReward(SyncOrAsync):
    """A reward in TRL's contract that sends each row to the reward of its task.

    The task is a column of the data set, so it belongs to the prompt: a policy could game a router that guessed it from
    the completion. Every reward is called at most once, with its own rows only, and must accept unknown columns. If one
    of them is async, so is the whole, and TRL detects it.

    Gulhane & Indurthi 2025, arXiv:2510.05283. The rewards may have different scales, because one prompt's completions
    all get the same one. A reward *added* to them needs a common scale (`transforms.normalize_sources`).

    Args:
        routes: task → reward in TRL's contract.
        by: the column that names the task.
        default: the reward for tasks without a route; None leaves their rows unscored.
        on_unparsed: "default" also sends rows that the routed reward left unscored to `default`; "none" leaves them
            unscored. A reward that cannot read an answer has not found it wrong.

    Raises:
        ValueError: there are no routes, `by` is not a column of the prompt, or "default" is set without a default.

    >>> def even(completions, **columns):
    ...     return [float(int(c) % 2 == 0) if c.isdigit() else None for c in completions]
    >>> def short(completions, **columns):
    ...     return [1 / len(c) for c in completions]
    >>> routed = RoutedReward({"math": even, "chat": short})
    >>> routed(prompts=["q"] * 4, completions=["4", "4", "four", "4"], task=["math", "chat", "math", None])
    [1.0, 1.0, None, None]
    """

    routes: Mapping[str, Callable[..., Any]]
    by: str = "task"
    default: Callable[..., Any] | None = None
    on_unparsed: OnUnparsed = "none"

    def __post_init__(self) -> None:
        check_choice("RoutedReward", "on_unparsed", self.on_unparsed, get_args(OnUnparsed))
        if not self.routes:
            raise ValueError("RoutedReward: routes is empty, so nothing is routed. Map at least one task to a reward.")
        if self.by in _OF_THE_COMPLETION:
            raise ValueError(
                f"RoutedReward: by={self.by!r} is written by the policy, so it could choose its own judge. "
                "Route by a column of the data set, which belongs to the prompt."
            )
        if self.on_unparsed == "default" and self.default is None:
            raise ValueError('RoutedReward: on_unparsed="default" needs a default reward. Pass one, or use "none".')
        self.become(is_async=any(map(is_async, (*self.routes.values(), self.default))))

    @property
    def __name__(self) -> str:
        return f"routed_by_{self.by}"

    @property
    def reasoned(self) -> RoutedReward:
        """The same reward, with the reason in place of None where a routed reward gives one."""
        routes = {name: reasoned(reward) for name, reward in self.routes.items()}
        return replace(self, routes=routes, default=None if self.default is None else reasoned(self.default))

    @property
    def concurrency(self) -> int:
        """The least number of concurrent requests that a routed reward states."""
        rewards = [reward for reward in (*self.routes.values(), self.default) if reward is not None]
        said = [n for reward in rewards if (n := own_concurrency(reward)) is not None]
        if not said:
            raise AttributeError("concurrency: no reward of this route has one")
        return min(said)

    @sync_or_async
    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Calls:
        """Return one value per row; async rewards run concurrently."""
        rows = {"prompts": prompts, "completions": completions, **columns}
        scores: Scores = [None] * len(completions)
        named = rows.get(self.by)
        if not isinstance(named, list | tuple) or len(named) != len(completions):
            raise ValueError(
                f"RoutedReward: the rows have no column {self.by!r}, which names their task (columns: "
                f"{', '.join(sorted(rows))}). Add it to the data set, or pass `by`."
            )
        tasks = [task if isinstance(task, str) else None for task in named]
        shares = [(reward, [i for i, task in enumerate(tasks) if task == name]) for name, reward in self.routes.items()]
        yield from _filled(scores, [(reward, indices) for reward, indices in shares if indices], rows)
        if self.default is not None:
            again = self.on_unparsed == "default"
            # A reward without a value has decided; an endpoint that failed may still answer.
            silent = [score.reason != "endpoint" if isinstance(score, Unscored) else score is None for score in scores]
            left = [i for i, task in enumerate(tasks) if task not in self.routes or (again and silent[i])]
            yield from _filled(scores, [(self.default, left)] if left else [], rows)
        return scores


def _filled(scores: Scores, routed: Sequence[tuple[Callable[..., Any], list[int]]], rows: Mapping[str, Any]) -> Calls:
    """Call each reward with its rows and put its values at their places; NaN becomes None."""
    results = yield [partial(reward, **rows_at(indices, **rows)) for reward, indices in routed]
    for (reward, indices), values in zip(routed, results, strict=True):
        check_length("RoutedReward", reward, values, len(indices))
        for index, value in zip(indices, values, strict=True):
            missing = value is None or (not isinstance(value, Unscored) and math.isnan(value))
            scores[index] = None if missing else value
