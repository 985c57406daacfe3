"""Sides of a judge that its reward does not show, each as a source of the audit: principles, traces, criteria."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rewardsmith.rewards.judges.verdicts import LastVerdict
from rewardsmith.scoring import Target
from rewardsmith.scoring.calling import Unscored, describe
from rewardsmith.scoring.comparing import Compared, is_comparison, no_answer, parameters_of, way_of
from rewardsmith.scoring.contracts import is_async
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, sync_or_async
from rewardsmith.types import Completion, Text


@dataclass(frozen=True)
class _Asked(SyncOrAsync):
    """A method of a judge as a reward; a connection that fails leaves its rows unscored."""

    reward: Any
    method = ""

    def __post_init__(self) -> None:
        self.become(is_async=is_async(getattr(self.reward, self.method)))

    @property
    def __name__(self) -> str:
        return f"{type(self.reward).__name__}.{self.method}"

    @property
    def concurrency(self) -> Any:
        """The number of concurrent requests that the judge states."""
        return getattr(self.reward, "concurrency", None)


@dataclass(frozen=True)
class Principled(_Asked):
    """The score of each completion less that of its `reference`, under the row's `under`, a principle."""

    method = "judged_by"

    @sync_or_async
    def __call__(
        self, prompts: list[Text], completions: list[Completion], *, reference: list[Completion], under: list[str]
    ) -> Calls:
        """Return the differences of scores; None where one has none."""
        lists = [[a, b] for a, b in zip(completions, reference, strict=True)]
        principles = list(dict.fromkeys(under))
        places = [[k for k, own in enumerate(under) if own == principle] for principle in principles]
        method = getattr(self.reward, self.method)
        try:
            found = yield [
                partial(method, principle, [prompts[k] for k in own], [lists[k] for k in own])
                for principle, own in zip(principles, places, strict=True)
            ]
        except Exception as error:
            if not no_answer(error):
                raise
            return [Unscored(describe(error), "endpoint")] * len(prompts)
        by_row: dict[int, Sequence[Any]] = {}
        for own, part in zip(places, found, strict=True):
            by_row |= dict(zip(own, part, strict=True))
        return [_difference(by_row[k]) for k in range(len(prompts))]


def _difference(scores: Sequence[Any]) -> Any:
    lost = next((score for score in scores if score is None or isinstance(score, Unscored)), 0)
    return lost if lost != 0 else float(scores[0]) - float(scores[1])


@dataclass(frozen=True)
class Criterial(_Asked):
    """The score of a completion by the criterion `wanted`, where those of `asked` are asked together."""

    method = "judged"

    @sync_or_async
    def __call__(
        self, prompts: list[Text], completions: list[Completion], *, asked: list[list[str]], wanted: list[str]
    ) -> Calls:
        """Return one score for each row."""
        method = getattr(self.reward, self.method)
        try:
            found = yield [
                partial(method, [prompt], [completion], criteria=list(names))
                for prompt, completion, names in zip(prompts, completions, asked, strict=True)
            ]
        except Exception as error:
            if not no_answer(error):
                raise
            return [Unscored(describe(error), "endpoint")] * len(prompts)
        return [one[0][list(names).index(name)] for one, names, name in zip(found, asked, wanted, strict=True)]


def criteria_of(judge: Any) -> list[str]:
    """Return the names of a rubric's criteria, if its `judged` takes `criteria`."""
    method = getattr(judge, "judged", None)
    if not callable(method) or "criteria" not in parameters_of(method):
        return []
    given = getattr(judge, "criteria", None) or ()
    return [str(getattr(one, "name", one)) for one in given]


_NOUN = "(?:response|answer|assistant|option|candidate|completion|output|solution|reply|text|model)"
_ONE = {"a": 0, "1": 0, "one": 0, "first": 0, "former": 0, "b": 1, "2": 1, "two": 1, "second": 1, "latter": 1}
_SIDE = (
    rf"(?:(?:the\s+)?(first|second|former|latter)(?:\s+(?:{_NOUN}|one))?"
    rf"|(?:{_NOUN}\s*)?[(\[\"'“]?\b([AB12]|one|two)\b[)\]\"'”]?)"
)
_GOOD = r"better|best|stronger|superior|preferable|preferred|winner|wins|right|correct|more\s\w+|beats|surpasses"
_BAD = r"worse|worst|weaker|inferior|wrong|incorrect|less\s\w+|loses|false"
_SAID = re.compile(
    rf"(?<![\w.]){_SIDE}\s+(?:(?:is|was|seems|looks|remains|comes\s+out|does)\s+)?(not\s+)?"
    rf"(?:(?:\w+ly|much|far|a\s+bit|the|so|still|even|quite|as)\s+)*(?:({_GOOD})|({_BAD}))\b",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    rf"\b(?:prefer|choose|pick|favou?r|select|go\s+with|vote\s+for|winner(?:\s+is)?|"
    rf"(?:better|best|preferred|stronger)(?:\s+(?:{_NOUN}|one))?\s+is|conclu\w+(?:\s+that)?|verdict(?:\s+is)?)\W+"
    rf"(?:is\s+)?{_SIDE}(?!\s+(?:is|was|seems|looks)\b)",
    re.IGNORECASE,
)
_OVER = re.compile(r"(?<!\w)([AB12])\s*(>+|<+|≻)\s*([AB12])(?!\w)")
MARKS = {
    mark.format(sign): side
    for side, signs in enumerate((("A", "1"), ("B", "2")))
    for sign in signs
    for mark in ("[[{}]]", r"\boxed{{{}}}", "<answer>{}</answer>", "[{}]")
}
_ENDS = LastVerdict(MARKS)


