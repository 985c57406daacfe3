"""Call a judge that compares answers as a reward: P(the completion is better than the row's `reference`)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rewardsmith.scoring.calling import Unscored, describe
from rewardsmith.scoring.contracts import is_async, signature_of
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, sync_or_async
from rewardsmith.types import Completion, Text

WAYS = ("judged", "compare", "ranked", "judged_by")
"""Methods by which two answers are compared, best first."""
PRINCIPLE = "The response is correct, helpful and honest."
"""The principle of a judge that needs one and states none."""


def way_of(judge: Any) -> str:
    """Return the method by which a judge compares two answers, or "" if it scores each by itself.

    A `judged` with criteria is a rubric's. A judge that can be called compares by `ranked` but not by `judged_by`.

    >>> class Longer:
    ...     def compare(self, prompts, firsts, seconds):
    ...         return [float(len(a) > len(b)) for a, b in zip(firsts, seconds, strict=True)]
    >>> way_of(Longer()), way_of(len)
    ('compare', '')
    """
    for name in WAYS:
        method = getattr(judge, name, None)
        if not callable(method) or (name == "judged_by" and callable(judge)):
            continue
        if name != "judged" or len(parameters_of(method, without=("criteria", "completions"))) >= 3:
            return name
    return ""


def parameters_of(function: Callable[..., Any], *, without: Sequence[str] = ()) -> list[str]:
    """Return the names of a function's parameters; none if one of `without` is among them."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []
    return [] if set(names) & set(without) else names


@dataclass(frozen=True)
class Compared(SyncOrAsync):
    """A judge that compares two answers, as a reward in TRL's contract.

    It gives P(the completion is better than the `reference`), read in one order: the completion stands first, or second
    where the column `placed` says "second". A list of two scores counts as 1, 0, or ½ for a tie. A verdict outside
    [0, 1] is unscored. A connection that fails is unscored with the reason "endpoint".

    read: maps a verdict to the value, if that is not the probability.
    """

    reward: Any
    way: str
    read: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        self.become(is_async=is_async(getattr(self.reward, self.way)))

    @property
    def __name__(self) -> str:
        return type(self.reward).__name__

    @property
    def principle(self) -> str:
        """The judge's own principle."""
        return str(getattr(self.reward, "principle", None) or PRINCIPLE)

    @property
    def concurrency(self) -> Any:
        """The number of concurrent requests that the judge states."""
        return getattr(self.reward, "concurrency", None)

    @sync_or_async
    def __call__(
        self,
        prompts: list[Text],
        completions: list[Completion],
        *,
        reference: list[Completion],
        placed: list[str | None] | None = None,
    ) -> Calls:
        """Return one probability for each row, or why there is none."""
        second = [place == "second" for place in placed or [None] * len(prompts)]
        firsts = [b if turned else a for a, b, turned in zip(completions, reference, second, strict=True)]
        seconds = [a if turned else b for a, b, turned in zip(completions, reference, second, strict=True)]
        try:
            found = yield list(self._asked(prompts, firsts, seconds))
        except Exception as error:
            if not no_answer(error):
                raise
            return [Unscored(describe(error), "endpoint")] * len(prompts)
        values = (
            found[0] if len(found) == 1 and self.way in ("judged", "compare") else [v for one in found for v in one]
        )
        if len(values) != len(prompts):
            return values  # the caller names the number of rewards
        if self.read is not None:
            return [self.read(value) for value in values]
        return [
            value if isinstance(value, Unscored) else 1 - value if turned else value
            for value, turned in zip(map(probability, values), second, strict=True)
        ]

    def _asked(
        self, prompts: Sequence[Text], firsts: Sequence[Completion], seconds: Sequence[Completion]
    ) -> Iterator[Callable[[], Any]]:
        method = getattr(self.reward, self.way)
        lists = [list(pair) for pair in zip(firsts, seconds, strict=True)]
        if self.way == "ranked":
            yield from (
                partial(_one, method, self.principle, prompt, pair) for prompt, pair in zip(prompts, lists, strict=True)
            )
        elif self.way == "judged_by":
            yield partial(method, self.principle, list(prompts), lists)
        else:
            yield partial(method, list(prompts), list(firsts), list(seconds))


async def _listed(found: Any) -> list[Any]:
    return [await found]


def _one(method: Callable[..., Any], principle: str, prompt: Text, answers: list[Completion]) -> Any:
    """Rank one list, and return its verdict as a list of one."""
    found = method(principle, prompt, answers)
    return _listed(found) if inspect.isawaitable(found) else [found]


def no_answer(error: BaseException) -> bool:
    """Return whether an exception says that a server gave no usable answer."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    return bool(names & {"httpx.HTTPError", "openai.APIError", "anthropic.APIError", "requests.RequestException"})


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


def is_comparison(function: Any) -> bool:
    """Return whether a function takes (prompts, firsts, seconds) and so compares."""
    return callable(function) and {"firsts", "seconds"} <= set(signature_of(function).keywords)
