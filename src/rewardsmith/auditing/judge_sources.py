"""Sides of a judge that its reward does not show, each as a source of the audit: principles, traces, criteria."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from rewardsmith.rewards.judges.verdicts import LastVerdict
from rewardsmith.scoring import Target
from rewardsmith.scoring.calling import Unscored
from rewardsmith.scoring.comparing import Asked, Compared, parameters_of, way_of
from rewardsmith.types import Completion, Text


class Principled(Asked):
    """The score of each completion less that of its `reference`, by the principle in the column `under`."""

    def calls(self, prompts: list[Text], completions: list[Completion], columns: Mapping[str, Any]) -> list[Any]:
        """Return one call for each row."""
        rows = zip(columns["under"], prompts, completions, columns["reference"], strict=True)
        return [partial(self.method, principle, [prompt], [[a, b]]) for principle, prompt, a, b in rows]

    def values(self, found: list[Any], columns: Mapping[str, Any]) -> list[Any]:
        """Return the differences of scores, or why there is none."""
        pairs = [one[0] for one in found]
        lost = [[score for score in pair if score is None or isinstance(score, Unscored)] for pair in pairs]
        return [own[0] if own else float(a) - float(b) for own, (a, b) in zip(lost, pairs, strict=True)]


class Criterial(Asked):
    """The score of a completion by the criterion in the column `wanted`, asked together with those in `asked`."""

    def calls(self, prompts: list[Text], completions: list[Completion], columns: Mapping[str, Any]) -> list[Any]:
        """Return one call for each row."""
        rows = zip(prompts, completions, columns["asked"], strict=True)
        return [partial(self.method, [a], [b], criteria=list(names)) for a, b, names in rows]

    def values(self, found: list[Any], columns: Mapping[str, Any]) -> list[Any]:
        """Return the score by the wanted criterion."""
        rows = zip(found, columns["asked"], columns["wanted"], strict=True)
        return [one[0][list(names).index(name)] for one, names, name in rows]


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
    rf"(?:(?:the\s+)?(?:first|second|former|latter)(?:\s+(?:{_NOUN}|one))?"
    rf"|{_NOUN}\s*[(\[\"'“]?(?:[AB12]|one|two)\b[)\]\"'”]?|[(\[\"'“]?(?-i:\b[AB]\b)[)\]\"'”]?)"
)
_HOW = r"(?:(?:\w+ly|much|far|a\s+bit|the|a|an|so|still|even|quite|as|also)\s+)*"
_SAID = re.compile(
    rf"(?<![\w.])(?P<side>{_SIDE})\s+(?:(?:is|was|seems|looks|remains|comes\s+out|does|gives|provides|offers|makes|has)\s+"
    rf"(?P<no>not\s+)?{_HOW}(?:(?P<good>better|best|stronger|superior|preferable|preferred|winner)"
    r"|(?P<bad>worse|worst|weaker|inferior)|(?P<right>correct|right|accurate)|(?P<wrong>incorrect|wrong|mistaken))\b"
    r"|(?P<wins>wins|beats|surpasses|outperforms)\b|(?P<loses>loses)\b)",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    rf"\b(?:prefer|choose|pick|favou?r|select|go\s+with|vote\s+for|winner(?:\s+is)?|"
    rf"(?:better|best|preferred|stronger)(?:\s+(?:{_NOUN}|one))?\s+is)\W+(?P<side>{_SIDE})",
    re.IGNORECASE,
)
_OVER = re.compile(r"(?<!\w)(?P<left>[AB])\s*(?P<sign>[><≻≺])+\s*(?:[AB])(?!\w)")
_ENDS = LastVerdict(
    {
        mark.format(sign): side
        for side, signs in enumerate(("A1", "B2"))
        for sign in signs
        for mark in ("[[{}]]", r"\boxed{{{}}}", "<answer>{}</answer>", "<answer>[[{}]]</answer>")
    }
)


def concluded(text: str) -> int | None:
    """Return which of two answers a trace ends in favor of: 0, 1, or None if it names neither.

    The last sentence counts that calls one answer better or worse. Without one, an answer counts that alone is called
    right, or not wrong, and else the final mark.

    >>> concluded("The first is shorter, but Answer B is better. [[A]]"), concluded("B is also right. A is right. Hm.")
    (1, None)
    """

    def named(match: re.Match[str]) -> int:
        return next(_ONE[word] for word in re.findall(r"\w+", match["side"].lower()) if word in _ONE)

    found, weak = list[tuple[int, int]](), set[int]()
    for match in _SAID.finditer(text):
        good = bool(match["good"] or match["right"] or match["wins"]) != bool(match["no"])
        side = named(match) if good else 1 - named(match)
        if match["right"] or match["wrong"]:
            weak.add(side)
        else:
            found.append((match.end(), side))
    found += [(match.end(), named(match)) for match in _CHOSEN.finditer(text)]
    for match in _OVER.finditer(text):
        found.append((match.end(), "AB".index(match["left"]) ^ (match["sign"] in "<≺")))
    return max(found)[1] if found else weak.pop() if len(weak) == 1 else _ENDS(text)


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
    way = way_of(judge_of(target))
    return _made(target, partial(Compared, way=way)) if way else None


def judge_of(target: Target) -> Any:
    """Return the judge itself, without what the library put around it."""
    reward: Any = target.reward
    return reward.reward if isinstance(reward, Compared) else getattr(reward, "function", reward)


def sources_of(target: Target) -> Mapping[str, Target]:
    """Return the further sources that a judge has: "principle", "trace" and "criteria"."""
    judge, found = judge_of(target), dict[str, Callable[[Any], Any]]()
    if callable(getattr(judge, "judged_by", None)):
        found["principle"] = partial(Principled, way="judged_by")
    if (way := way_of(judge)) in ("judged", "ranked"):
        found["trace"] = partial(Compared, way=way, read=trace_agreement)
    if criteria_of(judge):
        found["criteria"] = partial(Criterial, way="judged")
    return {name: _made(target, make) for name, make in found.items()}


def _made(target: Target, make: Callable[[Any], Any]) -> Target:
    load = None if target.load is None else partial(_loaded, target.load, make)
    return replace(target, contract="trl", reward=make(judge_of(target)), load=load)


def _loaded(load: Callable[[], Target], make: Callable[[Any], Any]) -> Target:
    return _made(load(), make)
