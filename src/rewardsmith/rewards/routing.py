"""RoutedReward: each prompt to the reward that can judge its kind."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from rewardsmith._check import check_choice
from rewardsmith.rewards.guards import rows_at
from rewardsmith.scoring.calling import Unscored, own_concurrency, reasoned
from rewardsmith.scoring.contracts import is_async, name_of
from rewardsmith.types import Completion, Text

OnUnparsed = Literal["none", "default"]
Scores = list[float | Unscored | None]
_OF_THE_COMPLETION = ("completion", "completions", "completion_ids")


@dataclass(frozen=True, eq=False)
class RoutedReward:
    """A reward in TRL's contract that sends each row to the reward of its task.

    The task is a column of the data set, hence a property of the prompt: a router that guessed it from the completion
    could be gamed by changing the completion's form. Every reward is called at most once, with its own rows only, and
    must take columns that it does not know. Where one of them is async, so is the whole, and TRL can tell.

    Gulhane & Indurthi 2025, arXiv:2510.05283. Rewards of different scales may be routed, since a prompt's completions
    all meet the same one; what is *added* to them needs a common scale (`transforms.normalize_sources`).

    Args:
        routes: task → reward in TRL's contract.
        by: the column that names the task.
        default: the reward of tasks without a route; None leaves their rows unscored.
        on_unparsed: "default" also sends the rows on which the routed reward said nothing to `default`; "none" leaves
            them unscored. A reward that cannot read an answer has not found it wrong.

    Raises:
        ValueError: there is nothing to route to, `by` is no column of the prompt, or "default" is asked for without.

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

    def __new__(cls, routes: Mapping[str, Callable[..., Any]] | None = None, **options: Any) -> RoutedReward:
        rewards = [*(routes or {}).values(), options.get("default")]
        return object.__new__(AsyncRoutedReward if any(map(is_async, rewards)) else cls)

    def __post_init__(self) -> None:
        check_choice("RoutedReward", "on_unparsed", self.on_unparsed, get_args(OnUnparsed))
        if not self.routes:
            raise ValueError("RoutedReward: routes is empty, so nothing is routed. Map at least one task to a reward.")
        if self.by in _OF_THE_COMPLETION:
            raise ValueError(
                f"RoutedReward: by={self.by!r} is what the policy writes, so it could choose its own judge. "
                "Route by a column of the data set, which belongs to the prompt."
            )
        if self.on_unparsed == "default" and self.default is None:
            raise ValueError('RoutedReward: on_unparsed="default" needs a default reward. Pass one, or use "none".')

    @property
    def __name__(self) -> str:
        return f"routed_by_{self.by}"

    @property
    def reasoned(self) -> RoutedReward:
        """The same, with the reason in place of None where a reward says why."""
        routes = {name: reasoned(reward) for name, reward in self.routes.items()}
        return replace(self, routes=routes, default=None if self.default is None else reasoned(self.default))

    @property
    def concurrency(self) -> int:
        """The most requests under way at once, where a reward says so: the least of those that do."""
        rewards = [reward for reward in (*self.routes.values(), self.default) if reward is not None]
        said = [n for reward in rewards if (n := own_concurrency(reward)) is not None]
        if not said:
            raise AttributeError("concurrency: no reward of this route has one")
        return min(said)

    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Any:
        """One value a row."""
        rows = {"prompts": prompts, "completions": completions, **columns}
        scores: Scores = [None] * len(completions)
        for reward, indices in self._routed(rows):
            _fill(scores, indices, reward, reward(**rows_at(indices, **rows)))
        left = self._left(rows, scores)
        if left and self.default is not None:
            _fill(scores, left, self.default, self.default(**rows_at(left, **rows)))
        return scores

    def _routed(self, rows: Mapping[str, Any]) -> list[tuple[Callable[..., Any], list[int]]]:
        """Each reward that has rows, with the indices of its rows."""
        tasks = self._tasks(rows)
        shares = [(reward, [i for i, task in enumerate(tasks) if task == name]) for name, reward in self.routes.items()]
        return [(reward, indices) for reward, indices in shares if indices]

    def _left(self, rows: Mapping[str, Any], scores: Scores) -> list[int]:
        """The rows for the default: those of no route, and the unparsed ones if it is to have them."""
        unparsed = self.on_unparsed == "default"
        tasks = self._tasks(rows)
        return [i for i, task in enumerate(tasks) if task not in self.routes or (unparsed and _unparsed(scores[i]))]

    def _tasks(self, rows: Mapping[str, Any]) -> Sequence[str | None]:
        tasks = rows.get(self.by)
        if not isinstance(tasks, list | tuple) or len(tasks) != len(rows["completions"]):
            raise ValueError(
                f"RoutedReward: the rows have no column {self.by!r}, which names their task (columns: "
                f"{', '.join(sorted(rows))}). Add it to the data set, or pass `by`."
            )
        return [task if isinstance(task, str) else None for task in tasks]


class AsyncRoutedReward(RoutedReward):
    """`RoutedReward` with an async reward among its own; a class apart as trainers look at `__call__` to tell."""

    async def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Scores:
        """One value a row, awaited; the routed rewards run concurrently."""
        rows = {"prompts": prompts, "completions": completions, **columns}
        scores: Scores = [None] * len(completions)
        routed = self._routed(rows)
        for (reward, indices), values in zip(routed, await _gathered(routed, rows), strict=True):
            _fill(scores, indices, reward, values)
        left = self._left(rows, scores)
        if left and self.default is not None:
            (values,) = await _gathered([(self.default, left)], rows)
            _fill(scores, left, self.default, values)
        return scores


async def _gathered(routed: Sequence[tuple[Callable[..., Any], list[int]]], rows: Mapping[str, Any]) -> list[Any]:
    async def one(reward: Callable[..., Any], indices: list[int]) -> Any:
        scores = reward(**rows_at(indices, **rows))
        return await scores if inspect.isawaitable(scores) else scores

    return await asyncio.gather(*(one(reward, indices) for reward, indices in routed))


def _fill(scores: Scores, indices: list[int], reward: Callable[..., Any], values: Scores) -> None:
    """Put a reward's values in their rows; NaN is None, as in every list."""
    if len(values) != len(indices):
        raise ValueError(
            f"RoutedReward: {name_of(reward)} returned {len(values)} values for {len(indices)} rows. "
            "A reward must return one value per completion."
        )
    for index, value in zip(indices, values, strict=True):
        scores[index] = value if isinstance(value, Unscored) or (value is not None and not math.isnan(value)) else None


def _unparsed(value: float | Unscored | None) -> bool:
    """Whether the reward has had its say and said nothing; an endpoint that failed may still say something."""
    return value.reason != "endpoint" if isinstance(value, Unscored) else value is None