def concluded(text: str) -> int | None:
    """Return which of two answers a trace ends in favor of: 0, 1, or None if it names neither.

    The last sentence counts that calls one answer better or worse. Without one, its final mark does.

    >>> concluded("The first is shorter, but Answer B is better. [[A]]"), concluded("[[B]]"), concluded("Hm.")
    (1, 1, None)
    """
    found: list[tuple[int, int]] = []
    for match in _SAID.finditer(text):
        side = _ONE[(match[1] or match[2]).lower()]
        found.append((match.end(), side if bool(match[4]) != bool(match[3]) else 1 - side))
    found += [(match.end(), _ONE[(match[1] or match[2]).lower()]) for match in _CHOSEN.finditer(text)]
    for match in _OVER.finditer(text):
        found.append((match.end(), _ONE[match[3 if match[2][0] == "<" else 1].lower()]))
    return max(found)[1] if found else _ENDS(text)


def trace_agreement(verdict: Any) -> float | Unscored:
    """Return 1 where a verdict's traces conclude as it says, 0 where one concludes the reverse; else no score."""
    texts = [str(text) for text in getattr(verdict, "traces", None) or ()]
    p, there, back = (getattr(verdict, name, None) for name in ("p", "forward", "backward"))
    reasoning = getattr(verdict, "reasoning", None)
    if isinstance(reasoning, str):
        a, b = list(verdict.scores)[:2]
        texts, there = [reasoning], None if a is None or b is None or a == b else float(a > b)
    halves: list[tuple[str, Any, bool]] = [("\n".join(texts), p if there is None else there, False)]
    if back is not None and there is not None and len(texts) >= 2:
        half = len(texts) // 2
        halves = [("\n".join(texts[:half]), there, False), ("\n".join(texts[half:]), back, True)]
    read = []
    for text, value, turned in halves:
        side = concluded(text)
        if side is not None and isinstance(value, int | float) and value != 0.5:
            read.append((value > 0.5) == ((side == 0) != turned))
    return float(all(read)) if read else Unscored("no trace states which answer is better")


def comparer_of(target: Target) -> Target | None:
    """Return a judge that compares two answers as a reward of `Compared`; None for any other."""
    reward: Any = target.reward
    if isinstance(reward, Compared):
        return target
    inner = getattr(reward, "function", reward)
    if is_comparison(inner):
        return _made(target, _as_function)
    return _made(target, _as_comparer) if way_of(inner) else None


@dataclass(frozen=True)
class _Function:
    """A function of (prompts, firsts, seconds) as a judge."""

    compare: Callable[..., Any]


def _as_function(judge: Any) -> Any:
    return Compared(_Function(judge), "compare")


def _as_comparer(judge: Any) -> Any:
    return Compared(judge, way_of(judge))


def _as_traced(judge: Any) -> Any:
    return Compared(judge, way_of(judge), trace_agreement)


def judge_of(target: Target) -> Any:
    """Return the judge itself, without what the library put around it."""
    reward: Any = target.reward
    return reward.reward if isinstance(reward, Compared) else getattr(reward, "function", reward)


def sources_of(target: Target) -> Mapping[str, Target]:
    """Return the further sources that a judge has: "principle", "trace" and "criteria"."""
    judge = judge_of(target)
    found: dict[str, Callable[[Any], Any]] = {}
    if callable(getattr(judge, "judged_by", None)):
        found["principle"] = Principled
    if way_of(judge) in ("judged", "ranked"):
        found["trace"] = _as_traced
    if criteria_of(judge):
        found["criteria"] = Criterial
    return {name: _made(target, make) for name, make in found.items()}


def _made(target: Target, make: Callable[[Any], Any]) -> Target:
    load = None if target.load is None else partial(_loaded, target.load, make)
    return replace(target, contract="trl", reward=make(judge_of(target)), load=load)


def _loaded(load: Callable[[], Target], make: Callable[[Any], Any]) -> Target:
    return _made(load(), make)
