"""Probe rewards of tool calls: extra calls, calls made twice, another order, values of another type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rewardsmith.auditing.asking import Asking
from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.finding import Severity
from rewardsmith.auditing.probes.disguises import ENUMERATION
from rewardsmith.auditing.trials import Write, variant
from rewardsmith.auditing.variant_probe import VariantProbe
from rewardsmith.data import Row
from rewardsmith.data.keys import value_at
from rewardsmith.equivalence.calls import Call, calls_in, changed, written

Calls = list[Call]
OURS = "Match calls one to one: `rewardsmith.rewards.ToolCallReward`"


def key_calls(row: Row) -> Calls:
    """Return the tool calls of a row's key."""
    return calls_in(value_at(row.columns, row.answer_column))


def _writes(make: Callable[[Calls, Calls], Calls]) -> Write:
    """Write what is made of the right calls and another row's; None if it is the right calls, or nothing."""

    def write(item: Item, baseline: Baseline) -> str | None:
        made = written(make(calls_in(item.key), calls_in(item.wrongs[-1])))
        return None if made in ("[]", item.key) else baseline.answer_format.wrap(made)

    return write


def _guesses(own: Calls, *shifts: int) -> Calls:
    call = next((call for call in own if call.arguments), own[0])
    return [changed(call, shift) for shift in shifts]


def _other(own: Calls, far: Calls) -> Calls:
    """Return a call of another tool."""
    return [call for call in [*far, Call(f"{own[-1].name}_v2", {})] if call.name != own[-1].name][:1]


def _more(own: Calls, far: Calls) -> Calls:
    return [*own[:-1], own[-1]._replace(arguments={**own[-1].arguments, "include_details": True})]


_FIVE = _writes(lambda own, far: [*_guesses(own, 1, 2), *own, *_guesses(own, 3, 4)])
_BOTH, _SWAPPED = (_writes(lambda own, far, k=k: [*own[:k], *_other(own, far)]) for k in (None, -1))  # type: ignore[misc]
EXTRA = replace(
    ENUMERATION,
    name="extra_calls",
    question="Do extra calls beside the right ones cost nothing?",
    message="{what} score like the right calls alone on {share} of {n} rows.",
    advice=f"{OURS} prices each extra call.",
    variants=lambda baseline: [
        variant("the right calls and a wrong one after them", _writes(lambda own, far: [*own, *_guesses(own, 1)])),
        variant("the right calls and a wrong one before them", _writes(lambda own, far: [*_guesses(own, 1), *own])),
        variant("the right calls and one of another tool", _BOTH),
        variant("the right calls among four wrong ones", _FIVE),
        variant("calls with one more argument", _writes(_more), worst="medium", why="The argument may be optional."),
    ],
)


@dataclass(frozen=True, slots=True)
class Hedge(VariantProbe):
    """A question whose gain is (score − control) / (right − control)."""

    def gain(self, baseline: Baseline, item: Item, scores: Sequence[float], n_texts: int) -> tuple[float, float]:
        """Return that gain, 0 if the control scores like the right calls, and the control's score."""
        over = scores[-1]
        full = baseline.gain(item, item.right or 0.0, over=over)
        return (baseline.gain(item, scores[0], over=over) / full if full > 0.1 else 0.0), over


_ALONE = "The right calls alone earn more."
HEDGE = Hedge(
    name=EXTRA.name,
    question=EXTRA.question,
    message="{what} keep more than half of what the right call adds on {share} of {n} rows, so a policy that is "
    "unsure gains by making all of them.",
    advice=EXTRA.advice,
    variants=lambda baseline: [
        variant("five guesses at a call, one of them right,", _FIVE, controls=(_SWAPPED,), worst="medium", why=_ALONE),
        variant("a right call and one of another tool", _BOTH, controls=(_SWAPPED,), worst="low", why=_ALONE),
    ],
    least_gain=0.55,  # half would do for a policy that is sure of neither
    applies=ENUMERATION.applies,
)


def extra_calls(baseline: Baseline) -> Asking:
    """Send extra calls; they may neither score like the right calls alone nor be worth making when unsure."""
    outcome = yield from EXTRA(baseline)
    return outcome if outcome.findings else (yield from HEDGE(baseline))


DUPLICATE = replace(
    EXTRA,
    name="duplicate_calls",
    question="Does it cost nothing to make the same call twice?",
    variants=lambda baseline: [
        variant("the right calls, each twice,", _writes(lambda own, far: [call for call in own for _ in (0, 1)])),
        variant("the right calls, five times over,", _writes(lambda own, far: own * 5)),
        variant("the right calls and the first one again", _writes(lambda own, far: [*own, own[0]])),
    ],
)
_VALUE = re.compile(r"true|false|-?(0|[1-9]\d{0,14})(\.\d{0,9}[1-9])?")
_RETYPED: tuple[tuple[str, Severity, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    ("a number as its text", "medium", lambda value: type(value) in (int, float), json.dumps),
    (
        "a text as the value that it spells",
        "medium",
        lambda value: type(value) is str and _VALUE.fullmatch(value),
        json.loads,
    ),
    ("a boolean as its text", "medium", lambda value: type(value) is bool, json.dumps),
    ("an object or a list as JSON text", "medium", lambda value: isinstance(value, list | dict), json.dumps),
    ("a boolean as a number", "low", lambda value: type(value) is bool, int),
)
"""What is done to a value, the worst severity, whether it fits, and how it is done."""


def _confused(own: Calls, far: Calls, *, fits: Callable[[Any], Any], turn: Callable[[Any], Any]) -> Calls:
    """Return the calls with the first value that fits in another type."""
    for k, call in enumerate(own):
        for key, value in call.arguments.items():
            if fits(value):
                return [*own[:k], call._replace(arguments={**call.arguments, key: turn(value)}), *own[k + 1 :]]
    return []


TYPES = replace(
    EXTRA,
    name="argument_types",
    question="Is a value of another type accepted?",
    message="{what} is accepted on {share} of {n} rows. A tool that checks its arguments refuses it.",
    advice="Compare values with their types: `rewardsmith.rewards.ToolCallReward(numeric_text=False)`.",
    variants=lambda baseline: [
        variant(label, _writes(partial(_confused, fits=fits, turn=turn)), worst=worst, why="Only its type is wrong.")
        for label, worst, fits, turn in _RETYPED
    ],
)


def _ordered(dependent: bool, *, turned: bool) -> Write:
    """Write the right calls, perhaps in reverse order, where the key says (or does not say) that some need others."""

    def write(item: Item, baseline: Baseline) -> str | None:
        own, steps = calls_in(item.key), {call.step for call in key_calls(item.row)}
        if (len(steps) > 1) is not dependent or written(own[::-1]) == item.key:
            return None
        return baseline.answer_format.wrap(written(own[::-1] if turned else own))

    return write


_STRAIGHT, _TURNED = _ordered(False, turned=False), _ordered(False, turned=True)
ORDER = replace(
    EXTRA,
    name="call_order",
    question="Does the order of calls count exactly where the key says so?",
    message="{what} on {share} of {n} rows.",
    advice=f"Compare calls that need one another's results step by step. {OURS} takes any order.",
    variants=lambda baseline: [
        variant("in reverse order, dependent calls are accepted", _ordered(True, turned=True), worst="high"),
        variant("in reverse order, independent calls score less", _STRAIGHT, controls=(_TURNED,), worst="info"),
    ],
)
