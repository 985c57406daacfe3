"""Call a judge that compares answers as a reward: P(the completion is better than the row's `reference`)."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rewardsmith.scoring.calling import Unscored, describe
from rewardsmith.scoring.contracts import is_async
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, sync_or_async
from rewardsmith.scoring.waiting import awaited
from rewardsmith.types import Completion, Text

PRINCIPLE = "The response is correct, helpful and honest."
"""The principle of a judge that needs one and states none."""


def way_of(judge: Any) -> str:
    """Return the method by which a judge compares two answers, best first, or "" if it scores each by itself.

    Each takes three arguments or more. A `judged` with criteria is a rubric's. A judge that can be called compares by
    `ranked` but not by `judged_by`. A function of (prompts, firsts, seconds) compares by being called.

    >>> class Longer:
    ...     def compare(self, prompts, firsts, seconds):
    ...         return [float(len(a) > len(b)) for a, b in zip(firsts, seconds, strict=True)]
    >>> way_of(Longer()), way_of(len), way_of(Longer().compare)
    ('compare', '', '__call__')
    """
    for name in ("judged", "compare", "ranked", "judged_by"):
        method = getattr(judge, name, None)
        names = parameters_of(method) if callable(method) else []
        if (
            len(names) > 2
            and not (name == "judged" and "completions" in names)
            and not (name == "judged_by" and callable(judge))
        ):
            return name
    return "__call__" if callable(judge) and {"firsts", "seconds"} <= set(parameters_of(judge)) else ""


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's parameters; none if it has no signature."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


@dataclass(frozen=True)
class Asked(SyncOrAsync):
    """A method of a judge as a reward; a judge that times out has a server that gives no usable answer."""

    reward: Any
    way: str

    def __post_init__(self) -> None:
        self.become(is_async=is_async(self.method))

    @property
    def method(self) -> Callable[..., Any]:
        """The method of the judge, or the judge itself if it is a function."""
        found: Callable[..., Any] = self.reward if self.way == "__call__" else getattr(self.reward, self.way)
        return found

    @property
    def __name__(self) -> str:
        return str(getattr(self.reward, "__name__", type(self.reward).__name__))

    @property
    def concurrency(self) -> Any:
        """The number of concurrent requests that the judge states."""
        return getattr(self.reward, "concurrency", None)

    @abstractmethod
    def calls(self, prompts: list[Text], completions: list[Completion], columns: Mapping[str, Any]) -> list[Any]:
        """Return the calls to make."""

    @abstractmethod
    def values(self, found: list[Any], columns: Mapping[str, Any]) -> list[Any]:
        """Return the value of each row, given the calls' results."""

    @sync_or_async
    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> Calls:
        """Return one value for each row, or why there is none."""
        try:
            found = yield self.calls(prompts, completions, columns)
            return self.values([awaited(one) for one in found], columns)  # a plain function may return a coroutine
        except TimeoutError as error:  # a judge waits for its server
            raise ConnectionError(f"the judge gave no verdict in time ({describe(error)})") from error


@dataclass(frozen=True)
class Compared(Asked):
    """A judge that compares two answers, read in one order: the completion first, or second where `placed` says so.

    A list of two scores counts as 1, 0, or ½ for a tie. A verdict outside [0, 1] is unscored.

    Args:
        read: maps a verdict to the value, if that is not the probability.
    """

    read: Callable[[Any], Any] | None = None

    def calls(self, prompts: list[Text], completions: list[Completion], columns: Mapping[str, Any]) -> list[Any]:
        """Return one call for all rows, or one for each list."""
        pairs = [
            [b, a] if place == "second" else [a, b]
            for a, b, place in zip(completions, columns["reference"], self._places(columns), strict=True)
        ]
        method = self.method
        own = str(getattr(self.reward, "principle", None) or PRINCIPLE)
        principles = [given or own for given in columns.get("principle") or [None] * len(prompts)]
        if self.way == "ranked":
            return [partial(method, *row) for row in zip(principles, prompts, pairs, strict=True)]
        if self.way == "judged_by":
            return [partial(method, row[0], [row[1]], [row[2]]) for row in zip(principles, prompts, pairs, strict=True)]
        return [partial(method, list(prompts), *map(list, zip(*pairs, strict=True)))]

    def values(self, found: list[Any], columns: Mapping[str, Any]) -> list[Any]:
        """Return P(the completion is better) for each row."""
        verdicts = found if self.way == "ranked" else [verdict for one in found for verdict in one]
        if self.read is not None or len(verdicts) != len(columns["reference"]):  # the caller names a wrong number
            return [verdict if self.read is None else self.read(verdict) for verdict in verdicts]
        return [
            1 - p if place == "second" and not isinstance(p, Unscored) else p
            for p, place in zip(map(probability, verdicts), self._places(columns), strict=True)
        ]

    @staticmethod
    def _places(columns: Mapping[str, Any]) -> Sequence[str | None]:
        return columns.get("placed") or [None] * len(columns["reference"])


def probability(value: Any) -> float | Unscored:
    """Return a verdict as P(the first is better): its `p`, two scores compared, or a number in [0, 1].

    >>> probability([3.0, 1.0]), probability(0.25), probability(7.0).why
    (1.0, 0.25, '7.0 is not a probability')
    """
    if hasattr(value, "p"):
        value = value.p if value.p is not None else getattr(value, "why", None)
    scores = getattr(value, "scores", value)
    if isinstance(scores, list | tuple) and not isinstance(scores, Unscored) and len(scores) == 2:
        lost = [score for score in scores if score is None or isinstance(score, Unscored)]
        value = lost[0] if lost else ((scores[0] > scores[1]) - (scores[0] < scores[1]) + 1) / 2
    if value is None or isinstance(value, Unscored):
        return value or Unscored("no verdict")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    return number if 0 <= number <= 1 else Unscored(f"{value!r} is not a probability")
